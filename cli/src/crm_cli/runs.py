"""Imports, exports and bulk actions as the command line follows them, with progress on stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crm_cli.api import Api, ApiError

ERRORS = Console(stderr=True, highlight=False, soft_wrap=True)
_SECONDS_BETWEEN_LOOKS = 0.25
_ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=ERRORS, transient=True, disable=not ERRORS.is_terminal
    ) as progress:
        yield progress


def upload(
    api: Api, service: str, chunks: Iterator[bytes], size: int, progress: Progress
) -> dict[str, Any]:
    """Sends a file up; answers the upload. Raises ApiError."""
    task = progress.add_task("Sending", total=size)

    def watched() -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))

    sent: dict[str, Any] = api.upload(f"/v1/{service}/uploads", watched(), size)
    progress.remove_task(task)
    return sent


def ended(api: Api, service: str, run: dict[str, Any], progress: Progress, doing: str) -> Any:
    """Waits for the end of an import, an export or a bulk action and shows how it goes.

    Raises:
        ApiError: The system cannot be reached; the run goes on there, and the person is told how to
            look, as after Ctrl-C.
    """
    path = f"/v1/{service}/{run['name']}"
    task = progress.add_task(doing, total=None)
    try:
        while run["state"] not in _ENDED:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            run = api.get(path)
            total = count(run, "total_rows") or None
            progress.update(task, completed=count(run, "processed_rows"), total=total)
    except (KeyboardInterrupt, ApiError):
        ERRORS.print(f"It goes on by itself in the system: GET {path} shows how.")
        raise
    progress.remove_task(task)
    return run


def count(run: dict[str, Any], name: str) -> int:
    """A count of a run; 0 where it is absent."""
    return int(run.get(name, 0))
