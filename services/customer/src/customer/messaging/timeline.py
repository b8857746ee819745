"""What events mean for timelines: which of them are entries, in whose timelines, with which facts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from crm.customer.v1.interaction_pb2 import Interaction
from crmkit import contract, merges
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.money import Money
from crmkit.names import parse_name
from customer.storage import timeline, timeline_after_merge, timeline_record
from customer.storage.timeline import Entry
from customer.storage.timeline_record import TimelineRecord


@dataclass(frozen=True)
class Told:
    """What an event is in a timeline: its kind, and the fields of record and event that are its facts."""

    kind: str
    of_record: tuple[str, ...] = ()
    of_event: tuple[str, ...] = ()


_APPOINTMENT = ("kind", "start_time")
_TASK = ("priority", "due_time")
_INTERACTION = Told("INTERACTION", ("kind", "direction", "duration_minutes"))
_OPPORTUNITY = ("state", "amount", "stage")
_TICKET = ("state", "kind", "priority", "category")
_CREDIT = Told(
    "ACCOUNT_CREDIT_CHANGED", ("credit_state", "credit_class"), ("previous_credit_state",)
)
_CONSENT = Told(
    "CONSENT_CHANGED", ("channel", "purpose", "decision", "contact"), ("previous_decision",)
)
_MOVED = Told("OPPORTUNITY_MOVED", _OPPORTUNITY, ("from_stage",))
TOLD = {
    "customer.interaction.recorded": _INTERACTION,
    "customer.interaction.corrected": _INTERACTION,
    "customer.appointment.created": Told("APPOINTMENT_PLANNED", _APPOINTMENT),
    "customer.appointment.held": Told("APPOINTMENT_HELD", _APPOINTMENT),
    "customer.appointment.missed": Told("APPOINTMENT_MISSED", _APPOINTMENT),
    "customer.appointment.cancelled": Told("APPOINTMENT_CANCELLED", _APPOINTMENT),
    "customer.appointment.reopened": Told("APPOINTMENT_REOPENED", _APPOINTMENT),
    "customer.task.created": Told("TASK_CREATED", _TASK),
    "customer.task.completed": Told("TASK_COMPLETED", _TASK),
    "customer.task.cancelled": Told("TASK_CANCELLED", _TASK),
    "customer.task.reopened": Told("TASK_REOPENED", _TASK),
    "customer.consent.changed": _CONSENT,
    "customer.account.won": Told("ACCOUNT_WON"),
    "customer.account.graded": Told(
        "ACCOUNT_GRADED", ("grade", "grade_source"), ("previous_grade",)
    ),
    "customer.account.credit_changed": _CREDIT,
    "customer.account.transferred": Told("ACCOUNT_TRANSFERRED", ("owner",), ("previous_owner",)),
    "customer.account.pooled": Told("ACCOUNT_POOLED", ("pool",), ("previous_owner", "automatic")),
    "customer.account.claimed": Told("ACCOUNT_CLAIMED", ("owner",), ("pool",)),
    "customer.account.merged": Told("ACCOUNT_MERGED", ("merged_into",)),
    "customer.account.unmerged": Told("ACCOUNT_UNMERGED", (), ("survivor",)),
    "customer.contact.merged": Told("CONTACT_MERGED", ("merged_into",)),
    "customer.contact.unmerged": Told("CONTACT_UNMERGED", (), ("survivor",)),
    "sales.opportunity.created": Told("OPPORTUNITY_CREATED", _OPPORTUNITY),
    "sales.opportunity.stage_changed": _MOVED,
    "sales.opportunity.won": Told("OPPORTUNITY_WON", _OPPORTUNITY),
    "sales.opportunity.lost": Told("OPPORTUNITY_LOST", (*_OPPORTUNITY, "lost_reason")),
    "sales.opportunity.reopened": Told("OPPORTUNITY_REOPENED", _OPPORTUNITY),
    "support.ticket.created": Told("TICKET_CREATED", _TICKET),
    "support.ticket.started": Told("TICKET_STARTED", _TICKET),
    "support.ticket.waiting": Told("TICKET_WAITING", _TICKET),
    "support.ticket.resumed": Told("TICKET_RESUMED", _TICKET),
    "support.ticket.resolved": Told("TICKET_RESOLVED", _TICKET),
    "support.ticket.closed": Told("TICKET_CLOSED", _TICKET),
    "support.ticket.reopened": Told("TICKET_REOPENED", _TICKET),
}
# What a record is called where its name is no secret; support keeps a ticket's subject to itself.
_TITLES = {"opportunities": "display_name", "tickets": "number"}
_PARTIES = ("accounts", "contacts", "opportunities", "tickets")
_NEW = frozenset({"created", "recorded"})
# Fields that say whom a record of ours concerns.
_ABOUT = frozenset({"related", "participants", "attendees"})


# -- our own records: their events come in order, from one feed that was read from its beginning


async def own_record_changed(event: Event, call: Call) -> None:
    """Enters what happened; entries follow whom the record is about, and whose it is."""
    past = event.routing_key.rpartition(".")[2]
    told = TOLD.get(event.routing_key)
    if told is None and past in _NEW:
        return  # not even decoded: an import makes many of them
    record, collection, id_ = _subject(event)
    if past == "purged":
        await timeline.forget(call, id_)
        return
    if past == "corrected":
        await timeline.forget(call, id_)
    if told is not None:
        await timeline.enter(
            call, _entry(event, told, record, (collection, id_)), _named(record, id_)
        )
    if past in _NEW:
        return
    if past in {"merged", "unmerged"}:
        await timeline_after_merge.settle(call, collection, id_)
        return
    deleted = record.HasField("delete_time")
    inside = await merges.family(call, collection, id_, executor=call.tx)
    await timeline.put_rights(call, inside, event.owner, event.team, deleted=deleted)
    if _ABOUT & set(getattr(event.message, "changed_fields", ())):
        await timeline.follow(call, id_, _named(record, id_))


async def consent_changed(event: Event, call: Call) -> None:
    """Enters a decision into the person's timeline; who may read the person's ledger sees it."""
    consent, collection, id_ = _subject(event)
    contact = parse_name(consent.contact, collection="contacts", field="contact")
    entry = _entry(event, TOLD[event.routing_key], consent, (collection, id_))
    await timeline.enter(call, replace(entry, guard=contact), [contact])


def _named(record: Any, id_: UUID, survivor: str = "") -> list[UUID]:
    """The records in whose timelines a record's entries stand, its own first."""
    names = [*getattr(record, "related", ()), *getattr(record, "participants", ())]
    names += [name for name in (getattr(record, "merged_into", ""), survivor) if name]
    return [id_, *_ids(names)]


def _ids(names: Iterable[str]) -> list[UUID]:
    split = (name.partition("/") for name in names)
    return [UUID(id_) for collection, _, id_ in split if collection in _PARTIES]


# -- other services' records: an event may be read late, after newer ones


async def record_changed(event: Event, call: Call) -> None:
    """Keeps how another service's record stands, and enters what happened with it."""
    message, collection, id_ = _subject(event)
    before = await timeline_record.known(call, id_)
    if before is not None and before.purged:
        return
    after = before
    if before is None or before.version <= event.subject_version:
        after = await _kept(call, event, (message, collection, id_), before)
        await timeline_record.put(call, after)
        if after.purged:
            await timeline.forget(call, id_)
            return
        if before is None or before.parties != after.parties:
            await timeline.follow_customer(call, id_)
        if before is not None and before.rights != after.rights:
            await timeline.put_rights(call, [id_], after.owner, after.team, deleted=after.deleted)
    assert after is not None
    told = TOLD.get(event.routing_key)
    if told is not None and not (told is _MOVED and event.event_index):  # who wins does not move
        entry = _entry(event, told, message, (collection, id_))
        owner, team, deleted = after.rights
        await timeline.enter(call, replace(entry, owner=owner, team=team, deleted=deleted), [id_])


async def _kept(
    call: Call, event: Event, subject: tuple[Any, str, UUID], before: TimelineRecord | None
) -> TimelineRecord:
    message, collection, id_ = subject
    if event.routing_key.endswith(".purged"):
        return TimelineRecord(
            id=id_, collection=collection, version=event.subject_version, deleted=True, purged=True
        )
    account = _reference(message, "account")
    contact = _reference(message, "contact")
    if account is None and contact is not None:
        account = await timeline_record.account_of(call, contact)
    stands = await _party(call, "accounts", account, before.account_as_recorded if before else None)
    stands |= await _party(
        call, "contacts", contact, before.contact_as_recorded if before else None
    )
    amount = _money(message)
    return TimelineRecord(
        id=id_,
        collection=collection,
        version=event.subject_version,
        owner=event.owner,
        team=event.team,
        deleted=message.HasField("delete_time"),
        **stands,
        title=getattr(message, _TITLES[collection]) or None,
        state=_fact(message, "state"),
        amount=amount.amount if amount is not None else None,
        amount_currency=amount.currency_code if amount is not None else None,
    )


async def _party(
    call: Call, collection: str, named: UUID | None, recorded: UUID | None
) -> dict[str, Any]:
    """Who stands for whom an event names, and who was recorded: as before, if that is one who was merged."""
    ids = [id_ for id_ in (named, recorded) if id_ is not None]
    roots = await merges.survivors(call, collection, ids, executor=call.tx)
    root = roots.get(named, named) if named else None
    same = recorded is not None and roots.get(recorded, recorded) == root
    name = collection.removesuffix("s")
    return {name: root, f"{name}_as_recorded": recorded if same else named}


def _reference(message: Any, field: str) -> UUID | None:
    name = getattr(message, field, "")
    return parse_name(name, collection=f"{field}s", field=field) if name else None


def _money(message: Any) -> Money | None:
    if "amount" not in message.DESCRIPTOR.fields_by_name or not message.HasField("amount"):
        return None
    value = message.amount
    return Money.from_units_nanos(value.units, value.nanos, value.currency_code, "amount")


# -- entries


def _subject(event: Event) -> tuple[Any, str, UUID]:
    """The record of an event, its collection and its id."""
    record = getattr(event.message, contract.events()[event.routing_key].subject_field)
    collection, _, id_ = record.name.partition("/")
    return record, collection, UUID(id_)


def _entry(event: Event, told: Told, record: Any, name: tuple[str, UUID]) -> Entry:
    collection, id_ = name
    is_interaction = told is _INTERACTION
    return Entry(
        id=id_ if is_interaction else event.event_id,
        time=_time(record.create_time) if is_interaction else event.time,
        effective_time=_time(record.occur_time) if is_interaction else event.effective_time,
        kind=told.kind,
        source=event.source,
        collection=collection,
        record=id_,
        guard=id_,
        actor=(record.creator if is_interaction else "") or event.actor,
        data=_facts(record, told.of_record) | _facts(event.message, told.of_event),
        touch=is_interaction and record.kind != Interaction.NOTE,
        owner=event.owner,
        team=event.team,
        deleted=False,
    )


def _time(value: Any) -> datetime:
    time: datetime = value.ToDatetime(tzinfo=UTC)
    return time


def _facts(message: Message, names: Iterable[str]) -> dict[str, str]:
    """The values of fields as text, by the fields' names; nothing of those that are not set."""
    found: dict[str, str] = {}
    for name in names:
        if name == "amount":
            amount = _money(message)
            if amount is not None:
                found |= {"amount": f"{amount.amount:.4f}", "currency_code": amount.currency_code}
        elif text := _fact(message, name):
            found[name] = text
    return found


def _fact(message: Message, name: str) -> str | None:
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value) if value else None
        return known.name if known is not None else None
    if field.message_type is not None:
        return value.ToJsonString() if message.HasField(name) else None
    if isinstance(value, bool):
        return "true" if value else None
    return str(value) if value else None


OWN = dict.fromkeys(
    (f"customer.{noun}.*" for noun in ("account", "interaction", "appointment", "task", "contact")),
    own_record_changed,
) | {"customer.consent.changed": consent_changed}
OTHERS = dict.fromkeys(("sales.opportunity.*", "support.ticket.*"), record_changed)
HANDLERS = OWN | OTHERS
"""What is read of the feeds; `OTHERS` also from their beginning, once (`usecases/read_past`)."""
