"""The one source of time: every instant in the system comes from `now`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta


class Clock:
    """A wall clock that tests may shift.

    The shift belongs to the process, not to a task: a server started in a test sees it too.
    """

    def __init__(self) -> None:
        """Starts at the real time."""
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """Returns the current instant: aware, UTC, microseconds."""
        return datetime.now(UTC) + self._offset

    @contextmanager
    def shifted(self, by: timedelta) -> Iterator[None]:
        """Moves the clock by a duration while the block runs; shifts add up when nested."""
        self._offset += by
        try:
            yield
        finally:
            self._offset -= by


clock = Clock()


def now() -> datetime:
    """Returns the current instant: aware, UTC, microseconds."""
    return clock.now()
