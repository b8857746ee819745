"""An event as conditions and receivers see it: plain values, without personal data."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict

from crmkit import contract
from crmkit.feed.events import Event

_NANOS = Decimal(10) ** 9


def body_of(event: Event) -> bytes:
    """The event as the JSON body of a webhook; type, timestamp and data as Standard Webhooks has them."""
    wire = event.wire
    return orjson.dumps(
        {
            "type": wire.routing_key,
            "timestamp": _rfc3339(event.time),
            "data": MessageToDict(event.message, preserving_proto_field_name=True),
            "id": wire.event_id,
            "source": f"/{event.source}",
            "subject": wire.subject,
            "subject_version": wire.subject_version,
            "effective_time": _rfc3339(event.effective_time),
            "actor": wire.actor,
            "imported": wire.imported,
        }
    )


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def condition_values(event: Event) -> dict[str, Any]:
    """What a condition may name: `event`, `record`, `changed_fields`."""
    message = event.message
    subject = contract.events()[event.routing_key].subject_field
    details = {
        f.name: _field(message, f)
        for f in message.DESCRIPTOR.fields
        if f.name not in {subject, "changed_fields"} and _is_set(message, f)
    }
    record = getattr(message, subject) if subject else None
    return {
        "event": {
            "type": event.routing_key,
            "subject": event.subject,
            "actor": event.actor,
            "imported": event.imported,
            "time": event.time,
            "effective_time": event.effective_time,
            "details": details,
        },
        "record": plain_values(record) if record is not None else {},
        "changed_fields": list(getattr(message, "changed_fields", [])),
    }


def plain_values(message: Any) -> dict[str, Any]:
    """A message as plain values; fields that are absent are left out."""
    return {f.name: _field(message, f) for f in message.DESCRIPTOR.fields if _is_set(message, f)}


def _is_set(message: Any, field: FieldDescriptor) -> bool:
    return not field.has_presence or bool(message.HasField(field.name))


def _field(message: Any, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    nested = field.message_type
    if nested is not None and nested.GetOptions().map_entry:
        return {str(k): _value(nested.fields_by_name["value"], v) for k, v in value.items()}
    if field.is_repeated:
        return [_value(field, item) for item in value]
    return _value(field, value)


def _value(field: Any, value: Any) -> Any:  # noqa: PLR0911 - one return for each kind
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    if field.message_type is None:
        return value
    name = field.message_type.full_name
    if name == "google.protobuf.Timestamp":
        return value.ToDatetime(tzinfo=UTC)
    if name == "google.type.Date":
        return f"{value.year:04}-{value.month:02}-{value.day:02}"
    if name == "google.type.Money":
        amount = float(value.units + Decimal(value.nanos) / _NANOS)
        return {"currency_code": value.currency_code, "units": value.units, "amount": amount}
    if name.startswith("google.protobuf."):
        return MessageToDict(value)
    return plain_values(value)
