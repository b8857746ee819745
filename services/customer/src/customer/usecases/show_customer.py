"""A customer on one page: put together from what each part may show to the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from crmkit.call import Call
from customer.storage import customer_view, timeline_page, timeline_record, timeline_source
from customer.storage.contact import CONTACTS
from customer.storage.customer_view import Person, Plan
from customer.storage.timeline_page import Shown
from customer.storage.timeline_record import Figure
from customer.storage.timeline_source import Freshness

Whose = tuple[UUID, UUID | None, UUID | None]


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is on the page, without the record itself; None where the caller may read nothing of the kind."""

    people: Sequence[Person]
    opportunities: Sequence[Figure] | None
    tickets: Sequence[Figure] | None
    last_touch: Shown | None
    next_appointment: Plan | None
    next_task: Plan | None
    consents: Sequence[tuple[str, str, int, int]]
    entries: Sequence[Shown]
    next_page_token: str
    sources: Sequence[Freshness]


async def show_account(call: Call, account: UUID, request: Any, kinds: Sequence[str]) -> Page:
    """The page of an account; `request` is one for the first page of its timeline."""
    people = await customer_view.people_of(call, account)
    whose = [(person.id, person.owner, person.team) for person in people]
    names = [f"accounts/{account}", *(CONTACTS.codec.name_of(person.id) for person in people)]
    figures = await timeline_record.figures(call, "opportunities", {"account": account})
    parts = await _parts(call, {"account": account}, names, whose)
    return await _page(call, account, request, kinds, people=people, opportunities=figures, **parts)


async def show_contact(call: Call, contact: Whose, request: Any, kinds: Sequence[str]) -> Page:
    """The page of a person, given by id, owner and team."""
    id_ = contact[0]
    parts = await _parts(call, {"contact": id_}, [CONTACTS.codec.name_of(id_)], [contact])
    return await _page(call, id_, request, kinds, people=(), opportunities=None, **parts)


async def _parts(
    call: Call, party: Mapping[str, UUID], names: Sequence[str], people: Sequence[Whose]
) -> dict[str, Any]:
    return {
        "tickets": await timeline_record.figures(call, "tickets", party),
        "next_appointment": await customer_view.next_appointment(call, names),
        "next_task": await customer_view.next_task(call, names),
        "consents": await customer_view.consent_states(call, people),
    }


async def _page(call: Call, party: UUID, request: Any, kinds: Sequence[str], **parts: Any) -> Page:
    sources = await timeline_source.freshness(call)
    entries, token = await timeline_page.page(call, party, request, kinds)
    touch = await timeline_page.last_touch(call, party)
    return Page(last_touch=touch, entries=entries, next_page_token=token, sources=sources, **parts)
