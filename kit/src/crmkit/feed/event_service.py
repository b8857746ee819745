"""Events for people and front ends: only those of records that the caller may read."""

import base64
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict

from crm.common.v1 import event_pb2
from crm.common.v1.feed_pb2 import FeedEvent
from crmkit import contract
from crmkit.access import Principal, RecordScope
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.feed.events import (
    UndecodableEvent,
    UnknownEventType,
    decode_message,
)
from crmkit.feed.events import from_row as event_from_row
from crmkit.feed.feed import PAGE_BYTES, Feed, FeedHead
from crmkit.feed.visible_events import SCOPES, Standing, VisibleEvents, standing_of
from crmkit.sensitive import conceal
from crmkit.sharing import access_to, is_shareable
from crmkit.statements import Row

Visible = Callable[[Call, str], RecordScope]

_DEFAULT_PAGE = 50
_MAX_PAGE = 1000
# So many events are looked at for one page; a page may therefore be short, and still be continued.
_WINDOW = 20_000
_CURSOR = struct.Struct(">4sQ")


class EventService:
    """A package's `EventService`."""

    def __init__(self, feed: Feed, visible: Visible, tables: Mapping[str, sa.FromClause]) -> None:
        """Serves the events of a service's own records.

        Args:
            feed: The service's feed.
            visible: The scope in which a caller may read the records of a collection; NONE for
                collections of other services.
            tables: Where the service's own records are, by collection.
        """
        self._feed = feed
        self._visible = visible
        self._events = VisibleEvents(tables)
        self._collections = frozenset(contract.collections())
        self._shareable = {c for c, of in contract.collections().items() if is_shareable(of)}

    async def ListEvents(
        self, request: event_pb2.ListEventsRequest, call: Call
    ) -> event_pb2.ListEventsResponse:
        """Events after a position, oldest first."""
        head = await self._feed.head()
        after = _position(request.cursor, head) if request.cursor else 0
        count = min(max(request.page_size, 0) or _DEFAULT_PAGE, _MAX_PAGE)
        parameters = {"after": after, "count": count, **self._scope_parameters(call)}
        if request.subject:
            until = head.last_seq
            read, parameters["subject"] = self._events.read_of_subject, request.subject
        else:
            until = min(after + _WINDOW, head.last_seq)
            read, parameters["until"] = self._events.read, until
        rows = await self._feed.database.fetch_all(read, parameters)
        events = _page(rows, head, call.principal)
        last = rows[len(events) - 1][0] if events else after
        # A full page goes on after its last event, any other after all that was looked at.
        end = last if len(events) == count or len(events) < len(rows) else max(last, until)
        return event_pb2.ListEventsResponse(events=events, next_cursor=_cursor(head, end))

    async def StreamEvents(
        self, request: event_pb2.StreamEventsRequest, call: Call
    ) -> AsyncIterator[event_pb2.DomainEvent]:
        """Events after a position, or only new ones, until the caller goes away."""
        head = await self._feed.head()
        position = _position(request.cursor, head) if request.cursor else head.last_seq
        await call.begin_answer()  # a reader knows at once that it listens, also while all is quiet
        while True:
            events = await self._feed.read(position, _MAX_PAGE)
            for wire in await self._seen(call, events):
                yield _domain_event(wire, head, call.principal)
            if events:
                position = events[-1].feed_seq
            else:
                await self._feed.wait_beyond(position)

    def _scope_parameters(self, call: Call) -> dict[str, Any]:
        by_scope: dict[RecordScope, list[str]] = {scope: [] for scope in SCOPES}
        for collection in self._collections:
            scope = self._visible(call, collection)
            if scope is not RecordScope.NONE:
                by_scope[scope].append(collection)
        principal = call.principal
        return {
            **{f"collections_{scope.name.lower()}": by_scope[scope] for scope in SCOPES},
            "scope_user": principal.user,
            "scope_team": principal.team,
            "scope_teams": list(principal.subtree),
            "scope_grantees": principal.grantees,
            "collections_shared": [c for c in self._shareable if self._is_shareable(call, c)],
        }

    async def _seen(self, call: Call, wires: Sequence[FeedEvent]) -> list[FeedEvent]:
        """Those of some events that the caller may see, also as their record is shared with them now."""
        standings = await self._events.standings(self._feed.database, wires)
        in_scope = [self._may_see(call, wire, standing_of(standings, wire)) for wire in wires]
        others = {
            wire.feed_seq: UUID(wire.subject.split("/")[1])
            for wire, seen in zip(wires, in_scope, strict=True)
            if not seen and self._is_shareable(call, wire.subject.split("/")[0])
        }
        shared = await access_to(self._feed.database, call.principal, list(set(others.values())))
        return [
            wire
            for wire, seen in zip(wires, in_scope, strict=True)
            if seen or others.get(wire.feed_seq) in shared
        ]

    def _is_shareable(self, call: Call, collection: str) -> bool:
        """True if records of a collection that the caller may read can be shared with them."""
        if collection not in self._shareable:
            return False
        return self._visible(call, collection) is not RecordScope.NONE

    def _may_see(self, call: Call, wire: FeedEvent, standing: Standing) -> bool:
        collection = wire.subject.split("/", 1)[0]
        if collection not in self._collections:
            return False
        scope = self._visible(call, collection)
        if scope is RecordScope.NONE:
            return False
        return call.principal.covers(scope, *standing)


def _page(rows: Iterable[Row], head: FeedHead, principal: Principal) -> list[event_pb2.DomainEvent]:
    page: list[event_pb2.DomainEvent] = []
    size = 0
    for row in rows:
        event = _domain_event(event_from_row(row), head, principal)
        size += event.ByteSize()
        if page and size > PAGE_BYTES:
            break
        page.append(event)
    return page


def _domain_event(wire: FeedEvent, head: FeedHead, principal: Principal) -> event_pb2.DomainEvent:
    shown = event_pb2.DomainEvent(
        cursor=_cursor(head, wire.feed_seq),
        event_id=wire.event_id,
        kind=wire.routing_key,
        subject=wire.subject,
        record_time=wire.time,
        effective_time=wire.effective_time,
        actor=wire.actor,
    )
    try:
        message = decode_message(wire)
    except (UnknownEventType, UndecodableEvent):
        return shown  # written by another version; the envelope still says what happened
    conceal(principal, message)
    shown.data.update(MessageToDict(message, preserving_proto_field_name=True))
    return shown


# -- cursors: the feed's identity and a position, so that a restored feed refuses old ones


def _cursor(head: FeedHead, seq: int) -> str:
    return base64.urlsafe_b64encode(_CURSOR.pack(head.feed_id.bytes[:4], seq)).decode()


def _position(cursor: str, head: FeedHead) -> int:
    try:
        identity, seq = _CURSOR.unpack(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, struct.error) as error:
        msg = "cursor is not one that this service gave out"
        raise InvalidArgument(msg, reason="INVALID_CURSOR", field="cursor") from error
    if identity != head.feed_id.bytes[:4] or not 0 <= seq <= head.last_seq:
        msg = "cursor belongs to a feed that was replaced: start without one"
        raise InvalidArgument(msg, reason="INVALID_CURSOR", field="cursor")
    position: int = seq
    return position
