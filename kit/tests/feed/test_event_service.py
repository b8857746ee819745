"""Invariant: a person sees events of records they may read, all of them, and no others."""

import asyncio
from uuid import UUID

import pytest

from crm.common.v1 import event_pb2
from crm.customer.v1 import account_pb2
from crmkit.access import Grants, Principal, RecordScope
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.feed.event_service import EventService
from crmkit.feed.outbox import OutboxEvent
from crmkit.ids import uuid7

from .conftest import Source, call_of, new_event, new_subject

ME, COLLEAGUE, BELOW, STRANGER = uuid7(), uuid7(), uuid7(), uuid7()
MY_TEAM, TEAM_BELOW, OTHER_TEAM = uuid7(), uuid7(), uuid7()
_PEOPLE = ((ME, MY_TEAM), (COLLEAGUE, MY_TEAM), (BELOW, TEAM_BELOW), (STRANGER, OTHER_TEAM))


def me(scope: RecordScope) -> Principal:
    return Principal(
        name=f"users/{ME}",
        grants=Grants([("customer.accounts.get", scope)]),
        user=ME,
        team=MY_TEAM,
        subtree=frozenset({MY_TEAM, TEAM_BELOW}),
    )


def visible(call: Call, collection: str) -> RecordScope:
    return call.principal.grants.scope(f"customer.{collection}.get")


def events_of_everyone() -> list[OutboxEvent]:
    """Those that fewer people see come first, so that a leak shows at once."""
    contact = new_event(f"contacts/{uuid7()}", owner=ME, team=MY_TEAM)
    nobodys = new_event(new_subject(), owner=None, team=None)
    owned = [new_event(new_subject(), owner=user, team=team) for user, team in reversed(_PEOPLE)]
    return [contact, nobodys, *owned]


def service_of(source: Source) -> EventService:
    return EventService(source.feed, visible, {})


async def all_events(source: Source, call: Call, **request: object) -> list[event_pb2.DomainEvent]:
    found: list[event_pb2.DomainEvent] = []
    cursor = ""
    while True:
        page = await service_of(source).ListEvents(
            event_pb2.ListEventsRequest(cursor=cursor, **request), call
        )
        found.extend(page.events)
        if page.next_cursor == cursor:
            return found
        cursor = page.next_cursor


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (RecordScope.NONE, []),
        (RecordScope.OWN, [5]),
        (RecordScope.TEAM, [4, 5]),
        (RecordScope.SUBTREE, [3, 4, 5]),
        (RecordScope.ALL, [1, 2, 3, 4, 5]),
    ],
)
async def test_list_and_stream_show_exactly_what_the_scope_covers(
    source: Source, scope: RecordScope, expected: list[int]
) -> None:
    published = events_of_everyone()
    await source.publish(*published)
    wanted = [published[index].subject for index in expected]
    call = call_of(source.database, me(scope))
    assert [event.subject for event in await all_events(source, call, page_size=2)] == wanted

    first = (await source.feed.head()).last_seq
    service = service_of(source)
    listening = asyncio.Event()

    async def begun() -> None:
        listening.set()

    call.begin_answer = begun
    stream = service.StreamEvents(event_pb2.StreamEventsRequest(), call)
    coming = asyncio.ensure_future(take(stream, len(expected)))
    if expected:  # who waits for nothing does not even begin to listen
        await listening.wait()
    again = events_of_everyone()
    await source.publish(*again)
    assert await asyncio.wait_for(coming, 5) == [again[index].subject for index in expected]
    assert first < (await source.feed.head()).last_seq


async def take(stream: object, count: int) -> list[str]:
    return [(await anext(stream)).subject for _ in range(count)]  # type: ignore[call-overload]


async def test_an_event_is_shown_with_its_data(source: Source) -> None:
    subject = new_subject()
    message = account_pb2.AccountUpdated(changed_fields=["display_name"])
    message.account.name = subject
    await source.publish(
        new_event(
            subject,
            type=message.DESCRIPTOR.full_name,
            routing_key="customer.account.updated",
            payload=message.SerializeToString(),
        )
    )
    (event,) = await all_events(source, call_of(source.database, me(RecordScope.ALL)))
    assert (event.kind, event.subject) == ("customer.account.updated", subject)
    assert dict(event.data.items())["changed_fields"][0] == "display_name"  # type: ignore[index]
    assert event.data["account"]["name"] == subject  # type: ignore[index,call-overload]


async def test_events_of_one_record_can_be_asked_for(source: Source) -> None:
    subject = new_subject()
    await source.publish(new_event(subject, 1), new_event(new_subject()), new_event(subject, 2))
    call = call_of(source.database, me(RecordScope.ALL))
    found = await all_events(source, call, subject=subject, page_size=1)
    assert [event.subject for event in found] == [subject, subject]


async def test_a_stream_continues_after_the_cursor_of_any_event(source: Source) -> None:
    published = [new_event(new_subject()) for _ in range(4)]
    await source.publish(*published)
    call = call_of(source.database, me(RecordScope.ALL))
    events = await all_events(source, call)
    stream = service_of(source).StreamEvents(
        event_pb2.StreamEventsRequest(cursor=events[1].cursor), call
    )
    assert await take(stream, 2) == [event.subject for event in published[2:]]


@pytest.mark.parametrize("cursor", ["nonsense", "é", "AAAA", "////////////////", "A" * 200])
async def test_a_cursor_that_is_not_ours_is_refused(source: Source, cursor: str) -> None:
    call = call_of(source.database, me(RecordScope.ALL))
    with pytest.raises(InvalidArgument) as refused:
        await service_of(source).ListEvents(event_pb2.ListEventsRequest(cursor=cursor), call)
    assert refused.value.reason == "INVALID_CURSOR"


def test_the_people_of_these_tests_differ() -> None:
    ids: list[UUID] = [user for user, _ in _PEOPLE]
    assert len(set(ids)) == len(ids)
