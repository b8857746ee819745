"""References between records, also across services (decision 11).

A service keeps what it must know of other services' records in `known_record`, from their feeds
(`crmkit.known_records`). A write resolves its references there. An id that is not known yet is asked for
once, with the caller's own rights.
"""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

import grpc
import sqlalchemy as sa

from crmkit import contract
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.clients import unavailable
from crmkit.errors import FailedPrecondition, Failure, NotFound, Unavailable
from crmkit.field_codecs import Reference
from crmkit.schema import KNOWN_RECORD, KNOWN_TEAM, KNOWN_USER
from crmkit.sharing import is_shareable, within_reach
from crmkit.statements import Statement, compile_statement

_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))

_ASK_SECONDS = 0.3


class Merged(FailedPrecondition):
    """The record was merged into another, which is meant instead."""


class State(Enum):
    """What stands of a record that is to be referred to; out of reach: as if it were not there."""

    THERE = 0
    DELETED = 1
    MERGED = 2
    OUT_OF_REACH = 3


def _present(table: sa.FromClause, *columns: sa.ColumnElement[Any]) -> Statement:
    """Id, whether it is deleted, owner, team, what it was merged into."""
    return compile_statement(sa.select(table.c.id, *columns).where(table.c.id == sa.any_(_IDS)))


@cache
def _own_records(table: sa.Table) -> Statement:
    c = table.c
    merged_into = c.get("merged_into", sa.null())
    return _present(table, c.delete_time.is_not(None), c.owner, c.team, merged_into)


_KNOWN = {
    "users": _present(KNOWN_USER, sa.literal(False), sa.null(), sa.null(), sa.null()),
    "teams": _present(KNOWN_TEAM, sa.literal(False), sa.null(), sa.null(), sa.null()),
}
_KNOWN_RECORDS = compile_statement(
    sa.select(
        *(KNOWN_RECORD.c[n] for n in ("id", "deleted", "owner", "team", "merged_into"))
    ).where(
        KNOWN_RECORD.c.collection == sa.bindparam("collection"), KNOWN_RECORD.c.id == sa.any_(_IDS)
    )
)


async def confirm(call: Call, references: Iterable[Reference]) -> None:
    """Asks the owning services for ids that are not known yet; called before a transaction.

    Raises:
        Unavailable: An owning service had to be asked and cannot be reached.
    """
    confirmed: set[UUID] = call.state.setdefault("confirmed_references", set())
    for collection, wanted in _by_collection(references).items():
        if collection in call.home.tables:
            continue
        found = await _find(call, collection, [r.id for r in wanted])
        for reference in wanted:
            state = found.get(reference.id)
            if state is None:
                is_there = await _ask(call, collection, reference.id)
            else:
                is_there = state is State.OUT_OF_REACH and await _is_shared(call, reference)
            if is_there:
                confirmed.add(reference.id)


async def check(call: Call, references: Iterable[Reference]) -> None:
    """Checks references that are new or changed.

    Raises:
        NotFound: `REFERENCE_NOT_FOUND`, naming the field.
        FailedPrecondition: `REFERENCE_DELETED`, naming the field.
    """
    for failure in (await failures(call, references)).values():
        raise failure


async def settle(call: Call, references: Iterable[Reference]) -> None:
    """Looks up once what many records are to refer to; what can be referred to is not looked up again."""
    wanted = list(references)
    refused = await failures(call, wanted)
    confirmed: set[UUID] = call.state.setdefault("confirmed_references", set())
    confirmed.update(r.id for r in wanted if r not in refused)


async def failures(call: Call, references: Iterable[Reference]) -> dict[Reference, Failure]:
    """Which of many references cannot be made, and why: one query per collection."""
    confirmed: set[UUID] = call.state.get("confirmed_references", set())
    unsure = [r for r in references if r.id not in confirmed and not _is_caller(call, r)]
    refused: dict[Reference, Failure] = {}
    for collection, wanted in _by_collection(unsure).items():
        found = await _find(call, collection, list({r.id for r in wanted}))
        for reference in wanted:
            failure = _failure(reference, found.get(reference.id))
            if failure is not None:
                refused[reference] = failure
    return refused


async def _find(call: Call, collection: str, ids: list[UUID]) -> dict[UUID, State]:
    """What stands of those that are known; as far as is known here, what the caller may see is in reach."""
    own = call.home.tables.get(collection)
    if own is not None:
        rows = await call.reader.fetch_all(_own_records(own), {"ids": ids})
    elif collection in _KNOWN:
        rows = await call.reader.fetch_all(_KNOWN[collection], {"ids": ids})
    else:
        parameters = {"collection": collection, "ids": ids}
        rows = await call.reader.fetch_all(_KNOWN_RECORDS, parameters)
    resource = contract.collections()[collection]
    permission = f"{resource.service}.{collection}.get"
    scope = RecordScope.ALL if resource.shared else call.principal.grants.scope(permission)
    records = [(id_, owner, team) for id_, _, owner, team, merged in rows if merged is None]
    reached = await within_reach(
        call.reader, call.principal, (resource, permission), scope, records
    )
    return {id_: _state(id_ in reached, deleted, merged) for id_, deleted, _, _, merged in rows}


def _state(reached: bool, deleted: bool, merged_into: UUID | None) -> State:  # noqa: FBT001 - columns
    if merged_into is not None:  # whether the survivor is within reach is what counts
        return State.MERGED
    if not reached:
        return State.OUT_OF_REACH
    return State.DELETED if deleted else State.THERE


async def _is_shared(call: Call, reference: Reference) -> bool:
    """True if a record out of scope is shared with the caller, which only the owning service knows.

    Where that cannot be reached, the record is as if it were not there: as before it was shared.
    """
    if not is_shareable(contract.collections()[reference.collection]):
        return False
    with suppress(Unavailable):
        return await _ask(call, reference.collection, reference.id)
    return False


async def _ask(call: Call, collection: str, record_id: UUID) -> bool:
    """Asks the owning service for a record, with the caller's rights: found and not deleted."""
    owner = contract.collections()[collection]
    service = contract.services()[f"crm.{owner.service}.v1.{owner.noun}Service"]
    get = next(m for m in contract.methods_of(service) if m.name == f"Get{owner.noun}")
    try:
        found = await call.home.clients.call(
            owner.service,
            get.path,
            get.input(name=f"{collection}/{record_id}"),
            get.output,
            metadata=call.metadata_for_others(),
            timeout=_ASK_SECONDS,
        )
    except grpc.aio.AioRpcError as error:
        if error.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED}:
            return False
        raise unavailable(owner.service) from error
    return not found.HasField("delete_time")


def _by_collection(references: Iterable[Reference]) -> dict[str, list[Reference]]:
    groups: dict[str, list[Reference]] = defaultdict(list)
    for reference in references:
        groups[reference.collection].append(reference)
    return groups


def _is_caller(call: Call, reference: Reference) -> bool:
    return reference.collection == "users" and reference.id == call.principal.user


def _failure(reference: Reference, state: State | None) -> Failure | None:
    name = f"{reference.collection}/{reference.id}"
    if state is State.MERGED:
        msg = f"{reference.path} refers to {name}, which was merged into another."
        return Merged(msg, reason="REFERENCE_DELETED", field=reference.path)
    if state in {None, State.OUT_OF_REACH}:
        msg = f"{reference.path} refers to {name}, which does not exist."
        return NotFound(msg, reason="REFERENCE_NOT_FOUND", field=reference.path)
    if state is State.DELETED:
        msg = f"{reference.path} refers to {name}, which is deleted."
        return FailedPrecondition(msg, reason="REFERENCE_DELETED", field=reference.path)
    return None
