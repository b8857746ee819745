"""Takes a merge back: each record stands by itself again."""

from typing import Any
from uuid import UUID

from crmkit import merges, merging, revisions
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, NotFound
from crmkit.names import parse_name
from crmkit.resources import set_field
from customer.domain.merge_record import MergeRecord
from customer.domain.party import Party
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.merge_record import MERGE_RECORDS
from customer.storage.party import Parties
from customer.usecases.find_duplicates import members_were_unmerged

_CUSTOM = "custom_fields"


async def unmerge(
    call: Call, parties: Parties[Any], request: Any
) -> tuple[Any, list[Any], MergeRecord]:
    """The survivor, those that are there again, and the merge as it is recorded now.

    Raises:
        NotFound: There is no such survivor, or no such merge of it.
        FailedPrecondition: `NOT_MERGED`, `MERGED_SINCE`, `PERSON_ACCOUNT`, `CIRCLE`, `ERASED`.
    """
    survivor = await parties.for_change(call, request.name, request.etag)
    record = await _record(call, parties, survivor, request.merge_record)
    if record.caused_by is not None:
        msg = "The accounts of the private person were merged: take that back."
        raise FailedPrecondition(msg, reason="PERSON_ACCOUNT", field="merge_record")
    losers = await _unmerge(call, parties, survivor, record)
    if parties is ACCOUNTS:
        await _refuse_circles(call, losers)
        caused = await MERGE_RECORDS.caused_by(call, record.id)
        if caused is not None:
            await _unmerge_contacts(call, caused)
    after = await parties.get(call, survivor.id)
    return after, await parties.get_many(call, losers), record


async def _record(call: Call, parties: Parties[Any], survivor: Party, named: str) -> MergeRecord:
    name = parties.codec.name_of(survivor.id)
    id_ = (
        parse_name(named, collection=MERGE_RECORDS.name, field="merge_record")
        if named
        else await MERGE_RECORDS.last(call, name)
    )
    if id_ is None:
        msg = f"Nothing was merged into {name}."
        raise FailedPrecondition(msg, reason="NOT_MERGED", field="name")
    record = await MERGE_RECORDS.by_id(call, id_)
    if record is None or not record.survivor.startswith(f"{parties.name}/"):
        msg = f"There is no merge {named} of {name}."
        raise NotFound(msg, metadata={"resource": named}, field="merge_record")
    if record.survivor == name:
        return record
    into = await merges.survivors(call, parties.name, [_id(record.survivor)], executor=call.tx)
    if into.get(_id(record.survivor)) != survivor.id:
        msg = f"There is no merge {named} of {name}."
        raise NotFound(msg, metadata={"resource": named}, field="merge_record")
    msg = f"{record.survivor} was merged into another since: take that merge back first."
    raise FailedPrecondition(msg, reason="MERGED_SINCE", field="merge_record")


def _id(name: str) -> UUID:
    return UUID(name.rpartition("/")[2])


async def _unmerge(
    call: Call, parties: Parties[Any], survivor: Party, record: MergeRecord
) -> list[UUID]:
    """Takes a merge back but for what it brought about; answers the records that are there again."""
    kept = await _restore(call, parties, survivor, record)
    record.undo(call.now, call.principal.user, kept)
    losers = sorted(_id(name) for name in record.losers)
    released = [one for one in losers if await parties.release(call, one, survivor.id)]
    for loser in released:
        await merging.follow_for_good(call, parties.name, loser)
    await members_were_unmerged(call, record.survivor, record.losers)
    await MERGE_RECORDS.save(call, record)
    return released


async def _restore(
    call: Call, parties: Parties[Any], survivor: Any, record: MergeRecord
) -> list[str]:
    """Gives the survivor its values of before; answers the fields that people have changed since."""
    if record.revision is None:
        return []
    version = int(record.revision.rpartition("/")[2])
    custom = call.home.custom_fields.of(parties.name)
    of = call.tx, parties.codec, custom, survivor.id, version
    before = await revisions.values_before(*of)
    merged = await revisions.values_before(*of, after=True)
    kept = []
    for name, value in before.items():
        if name == _CUSTOM:
            now = survivor.custom_fields
            back = {i: v for i, v in value.items() if now.get(i) == merged[name][i]}
            kept += [f"{_CUSTOM}.{i}" for i in value.keys() - back.keys()]
            set_field(parties, survivor, _CUSTOM, back)
        elif _same(parties, survivor, name, merged[name]):
            set_field(parties, survivor, name, _value(parties, name, value))
        else:
            kept.append(name)
    known: set[UUID] = call.state.setdefault("confirmed_references", set())
    known.update(r.id for r in parties.codec.references(survivor, list(before)))
    await parties.save(call, survivor)
    return kept


def _same(parties: Parties[Any], survivor: Any, name: str, merged: Any) -> bool:
    return bool(getattr(survivor, name) == _value(parties, name, merged))


def _value(parties: Parties[Any], name: str, value: Any) -> Any:
    """A value as the attribute has it: an empty list where history says nothing."""
    default = parties.codec.defaults.get(name)
    return type(default)() if value is None and isinstance(default, list | dict) else value


async def _refuse_circles(call: Call, accounts: list[UUID]) -> None:
    for account in accounts:
        if account in await ACCOUNTS.above(call, account):
            name = ACCOUNTS.codec.name_of(account)
            msg = f"{name} would belong to itself: change first what it belongs to."
            raise FailedPrecondition(msg, reason="CIRCLE", field="name")


async def _unmerge_contacts(call: Call, caused: UUID) -> None:
    record = await MERGE_RECORDS.by_id(call, caused)
    if record is not None and record.state == "MERGED":
        contact = await CONTACTS.for_change(call, _id(record.survivor), deleted=True)
        await _unmerge(call, CONTACTS, contact, record)
