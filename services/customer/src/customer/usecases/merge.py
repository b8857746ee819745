"""Accounts, or contacts, that turn out to be the same become one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from crmkit import merges, merging
from crmkit.call import Call
from crmkit.children import followers
from crmkit.children.parents import Parent
from crmkit.errors import FailedPrecondition, Failure, InvalidArgument, Violation
from crmkit.names import parse_name
from crmkit.resources import set_field
from crmkit.sensitive import hidden
from customer.domain.merge_record import (
    CUSTOM,
    Candidate,
    FieldChoice,
    MergeRecord,
    Moved,
    Wishes,
    choosable,
    merged_values,
    state_after,
)
from customer.domain.party import IN_STEP
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.merge_record import MERGE_RECORDS, undone_if
from customer.storage.merged_timeline import timelines_of_accounts, timelines_of_contacts
from customer.storage.party import Parties
from customer.storage.touch import take_over_touches
from customer.usecases.find_duplicates import members_were_merged

_LED = {"accounts": ("grade", "credit_state"), "contacts": ()}
ACCOUNTS.also_follow, CONTACTS.also_follow = timelines_of_accounts, timelines_of_contacts
# A contact's `account` follows from its `accounts`; a private person's values come from their account.
_FOLLOWS = frozenset({"account"})


@dataclass(frozen=True)
class Merge:
    """What is to become one: the survivor, then the others, all of them locked."""

    parties: Parties[Any]
    survivor: Any
    losers: Sequence[Any]
    choices: Sequence[FieldChoice] = ()
    without: frozenset[str] = _FOLLOWS
    caused_by: UUID | None = None
    moved: dict[tuple[str, str], int] = field(default_factory=dict)

    def name(self, record: Any) -> str:
        """The resource name of one of them."""
        return self.parties.codec.name_of(record.id)


async def merge(call: Call, parties: Parties[Any], request: Any) -> tuple[Any, MergeRecord]:
    """Does what a Merge request asks, or only tries it.

    Raises:
        InvalidArgument: `SAME_RECORD`, or a name or a choice is wrong.
        FailedPrecondition: `ALREADY_MERGED`, `DIFFERENT_KINDS`, `CIRCLE`, `PERSON_ACCOUNT`.
    """
    choices = [FieldChoice(c.field, c.winner, c.combine) for c in request.field_choices]
    async with undone_if(call, request.validate_only):
        survivor, losers = await _locked(call, parties, request)
        wanted = Merge(parties, survivor, losers, choices)
        if parties is ACCOUNTS:
            await _refuse_circles(call, wanted)
        _refuse_mixed(wanted)
        record = await _merge(call, wanted)
        if parties is ACCOUNTS:
            await take_over_touches(call, survivor.id, [loser.id for loser in losers])
        if parties is ACCOUNTS and survivor.kind == "PERSON":
            await _merge_contacts(call, wanted, record.id)
        after = await parties.get(call, survivor.id)
    return after, record


async def _merge(call: Call, wanted: Merge) -> MergeRecord:
    parties, survivor, losers = wanted.parties, wanted.survivor, wanted.losers
    changed, revision = await _fill(call, wanted)
    for loser in losers:
        await parties.absorb(call, loser, survivor.id)
    for loser in losers:
        for moved in await merging.follow_for_good(call, parties.name, loser.id):
            key = moved.collection, moved.field
            wanted.moved[key] = wanted.moved.get(key, 0) + moved.count
    await followers.join(call, Parent(parties, survivor, [survivor.id]), losers)
    await members_were_merged(call, wanted.name(survivor), [wanted.name(one) for one in losers])
    stamps = {"owner": survivor.owner, "team": survivor.team}
    record = MERGE_RECORDS.new(
        call,
        {
            "kind": parties.contract.singular.upper(),
            "survivor": wanted.name(survivor),
            "losers": [wanted.name(loser) for loser in losers],
            "field_choices": list(wanted.choices),
            "changed_fields": changed,
            "revision": revision,
            "moved": [Moved(c, f, count) for (c, f), count in sorted(wanted.moved.items())],
            "caused_by": wanted.caused_by,
            **stamps,
        },
    )
    record.owner, record.team = survivor.owner, survivor.team
    return await MERGE_RECORDS.insert(call, record)


# -- who


async def _locked(call: Call, parties: Parties[Any], request: Any) -> tuple[Any, list[Any]]:
    """The survivor and the others, locked in one order: two merges at once do not block each other."""
    named = parse_name(request.name, collection=parties.name, field="name")
    (survivor_id,) = await merges.present(call, parties.name, [named])
    places: dict[UUID, int] = {}
    for index, name in enumerate(request.losers):
        path = f"losers[{index}]"
        id_ = parse_name(name, collection=parties.name, field=path)
        if id_ in {survivor_id, named}:
            msg = f"{path}: {name} is the record that survives."
            raise InvalidArgument(msg, reason="SAME_RECORD", field=path)
        if id_ in places:
            msg = f"{path}: {name} is named twice."
            raise InvalidArgument(msg, field=path)
        places[id_] = index
    if unknown := sorted(request.etags.keys() - set(request.losers)):
        msg = f"etags has {unknown[0]}, which losers has not."
        raise InvalidArgument(msg, field="etags")
    locked: dict[UUID, Any] = {}
    for id_ in sorted([survivor_id, *places]):
        at = places.get(id_)
        path = "name" if at is None else f"losers[{at}]"
        etag = request.etag if at is None else request.etags.get(request.losers[at], "")
        with _naming(path):
            locked[id_] = await parties.for_change(call, id_, etag, field=path)
            _refuse_merged(parties, id_, locked[id_], path)
    return locked[survivor_id], [locked[id_] for id_ in places]


def _refuse_merged(parties: Parties[Any], asked: UUID, found: Any, path: str) -> None:
    if found.id != asked:
        name, survivor = parties.codec.name_of(asked), parties.codec.name_of(found.id)
        msg = f"{path}: {name} was merged into {survivor} already."
        metadata = {"survivor": survivor}
        raise FailedPrecondition(msg, reason="ALREADY_MERGED", field=path, metadata=metadata)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Makes failures name the field of the request that they are about."""
    try:
        yield
    except Failure as failure:
        failure.violations = failure.violations or (Violation(path, failure.message),)
        raise


async def _refuse_circles(call: Call, wanted: Merge) -> None:
    above = await ACCOUNTS.above(call, wanted.survivor.id)
    for index, loser in enumerate(wanted.losers):
        if loser.id in above:
            path = f"losers[{index}]"
            msg = f"{path}: the survivor belongs to it; merge the other way round."
            raise FailedPrecondition(msg, reason="CIRCLE", field=path)


def _refuse_mixed(wanted: Merge) -> None:
    for index, loser in enumerate(wanted.losers):
        path = f"losers[{index}]"
        if getattr(loser, "kind", None) != getattr(wanted.survivor, "kind", None):
            msg = f"{path}: a private person and an organisation are not the same."
            raise FailedPrecondition(msg, reason="DIFFERENT_KINDS", field=path)
        if getattr(loser, "person_account", None) is not None:
            msg = f"{path} is the contact of a private person: merge the accounts."
            raise FailedPrecondition(msg, reason="PERSON_ACCOUNT", field=path)


# -- which values


async def _fill(call: Call, wanted: Merge) -> tuple[list[str], str | None]:
    """Gives the survivor the values that win; answers the fields, and the version that holds those before."""
    parties, survivor = wanted.parties, wanted.survivor
    custom = call.home.custom_fields.of(parties.name).by_id
    others = [i for i, f in custom.items() if not f.unique]
    fields = choosable(parties.codec.writable, others, _LED[parties.name]) - wanted.without
    candidates = [_candidate(call, wanted, one) for one in (survivor, *wanted.losers)]
    wishes = Wishes(wanted.choices, candidates, fields)
    if "credit_state" in wishes.by_field:
        call.principal.require(ACCOUNTS.permission("setCredit"))
    values = merged_values(candidates, fields, wishes)
    if parties is ACCOUNTS:
        state = state_after([c.record.state for c in candidates])
        values |= {"state": state} if state != survivor.state else {}
    for name, value in values.items():
        if name.startswith(CUSTOM):
            set_field(parties, survivor, "custom_fields", {name.removeprefix(CUSTOM): value})
        else:
            set_field(parties, survivor, name, value)
    known: set[UUID] = call.state.setdefault("confirmed_references", set())
    known.update(r.id for r in parties.codec.references(survivor, list(values)))
    version = survivor.version
    await parties.save(call, survivor)
    if survivor.version == version:
        return [], None
    return sorted(values), f"{wanted.name(survivor)}/revisions/{version + 1}"


def _candidate(call: Call, wanted: Merge, record: Any) -> Candidate:
    resource = wanted.parties.contract
    unseen = hidden(call.principal, resource, record.owner, record.team)
    return Candidate(wanted.name(record), record, unseen)


# -- private persons


async def _merge_contacts(call: Call, wanted: Merge, caused_by: UUID) -> None:
    """A private person has one contact: those of the merged accounts become one as well."""
    survivor = await CONTACTS.of_person(call, wanted.survivor.id)
    losers = [await CONTACTS.of_person(call, loser.id) for loser in wanted.losers]
    if survivor is not None:
        same = frozenset(IN_STEP) | _FOLLOWS
        there = [loser for loser in losers if loser is not None]
        await _merge(call, Merge(CONTACTS, survivor, there, without=same, caused_by=caused_by))
