"""Values of requests that are no records."""

from datetime import date

from google.type.date_pb2 import Date

from crmkit.errors import InvalidArgument


def date_of(value: Date, field: str) -> date:
    """A calendar date; raises InvalidArgument, naming the field, where it is none."""
    try:
        return date(value.year, value.month, value.day)
    except ValueError:
        msg = f"{field} must be a full calendar date."
        raise InvalidArgument(msg, field=field) from None
