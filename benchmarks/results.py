"""What was measured, as a table for people and as JSON for programs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

LATEST = Path(__file__).parent / "latest.json"


@dataclass(frozen=True)
class Figure:
    """One measurement.

    Attributes:
        ours: What we do.
        reference: What it is compared with in the same run.
        ratio: `ours / reference`.
    """

    ours: float
    reference: float | None
    ratio: float | None
    unit: str


def compared(ours: float, reference: float, unit: str) -> Figure:
    """A figure with its ratio."""
    return Figure(round(ours, 2), round(reference, 2), round(ours / reference, 3), unit)


def alone(ours: float, unit: str) -> Figure:
    """A figure that has nothing to compare with."""
    return Figure(round(ours, 2), None, None, unit)


def report(figures: dict[str, Figure]) -> None:
    """Prints the table and writes `latest.json`."""
    table = Table("measurement", "ours", "reference", "ratio", "unit")
    for name, figure in figures.items():
        numbers = (figure.ours, figure.reference, figure.ratio)
        table.add_row(name, *("" if n is None else f"{n:,.2f}" for n in numbers), figure.unit)
    Console().print(table)
    LATEST.write_text(json.dumps({n: asdict(f) for n, f in figures.items()}, indent=1) + "\n")
