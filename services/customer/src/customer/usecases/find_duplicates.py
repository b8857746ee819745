"""Finding duplicates of some records: look at their blocks' neighbours, compare, sort into sets."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from crm.customer.v1 import duplicate_pb2
from crmkit.call import Call
from customer.domain.blocking import blocks_of, reach_block
from customer.domain.duplicate import DuplicatePair, DuplicateSet, pair_of, regroup
from customer.domain.likeness import Likeness, compare
from customer.domain.profile import Profile, of_account, of_contact
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.duplicate import (
    DUPLICATE_SETS,
    hold_sets,
    keep_dismissed,
    without_dismissed,
)
from customer.storage.duplicate_key import crowded, keep_blocks, neighbours

# Collection → where its records are, and what of one is compared.
KINDS: Mapping[str, tuple[Any, Callable[[Any], Profile]]] = {
    "contacts": (CONTACTS, of_contact),
    "accounts": (ACCOUNTS, of_account),
}


@dataclass
class _LookedAt:
    """Records that are compared anew: what they are like, and what sets call them."""

    profiles: dict[UUID, Profile] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


async def find_duplicates(call: Call, resource: str, ids: Sequence[UUID]) -> int:
    """Compares some records with their neighbours, and sorts them into sets of duplicates.

    May be repeated at any time: the sets then are what they were.

    Args:
        call: The work at hand; what it finds commits with it.
        resource: The collection of the records.
        ids: The records; those that are no more are no duplicates.

    Returns:
        How many new sets there are.
    """
    await hold_sets(call)
    looked_at = await _look_at(call, resource, ids)
    blocks = {id_: blocks_of(profile) for id_, profile in looked_at.profiles.items()}
    await keep_blocks(call.tx, ids, blocks)
    near = await neighbours(call.tx, blocks)
    others = await _profiles(call, resource, {id_ for of_it in near.values() for id_ in of_it})
    shared = await _shared(call, looked_at.profiles.values())
    pairs = await asyncio.to_thread(_compared, looked_at.profiles, others, near, shared)
    return await _sort(call, looked_at.names, await without_dismissed(call, pairs))


async def _look_at(call: Call, resource: str, ids: Sequence[UUID]) -> _LookedAt:
    collection, profile_of = KINDS[resource]
    found: dict[UUID, Any] = {e.id: e for e in await collection.get_many(call, list(ids))}
    looked_at = _LookedAt()
    for id_ in ids:
        entity = found.get(id_)
        if resource == "accounts" and entity is not None and entity.is_person:
            continue  # compared by its contact
        looked_at.names.add(f"{resource}/{id_}")
        if resource == "contacts" and entity is not None and entity.person_account:
            looked_at.names.add(f"accounts/{entity.person_account}")
        if entity is not None and entity.delete_time is None:
            looked_at.profiles[id_] = profile_of(entity)
    return looked_at


async def _profiles(call: Call, resource: str, ids: set[UUID]) -> dict[UUID, Profile]:
    """What the records of a collection that are there are like; private persons as contacts only."""
    collection, profile_of = KINDS[resource]
    permission = collection.permission("get")
    found: Sequence[Any] = await collection.get_many(call, list(ids), permission=permission)
    there = [e for e in found if e.delete_time is None]
    if resource == "accounts":
        there = [e for e in there if not e.is_person]
    return {e.id: profile_of(e) for e in there}


async def _shared(call: Call, profiles: Any) -> frozenset[str]:
    """The e-mail addresses and phone numbers of some records that many records have."""
    values = {
        reach_block(profile.firm, value): value
        for profile in profiles
        for value in profile.emails | profile.phones
    }
    many = await crowded(call.reader, list(values)) if values else set()
    return frozenset(values[block] for block in many)


def _compared(
    profiles: Mapping[UUID, Profile],
    others: Mapping[UUID, Profile],
    near: Mapping[UUID, set[UUID]],
    shared: frozenset[str],
) -> list[DuplicatePair]:
    pairs: dict[frozenset[UUID], DuplicatePair] = {}
    known = {**others, **profiles}
    for id_, of_it in near.items():
        for other in of_it:
            if other not in known or (both := frozenset((id_, other))) in pairs:
                continue
            likeness = compare(known[id_], known[other], shared)
            if likeness.is_duplicate:
                pairs[both] = pair_of(*_names(known[id_], known[other]), likeness)
    return list(pairs.values())


def _names(one: Profile, other: Profile) -> tuple[str, str]:
    """Two private persons are the same account."""
    if one.person_account and other.person_account:
        return f"accounts/{one.person_account}", f"accounts/{other.person_account}"
    resource = "accounts" if one.firm else "contacts"
    return f"{resource}/{one.id}", f"{resource}/{other.id}"


async def _sort(call: Call, names: set[str], pairs: Sequence[DuplicatePair]) -> int:
    touched = names | {name for pair in pairs for name in pair.names}
    sets = await DUPLICATE_SETS.with_members(call, touched)
    grouping = regroup(sets, names, pairs)
    for one, of_it in grouping.kept:
        if sorted(one.pairs, key=_names_of) != sorted(of_it, key=_names_of):
            one.hold(of_it)
            await DUPLICATE_SETS.save(call, one)
    for one in grouping.gone:
        one.delete_time = call.now
        await DUPLICATE_SETS.save(call, one, "deleted")
    new = [_new_set(call, of_it) for of_it in grouping.new]
    if new:
        await DUPLICATE_SETS.insert_many(call, new)
    return len(new)


def _names_of(pair: DuplicatePair) -> tuple[str, str]:
    return pair.names


def _new_set(call: Call, pairs: Sequence[DuplicatePair]) -> DuplicateSet:
    resource = pairs[0].first.partition("/")[0]
    new = DUPLICATE_SETS.new(call, {"resource": resource})
    new.owner = new.team = None
    new.hold(pairs)
    return new


async def search(call: Call, resource: str, profile: Profile) -> list[tuple[Profile, Likeness]]:
    """What may be the same as a record, or as one that is not stored, as far as the caller may read it."""
    near = await neighbours(call.reader, {profile.id: blocks_of(profile)})
    others = await _profiles(call, resource, near.get(profile.id, set()))
    shared = await _shared(call, [profile])
    compared = [(other, compare(profile, other, shared)) for other in others.values()]
    return sorted(compared, key=lambda found: (-found[1].score, found[0].id))


async def dismiss(call: Call, request: duplicate_pb2.DismissDuplicateSetRequest) -> DuplicateSet:
    """Says that the members of a set are not the same."""
    await hold_sets(call)  # before the set's own lock, as whoever sorts does
    async with DUPLICATE_SETS.changing(call, request) as one:
        one.dismiss()
        await keep_dismissed(call, one.pairs)
    return one


async def members_were_merged(call: Call, survivor: str, losers: Sequence[str]) -> None:
    """Open sets all of whose members have become one are merged; call it in the merge's transaction.

    Sets that have other members too are sorted anew once the merge has committed.

    Args:
        call: The merge.
        survivor: The record that is left, by name.
        losers: The records that have become part of it.
    """
    await hold_sets(call)
    merged = {survivor, *losers}
    for one in await DUPLICATE_SETS.with_members(call, losers):
        if set(one.members) <= merged:
            one.merge()
            await DUPLICATE_SETS.save(call, one)


async def members_were_unmerged(call: Call, survivor: str, losers: Sequence[str]) -> None:
    """Sets that a merge had settled are open again; call it in the transaction that takes the merge back."""
    await hold_sets(call)
    merged = {survivor, *losers}
    for one in await DUPLICATE_SETS.with_members(call, losers, "MERGED"):
        if set(one.members) <= merged:
            one.reopen()
            await DUPLICATE_SETS.save(call, one)
