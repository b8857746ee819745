"""What projections read from event messages: ids, times, exact numbers."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from google.type.money_pb2 import Money

from crmkit.names import parse_name


def id_of(name: str, collection: str) -> UUID | None:
    """The id in a resource name; None for an empty one."""
    return parse_name(name, collection=collection, field="name") if name else None


def time_of(message: Message, field: str) -> datetime | None:
    """A timestamp field; None where it is absent."""
    if not message.HasField(field):
        return None
    value: Any = getattr(message, field)
    moment: datetime = value.ToDatetime(tzinfo=UTC)
    return moment


def decimal_of(money: Money) -> Decimal:
    """An amount of money, exactly."""
    return Decimal(money.units) + Decimal(money.nanos).scaleb(-9)
