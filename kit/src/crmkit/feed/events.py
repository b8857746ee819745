"""An event on its way: row of the log ↔ `FeedEvent` ↔ AMQP message, and the chain over all."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from typing import Any
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit import contract
from crmkit.errors import InvalidArgument
from crmkit.schema import EVENT_COLUMNS
from crmkit.statements import Row

LOG_COLUMNS = ("feed_seq", *EVENT_COLUMNS, "chain")


class UnknownEventType(InvalidArgument):
    """No message of this event's type is known here: this service is older than the event."""

    default_reason = "UNKNOWN_EVENT_TYPE"


class UndecodableEvent(InvalidArgument):
    """The event's bytes are not what its type or the envelope says."""

    default_reason = "UNDECODABLE_EVENT"


class Event:
    """One event of a feed, as handlers see it.

    Attributes:
        wire: The event as it travels; everything else but `shared_with` is read from it.
        source: The service whose feed it is.
        shared_with: Users and teams with whom its record is shared, where its reader has looked.
    """

    def __init__(self, wire: FeedEvent) -> None:
        self.wire = wire
        self.feed_seq: int = wire.feed_seq
        self.routing_key: str = wire.routing_key
        self.subject: str = wire.subject
        self.shared_with: frozenset[UUID] = frozenset()

    def shown(self, message: Any) -> "Event":
        """The same event with what its reader may see of the message."""
        other = Event(self.wire)
        other.__dict__["message"] = message
        other.shared_with = self.shared_with
        return other

    def __repr__(self) -> str:
        return f"<Event {self.routing_key} {self.feed_seq} {self.subject}>"

    @property
    def source(self) -> str:
        """The service that published it."""
        return self.routing_key.split(".", 1)[0]

    @property
    def event_id(self) -> UUID:
        """The event's own id."""
        return UUID(self.wire.event_id)

    @property
    def type(self) -> str:
        """Full name of the event message."""
        return self.wire.type

    @property
    def subject_version(self) -> int:
        """The record's version after the change."""
        return self.wire.subject_version

    @property
    def event_index(self) -> int:
        """0 for the first event of a version, 1, 2 … for further ones."""
        return self.wire.event_index

    @cached_property
    def time(self) -> datetime:
        """When it was recorded."""
        return self.wire.time.ToDatetime(tzinfo=UTC)

    @cached_property
    def effective_time(self) -> datetime:
        """When it happened in the business."""
        return self.wire.effective_time.ToDatetime(tzinfo=UTC)

    @property
    def actor(self) -> str:
        """Who acted: `users/…` or `services/…`."""
        return self.wire.actor

    @cached_property
    def owner(self) -> UUID | None:
        """The record's owner after the change."""
        return _id_in(self.wire.owner)

    @cached_property
    def team(self) -> UUID | None:
        """The record's team after the change."""
        return _id_in(self.wire.team)

    @property
    def imported(self) -> bool:
        """True if an import wrote it: automations stay quiet."""
        return self.wire.imported

    @property
    def correlation_id(self) -> str:
        """The request that started it all."""
        return self.wire.correlation_id

    @property
    def causation_id(self) -> str:
        """The event, or the bulk action, that caused it, if any."""
        return self.wire.causation_id

    @property
    def traceparent(self) -> str:
        """W3C trace context."""
        return self.wire.traceparent

    @cached_property
    def message(self) -> Any:
        """The event message.

        Raises:
            UnknownEventType: The type is not known here.
            UndecodableEvent: The payload is not a message of that type.
        """
        return decode_message(self.wire)


def decode_message(wire: FeedEvent) -> Any:
    """The event message of a feed event; errors as for `Event.message`."""
    try:
        message = _message_type(wire.type)
    except KeyError as error:
        msg = f"The event type {wire.type} is not known here."
        raise UnknownEventType(msg, field="type") from error
    try:
        return message.FromString(wire.payload)
    except DecodeError as error:
        msg = f"The payload of event {wire.feed_seq} is not a {wire.type}."
        raise UndecodableEvent(msg, field="payload") from error


@cache
def _message_type(name: str) -> Any:
    contract.events()  # loads every generated module into the pool
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


@lru_cache(maxsize=1024)  # many events in a row have the same owner
def _id_in(name: str) -> UUID | None:
    return UUID(name.rpartition("/")[2]) if name else None


# -- the chain


def chain_of(previous: bytes, wire: FeedEvent) -> bytes:
    """SHA-256 over the previous event's chain and this event without its own."""
    kept = wire.chain
    wire.ClearField("chain")
    digest = hashlib.sha256(previous + wire.SerializeToString(deterministic=True)).digest()
    wire.chain = kept
    return digest


# -- rows of the log


def from_row(row: Row) -> FeedEvent:
    """The event of a row selected with `LOG_COLUMNS`."""
    return FeedEvent(chain=row[-1], **_fields(row[0], row[1:-1]))


def unchained(feed_seq: int, row: Row) -> FeedEvent:
    """The event that a row of `EVENT_COLUMNS` becomes at this position, still without its chain."""
    return FeedEvent(**_fields(feed_seq, row))


@lru_cache(maxsize=256)  # the events of one change share their times
def _timestamp(value: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(value)
    return made


def _fields(feed_seq: int, row: Row) -> dict[str, Any]:
    fields = dict(zip(EVENT_COLUMNS, row, strict=True))
    owner, team = fields["owner"], fields["team"]
    fields["feed_seq"] = feed_seq
    fields["event_id"] = str(fields["event_id"])
    fields["time"] = _timestamp(fields["time"])
    fields["effective_time"] = _timestamp(fields["effective_time"])
    fields["owner"] = f"users/{owner}" if owner else ""
    fields["team"] = f"teams/{team}" if team else ""
    return fields


# -- AMQP: CloudEvents attributes in properties and headers, the event message as body

# Header ↔ field, for those that travel as they are.
_HEADERS = {
    "subject": "subject",
    "feedseq": "feed_seq",
    "subjectversion": "subject_version",
    "eventindex": "event_index",
    "actor": "actor",
    "owner": "owner",
    "team": "team",
    "correlationid": "correlation_id",
    "causationid": "causation_id",
    "traceparent": "traceparent",
    "imported": "imported",
}
_TIMES = {"time": "time", "effectivetime": "effective_time"}


def to_amqp(wire: FeedEvent, feed_id: str) -> aio_pika.Message:
    """The event as a persistent message; its routing key travels beside it."""
    headers: dict[str, Any] = {h: getattr(wire, field) for h, field in _HEADERS.items()}
    for header, field in _TIMES.items():
        headers[header] = getattr(wire, field).ToDatetime(tzinfo=UTC).isoformat()
    headers["source"] = "/" + wire.routing_key.split(".", 1)[0]
    headers["feedid"] = feed_id
    headers["chain"] = wire.chain.hex()
    return aio_pika.Message(
        wire.payload,
        headers=headers,
        message_id=wire.event_id,
        type=wire.type,
        content_type="application/protobuf",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


def from_amqp(message: AbstractIncomingMessage) -> tuple[FeedEvent, str]:
    """The event in a message, and the id of its feed; raises UndecodableEvent if it is not one."""
    headers: Mapping[str, Any] = message.headers
    try:
        fields: dict[str, Any] = {
            "event_id": message.message_id,
            "type": message.type,
            "routing_key": message.routing_key,
            "payload": message.body,
            "chain": bytes.fromhex(headers["chain"]),
        }
        fields |= {field: headers[header] for header, field in _HEADERS.items()}
        fields |= {f: datetime.fromisoformat(headers[h]) for h, f in _TIMES.items()}
        wire = FeedEvent(**fields)
        return wire, str(headers["feedid"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"Message {message.message_id} is not an event."
        raise UndecodableEvent(msg) from error
