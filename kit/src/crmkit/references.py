"""References between records, also across services (decision 11).

A service keeps what it must know of other services' records in `known_record`, from their feeds. A write
resolves its references there. An id that is not known yet is asked for once, with the caller's own rights.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
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
from crmkit.feed.events import Event
from crmkit.field_codecs import Reference
from crmkit.names import parse_name
from crmkit.schema import KNOWN_RECORD, KNOWN_TEAM, KNOWN_USER
from crmkit.sharing import is_shareable, within_reach
from crmkit.statements import Statement, compile_statement, upsert

_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))

_ASK_SECONDS = 0.3


def _present(
    table: sa.FromClause,
    deleted: sa.ColumnElement[Any],
    owner: sa.ColumnElement[Any],
    team: sa.ColumnElement[Any],
) -> Statement:
    columns = (table.c.id, deleted, owner, team)
    return compile_statement(sa.select(*columns).where(table.c.id == sa.any_(_IDS)))


@cache
def _own_records(table: sa.Table) -> Statement:
    return _present(table, table.c.delete_time.is_not(None), table.c.owner, table.c.team)


_KNOWN = {
    "users": _present(KNOWN_USER, sa.literal(False), sa.null(), sa.null()),
    "teams": _present(KNOWN_TEAM, sa.literal(False), sa.null(), sa.null()),
}
_KNOWN_RECORDS = compile_statement(
    sa.select(
        KNOWN_RECORD.c.id, KNOWN_RECORD.c.deleted, KNOWN_RECORD.c.owner, KNOWN_RECORD.c.team
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
            if reference.id not in found:
                is_there = await _ask(call, collection, reference.id)
            else:
                is_there = found[reference.id] is None and await _is_shared(call, reference)
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


async def _find(call: Call, collection: str, ids: list[UUID]) -> dict[UUID, bool | None]:
    """Id → whether it is deleted; None for a record that the caller, as far as is known here, may not see."""
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
    records = [(id_, owner, team) for id_, _, owner, team in rows]
    reached = await within_reach(
        call.reader, call.principal, (resource, permission), scope, records
    )
    return {row[0]: row[1] if row[0] in reached else None for row in rows}


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


def _failure(reference: Reference, deleted: bool | None) -> Failure | None:  # noqa: FBT001 - a column
    name = f"{reference.collection}/{reference.id}"
    if deleted is None:
        msg = f"{reference.path} refers to {name}, which does not exist."
        return NotFound(msg, reason="REFERENCE_NOT_FOUND", field=reference.path)
    if deleted:
        msg = f"{reference.path} refers to {name}, which is deleted."
        return FailedPrecondition(msg, reason="REFERENCE_DELETED", field=reference.path)
    return None


# -- the projection of other services' records


_PUT = upsert(KNOWN_RECORD, ["owner", "team", "deleted"])
_FORGET = compile_statement(
    sa.delete(KNOWN_RECORD).where(
        KNOWN_RECORD.c.collection == sa.bindparam("collection"),
        KNOWN_RECORD.c.id == sa.bindparam("id", type_=sa.Uuid),
    )
)


async def _record_changed(event: Event, call: Call) -> None:
    declared = contract.events()[event.routing_key]
    record = getattr(event.message, declared.subject_field)
    collection = record.name.split("/")[0]
    id_ = parse_name(record.name, collection=collection, field="name")
    if event.routing_key.endswith(".purged"):
        await call.tx.execute(_FORGET, {"collection": collection, "id": id_})
        return
    await call.tx.execute(
        _PUT,
        {
            "collection": collection,
            "id": id_,
            "owner": event.owner,
            "team": event.team,
            "deleted": record.HasField("delete_time"),
            "merged_into": None,
        },
    )


def handlers(collections: Iterable[str]) -> dict[str, Callable[[Event, Call], Awaitable[None]]]:
    """The event handlers that keep these collections of other services known."""
    known = contract.collections()
    return {f"{known[c].service}.{known[c].singular}.*": _record_changed for c in collections}
