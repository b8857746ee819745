"""CustomerViewService: a customer on one page, and what happened with them."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from google.type.money_pb2 import Money

from crm.customer.v1 import appointment_pb2, consent_pb2
from crm.customer.v1 import customer_view_pb2 as pb
from crmkit.call import Call
from customer.storage import timeline_page, timeline_source
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.customer_view import Person, Plan
from customer.storage.timeline_page import Shown
from customer.storage.timeline_record import Figure
from customer.storage.timeline_source import Freshness
from customer.usecases.show_customer import Page, show_account, show_contact

_KINDS = pb.TimelineEntry.Kind.keys()[1:]
_PEOPLE_SHOWN = 50
_LARGEST_UNITS = 2**63 - 1
_NANOS_PER_UNIT = 1_000_000_000
_SOLVED = frozenset({"RESOLVED", "CLOSED"})


class CustomerViewService:
    """The pages and lists of accounts and contacts."""

    async def GetCustomerView(
        self, request: pb.GetCustomerViewRequest, call: Call
    ) -> pb.CustomerView:
        """An account on one page."""
        account = await ACCOUNTS.get(call, request.name)
        first = pb.ListAccountTimelineRequest(page_size=request.page_size)
        view = _view(await show_account(call, account.id, first, _KINDS), call)
        view.account.CopyFrom(ACCOUNTS.message(account))
        return view

    async def GetContactView(
        self, request: pb.GetContactViewRequest, call: Call
    ) -> pb.CustomerView:
        """A person on one page."""
        contact = await CONTACTS.get(call, request.name)
        first = pb.ListContactTimelineRequest(page_size=request.page_size)
        whose = contact.id, contact.owner, contact.team
        view = _view(await show_contact(call, whose, first, _KINDS), call)
        view.contact.CopyFrom(CONTACTS.message(contact))
        return view

    async def ListAccountTimeline(
        self, request: pb.ListAccountTimelineRequest, call: Call
    ) -> pb.ListTimelineResponse:
        """What happened with an account."""
        account = await ACCOUNTS.get(call, request.parent, field="parent")
        return await _list(call, account.id, request)

    async def ListContactTimeline(
        self, request: pb.ListContactTimelineRequest, call: Call
    ) -> pb.ListTimelineResponse:
        """What happened with a person."""
        contact = await CONTACTS.get(call, request.parent, field="parent")
        return await _list(call, contact.id, request)


async def _list(call: Call, party: UUID, request: Any) -> pb.ListTimelineResponse:
    sources = await timeline_source.freshness(call)
    entries, token = await timeline_page.page(call, party, request, _KINDS)
    return pb.ListTimelineResponse(
        entries=map(_entry, entries), next_page_token=token, sources=_sources(sources, call)
    )


def _view(page: Page, call: Call) -> pb.CustomerView:
    view = pb.CustomerView(
        people=map(_person, page.people[:_PEOPLE_SHOWN]),
        consents=[
            pb.CustomerView.ConsentState(
                channel=consent_pb2.Consent.Channel.Value(channel),
                purpose=purpose,
                granted_count=granted,
                withdrawn_count=withdrawn,
            )
            for channel, purpose, granted, withdrawn in page.consents
        ],
        entries=map(_entry, page.entries),
        next_page_token=page.next_page_token,
        sources=_sources(page.sources, call),
    )
    if page.opportunities is not None:
        view.sales.CopyFrom(_sales(page.opportunities))
    if page.tickets is not None:
        open_count = sum(f.count for f in page.tickets if f.state not in _SOLVED)
        view.support.open_count = open_count
        view.support.count = sum(f.count for f in page.tickets)
    if page.last_touch is not None:
        view.last_touch.CopyFrom(_entry(page.last_touch))
    if page.next_appointment is not None:
        view.next_appointment.CopyFrom(_plan(page.next_appointment))
    if page.next_task is not None:
        view.next_task.CopyFrom(_plan(page.next_task))
    return view


def _sales(figures: Sequence[Figure]) -> pb.CustomerView.Sales:
    def counted(state: str) -> int:
        return sum(figure.count for figure in figures if figure.state == state)

    def amounts(state: str) -> list[Money]:
        found = [f for f in figures if f.state == state and f.currency and f.amount is not None]
        return [_money(f.amount or Decimal(0), f.currency or "") for f in sorted(found, key=_code)]

    return pb.CustomerView.Sales(
        open_count=counted("OPEN"),
        open_amounts=amounts("OPEN"),
        won_count=counted("WON"),
        won_amounts=amounts("WON"),
        lost_count=counted("LOST"),
    )


def _code(figure: Figure) -> str:
    return figure.currency or ""


def _money(amount: Decimal, currency: str) -> Money:
    """A sum as the wire has it; what is beyond its range is the largest that it can say."""
    units = int(amount)
    nanos = int((amount - units) * _NANOS_PER_UNIT)
    if abs(units) > _LARGEST_UNITS:
        units, nanos = (_LARGEST_UNITS if units > 0 else -_LARGEST_UNITS), 0
    return Money(currency_code=currency, units=units, nanos=nanos)


def _person(person: Person) -> pb.CustomerView.Person:
    return pb.CustomerView.Person(
        contact=CONTACTS.codec.name_of(person.id),
        display_name=person.display_name,
        job_title=person.job_title or "",
        role=person.role or "",
        primary=bool(person.primary),
        do_not_call=bool(person.do_not_call),
    )


def _plan(plan: Plan) -> pb.CustomerView.Plan:
    message = pb.CustomerView.Plan(record=plan.record, title=plan.title)
    if plan.time is not None:
        message.time.FromDatetime(plan.time)
    if plan.kind is not None:
        message.kind = appointment_pb2.Appointment.Kind.Value(plan.kind)
    return message


def _entry(shown: Shown) -> pb.TimelineEntry:
    message = pb.TimelineEntry(
        uid=str(shown.id),
        kind=pb.TimelineEntry.Kind.Value(shown.kind),
        source=shown.source,
        record=shown.record,
        title=shown.title,
        actor=shown.actor,
        data=shown.data,
        related=shown.related,
    )
    message.time.FromDatetime(shown.time)
    message.effective_time.FromDatetime(shown.effective_time)
    return message


def _sources(sources: Iterable[Freshness], call: Call) -> list[pb.TimelineSource]:
    messages = []
    for fresh in sources:
        message = pb.TimelineSource(source=fresh.source, reading_past=fresh.reading_past)
        if fresh.data_time is not None:
            message.data_time.FromDatetime(fresh.data_time)
            message.lag.FromTimedelta(max(call.now - fresh.data_time, timedelta(0)))
        messages.append(message)
    return messages
