"""Values of requests that are no records."""

from datetime import date
from typing import Any

from google.type.date_pb2 import Date

from crmkit.errors import InvalidArgument


def name_of(enum: Any, number: int, field: str) -> str | None:
    """The name of an enum's value, None for what was not said; raises InvalidArgument for what it has not."""
    if not number:
        return None
    if number not in enum.values():
        msg = f"{field} has no value {number}."
        raise InvalidArgument(msg, field=field)
    return str(enum.Name(number))


def date_of(value: Date, field: str) -> date:
    """A calendar date; raises InvalidArgument, naming the field, where it is none."""
    try:
        return date(value.year, value.month, value.day)
    except ValueError:
        msg = f"{field} must be a full calendar date."
        raise InvalidArgument(msg, field=field) from None
