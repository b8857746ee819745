"""What must hold before a record is stored: its own rules, its references, its custom fields."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from crmkit import custom_values, merges, picked_values, references
from crmkit.access import RecordScope
from crmkit.aggregate import Record
from crmkit.call import Call
from crmkit.contract import ResourceContract
from crmkit.errors import Failure, InvalidArgument
from crmkit.field_codecs import Reference
from crmkit.sensitive import hidden, refuse_hidden


def own(
    call: Call, resource: ResourceContract, entity: Record, owner: UUID | None, scope: RecordScope
) -> None:
    """Gives a record an owner, with their team; raises InvalidArgument where that lies outside a scope."""
    entity.owner = owner
    entity.team = call.home.rights.team_of(owner) if owner else None
    if not call.principal.covers(scope, entity.owner, entity.team):
        msg = "The owner lies outside your record scope."
        field = f"{resource.singular}.owner"
        raise InvalidArgument(msg, reason="OWNER_OUT_OF_SCOPE", field=field)


async def prepare(
    collection: Any,
    call: Call,
    entity: Record,
    before: Record | None,
    names: Iterable[str],
) -> None:
    """Raises a Failure where a record cannot be stored as it is; rules may change it.

    Args:
        collection: The `Collection` whose record it is.
        call: The work at hand.
        entity: The record after the change.
        before: The record before it; None for a new one.
        names: The fields that are new or changed.
    """
    refuse_hidden(collection.contract, *_unseen(collection, call, entity, before, names))
    entity.external_id = entity.external_id or None  # an empty one is none
    entity.check()
    fields = call.home.custom_fields.of(collection.name)
    custom_values.settle(call, fields, collection.contract, entity, before)
    await _settle_references(collection, call, entity, before, frozenset(names))
    await collection.rule(call, entity, before)


async def _settle_references(
    collection: Any,
    call: Call,
    entity: Record,
    before: Record | None,
    names: frozenset[str],
) -> None:
    """Raises a Failure for what cannot be referred to; what was merged gives way to its survivor."""
    wanted = _references(collection, call, entity, before, names)
    refused = await references.failures(call, wanted)
    merged = [r for r, failure in refused.items() if isinstance(failure, references.Merged)]
    if merged:
        await merges.redirect(call, collection, entity, merged)
        wanted = _references(collection, call, entity, before, names)
        refused = await references.failures(call, wanted)
    for failure in refused.values():
        raise failure


def _unseen(
    collection: Any,
    call: Call,
    entity: Record,
    before: Record | None,
    names: Iterable[str],
) -> tuple[frozenset[str], frozenset[str]]:
    """The fields that somebody writes, and those of them that are hidden from them.

    What a record's own methods work out is not written by whoever calls them.
    """
    seen_as = before or entity
    unseen = hidden(call.principal, collection.contract, seen_as.owner, seen_as.team)
    written = unseen & collection.codec.writable & frozenset(names)
    if before is None:
        empty = collection.codec.defaults
        written = frozenset(n for n in written if getattr(entity, n) != empty.get(n))
    return written, unseen


def _references(
    collection: Any,
    call: Call,
    entity: Record,
    before: Record | None,
    names: frozenset[str],
) -> list[Reference]:
    found: list[Reference] = collection.codec.references(entity, names)
    if entity.custom_fields:
        fields = call.home.custom_fields.of(collection.name)
        had = before.custom_fields if before is not None else None
        found += custom_values.references(fields, collection.contract, entity.custom_fields, had)
    return found


def check(collection: Any, call: Call, entity: Record) -> None:
    """Writes a new record's values as they are kept; raises a Failure where one cannot be."""
    picked_values.settle(call, collection.codec, entity)
    entity.check()


async def prepare_many(
    collection: Any, call: Call, entities: Sequence[Record], *, checked: bool = False
) -> list[Failure | None]:
    """What `prepare` does, for many new records: a failure or None for each.

    References take one query per collection, not per record. Rules run per record: what a rule needs
    of other records belongs into `call.state`, which all records of the batch share.

    Args:
        collection: The `Collection` whose records they are.
        call: The work at hand.
        entities: The records.
        checked: True where each has been through `check` already.
    """
    writable, fields = collection.codec.writable, call.home.custom_fields.of(collection.name)
    wanted = [_references(collection, call, entity, None, writable) for entity in entities]
    refused = await references.failures(call, [r for of_one in wanted for r in of_one])
    outcomes: list[Failure | None] = []
    for entity, of_one in zip(entities, wanted, strict=True):
        failure = next((refused[r] for r in of_one if r in refused), None)
        try:
            if isinstance(failure, references.Merged):
                await _settle_references(collection, call, entity, None, writable)
                failure = None
            if failure is None:
                unseen = _unseen(collection, call, entity, None, writable)
                refuse_hidden(collection.contract, *unseen)
                if not checked:
                    check(collection, call, entity)
                custom_values.settle(call, fields, collection.contract, entity, None)
                await collection.rule(call, entity, None)
        except Failure as error:
            failure = error
        outcomes.append(failure)
    return outcomes
