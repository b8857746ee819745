"""From the options of `crm import` to the mappings of the API."""

from collections.abc import Iterable, Sequence
from typing import Any


class BadOptionError(Exception):
    """An option is not of its form; the message names it."""


def mappings(
    columns: Sequence[str], fixed: Sequence[str], values: Sequence[str], lookups: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns the mappings of an import.

    Args:
        columns: `COLUMN=FIELD` each.
        fixed: `FIELD=VALUE` each.
        values: `COLUMN:FROM=TO` each; a mapped field in the column's place means that field alone.
        lookups: `COLUMN=RESOURCE.FIELD` each; a field may stand in the column's place, too.

    Raises:
        BadOptionError: An option is not of its form.
    """
    made: list[dict[str, Any]] = []
    for text in columns:
        column, field = _halves(text, "--map", "COLUMN=FIELD", last=True)
        made.append({"column": column, "field": field})
    for text in fixed:
        field, value = _halves(text, "--set", "FIELD=VALUE", last=False)
        made.append({"field": field, "value": value})
    for text in lookups:
        name, lookup = _halves(text, "--lookup", "COLUMN=RESOURCE.FIELD", last=True)
        if "." not in lookup:
            msg = f"--lookup {text}: the form is COLUMN=RESOURCE.FIELD"
            raise BadOptionError(msg)
        for mapping in _named(made, name):
            mapping["lookup"] = lookup
    for text in values:
        name, before, after = _value(text, made)
        for mapping in _named(made, name):
            mapping.setdefault("translations", {})[before] = after
    return made


def _halves(text: str, option: str, form: str, *, last: bool) -> tuple[str, str]:
    """Divides at the last or first equals sign: a column's name or a value may contain one."""
    left, _, right = text.rpartition("=") if last else text.partition("=")
    if not left or not right:
        msg = f"{option} {text}: the form is {form}"
        raise BadOptionError(msg)
    return left, right


def _value(text: str, made: Iterable[dict[str, Any]]) -> tuple[str, str, str]:
    """Divides `COLUMN:FROM=TO`; a mapped column's name may contain a colon."""
    known = {mapping.get("column", mapping["field"]) for mapping in made}
    name = max((n for n in known if text.startswith(f"{n}:")), key=len, default="")
    name = name or text.partition(":")[0]
    before, equals, after = text[len(name) + 1 :].partition("=")
    if not name or not before or not equals:
        msg = f"--value {text}: the form is COLUMN:FROM=TO"
        raise BadOptionError(msg)
    return name, before, after


def _named(made: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The mappings of a column, else of a field, else a new one from column to field."""
    found = [m for m in made if m.get("column") == name] or [m for m in made if m["field"] == name]
    if not found:
        found = [{"column": name, "field": name}]
        made += found
    return found


def taken(
    made: Sequence[dict[str, Any]], columns: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What is taken of the system's proposals: only what is sure, and nothing that was said otherwise.

    Args:
        made: The mappings that options make.
        columns: The answer of ProposeMappings.
    """
    mapped = {mapping["column"] for mapping in made if "column" in mapping}
    fields = {mapping["field"] for mapping in made}
    return [
        column
        for column in columns
        if column.get("confidence") == "HIGH"
        and column["column"] not in mapped
        and not _filled(column["mapping"]["field"], fields)
    ]


def _filled(field: str, fields: Iterable[str]) -> bool:
    """True if a field, or what it is a part of, is filled already; `amount` leaves its currency free."""
    return any(
        field == other
        or (field.startswith(f"{other}.") and not field.endswith(".currency_code"))
        or (other.startswith(f"{field}.") and not other.endswith(".currency_code"))
        for other in fields
    )
