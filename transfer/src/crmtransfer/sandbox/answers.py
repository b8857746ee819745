"""What a reading program says to the service: one JSON value a line.

First the header as a list of text, then number, cells and problem of each row, at last `true`; or, at any
point, an object with reason and message, after which nothing follows.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Refused(Exception):  # noqa: N818 - an outcome, which the service makes a failure
    """The file cannot be read; `str()` is for a person."""

    def __init__(self, *, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def say(value: Any) -> None:
    """Writes one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def say_row(number: int, cells: Sequence[str], problem: str = "") -> None:
    """Writes a row, or one with a problem."""
    say([number, cells, problem])


def _refuse(reason: str, message: str) -> None:
    say({"reason": reason, "message": message})


@contextmanager
def answering() -> Iterator[None]:
    """Ends what is said: with `true`, or with why it is not all."""
    try:
        yield
    except Refused as refused:
        _refuse(refused.reason, str(refused))
    except MemoryError:
        _refuse("FILE_TOO_COSTLY", "The file takes more memory than a file may; save it as CSV.")
    except BaseException:  # noqa: BLE001 - a library that stumbles over a file has not read it
        _refuse("UNREADABLE_FILE", "The file is damaged.")
    else:
        say(True)
    sys.stdout.flush()
