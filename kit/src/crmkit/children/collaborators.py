"""Collaborators: with whom a record is shared. What that means for them stands in `crmkit.sharing`."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.protobuf import empty_pb2
from sqlalchemy.dialects.postgresql import insert

from crm.common.v1 import collaborator_pb2
from crmkit import references
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.children.parents import Parent, Parents, event_message, publish
from crmkit.collection import Collection
from crmkit.db import Executor
from crmkit.errors import AlreadyExists, Failure, InvalidArgument
from crmkit.etags import check_etag
from crmkit.field_codecs import Reference
from crmkit.fieldmask import masked_fields
from crmkit.ids import uuid7
from crmkit.names import format_name, parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.schema import COLLABORATOR
from crmkit.sharing import Access
from crmkit.statements import compile_statement

_LAST_FIRST = [Order("id", COLLABORATOR.c.id, descending=True)]
_COLUMNS = tuple(COLLABORATOR.columns)
_RECORD = sa.bindparam("record", type_=sa.Uuid)
_ID = sa.bindparam("id", type_=sa.Uuid)
_LOCK = compile_statement(
    sa.select(*_COLUMNS)
    .where(COLLABORATOR.c.id == _ID, COLLABORATOR.c.record == _RECORD)
    .with_for_update()
)
_INSERT = compile_statement(
    insert(COLLABORATOR)
    .values({c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["record", "grantee"])
    .returning(COLLABORATOR.c.id)
)
_CHANGED = ("version", "update_time", "access")
_UPDATE = compile_statement(
    sa.update(COLLABORATOR)
    .where(COLLABORATOR.c.id == _ID)
    .values({n: sa.bindparam(f"new_{n}", type_=COLLABORATOR.c[n].type) for n in _CHANGED})
)
_DELETE = compile_statement(sa.delete(COLLABORATOR).where(COLLABORATOR.c.id == _ID))
_FORGET = compile_statement(sa.delete(COLLABORATOR).where(COLLABORATOR.c.record == _RECORD))


class CollaboratorService:
    """A package's `CollaboratorService`."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name: those of which records can be shared."""
        self._parents = Parents(collections)

    async def CreateCollaborator(  # noqa: N802 - the contract's name
        self, request: collaborator_pb2.CreateCollaboratorRequest, call: Call
    ) -> collaborator_pb2.Collaborator:
        """Shares a record with a user or a team."""
        grantees, grantee = await _grantee(call, request.collaborator)
        parent = await self._parents.hold(call, request.parent, verb="update")
        row = {
            "id": uuid7(),
            "version": 1,
            "collection": parent.collection.name,
            "record": parent.record.id,
            "grantee_collection": grantees,
            "grantee": grantee,
            "access": request.collaborator.access,
            "creator": call.principal.name,
            "create_time": call.now,
            "update_time": call.now,
        }
        _require_permission(call, parent, row)
        if await call.tx.fetch_one(_INSERT, row) is None:
            field = _field(row)
            msg = f"{field}: {parent.name} is shared with {grantees}/{grantee} already."
            raise AlreadyExists(msg, field=field)
        return await _publish(call, parent, "created", row)

    async def ListCollaborators(  # noqa: N802
        self, request: collaborator_pb2.ListCollaboratorsRequest, call: Call
    ) -> collaborator_pb2.ListCollaboratorsResponse:
        """With whom a record is shared, who came last first."""
        parent = await self._parents.find(call, request.parent)
        query = sa.select(*_COLUMNS).where(COLLABORATOR.c.record == parent.record.id)
        bound_to = f"collaborators/{parent.name}"
        rows, token = await page_of_rows(call, query, _LAST_FIRST, request, bound_to)
        collaborators = [_message(_values(row)) for row in rows]
        return collaborator_pb2.ListCollaboratorsResponse(
            collaborators=collaborators, next_page_token=token
        )

    async def UpdateCollaborator(  # noqa: N802
        self, request: collaborator_pb2.UpdateCollaboratorRequest, call: Call
    ) -> collaborator_pb2.Collaborator:
        """Changes what a collaborator may do."""
        wanted = request.collaborator
        masked_fields(request.update_mask.paths, wanted, {"access"})
        if not wanted.access:
            msg = "collaborator.access is required."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="collaborator.access")
        parent, row = await self._for_change(call, wanted.name, "collaborator.name", verb="update")
        check_etag(wanted.name, wanted.etag, row["version"])
        if wanted.access == row["access"]:
            return _message(row)
        row |= {"access": wanted.access, "version": row["version"] + 1, "update_time": call.now}
        _require_permission(call, parent, row)
        await call.tx.execute(_UPDATE, {"id": row["id"]} | {f"new_{n}": row[n] for n in _CHANGED})
        return await _publish(call, parent, "updated", row)

    async def DeleteCollaborator(  # noqa: N802
        self, request: collaborator_pb2.DeleteCollaboratorRequest, call: Call
    ) -> empty_pb2.Empty:
        """Shares a record with a collaborator no longer; oneself whoever may read it removes."""
        parent, row = await self._for_change(call, request.name, "name", verb="get")
        if row["grantee"] != call.principal.user:
            parent = await self._parents.find(call, parent.name, verb="update", field="name")
        check_etag(request.name, request.etag, row["version"])
        await call.tx.execute(_DELETE, {"id": row["id"]})
        row |= {"version": row["version"] + 1, "update_time": call.now}
        await _publish(call, parent, "deleted", row)
        return empty_pb2.Empty()

    async def _for_change(
        self, call: Call, name: str, field: str, *, verb: str
    ) -> tuple[Parent, dict[str, Any]]:
        """A collaborator, locked, with the record."""
        of, id_ = self._parents.split(name, "collaborators", field)
        parent = await self._parents.hold(call, of, verb=verb, field=field)
        found = await call.tx.fetch_one(_LOCK, {"id": id_, "record": parent.record.id})
        if found is None:
            raise parent.not_found(name)
        return parent, _values(found)


async def _grantee(call: Call, wanted: collaborator_pb2.Collaborator) -> tuple[str, UUID]:
    """Collection and id of whom a record is to be shared with; called before the transaction."""
    if bool(wanted.user) == bool(wanted.team):
        msg = "collaborator.user or collaborator.team is needed, and only one of them."
        raise InvalidArgument(msg, field="collaborator.user")
    collection, field, name = (
        ("users", "collaborator.user", wanted.user)
        if wanted.user
        else ("teams", "collaborator.team", wanted.team)
    )
    id_ = parse_name(name, collection=collection, field=field)
    wanted_reference = [Reference(collection, id_, field)]
    await references.confirm(call, wanted_reference)
    await references.check(call, wanted_reference)
    if collection == "users":
        await call.home.rights.until_known(id_)
    return collection, id_


def _require_permission(call: Call, parent: Parent, row: Mapping[str, Any]) -> None:
    """Raises InvalidArgument for a user whose roles do not let them do it with any record."""
    if row["grantee_collection"] != "users":
        return
    user, field = row["grantee"], _field(row)
    try:
        grants = call.home.rights.principal(user).grants
    except Failure:
        msg = f"{field}: users/{user} may not sign in."
        raise InvalidArgument(msg, reason="LACKS_PERMISSION", field=field) from None
    verbs = ("get", "update") if row["access"] == Access.EDIT else ("get",)
    for permission in (parent.collection.permission(verb) for verb in verbs):
        if grants.scope(permission) is RecordScope.NONE:
            msg = f"{field}: users/{user} lacks the permission {permission}; no sharing gives it."
            metadata = {"permission": permission}
            raise InvalidArgument(msg, reason="LACKS_PERMISSION", field=field, metadata=metadata)


def _field(row: Mapping[str, Any]) -> str:
    return "collaborator.user" if row["grantee_collection"] == "users" else "collaborator.team"


async def _publish(
    call: Call, parent: Parent, past: str, row: Mapping[str, Any]
) -> collaborator_pb2.Collaborator:
    collaborator = _message(row)
    event = event_message(call.home.name, f"collaborator.{past}")
    event.collaborator.CopyFrom(collaborator)
    event.parent = parent.name
    name, version = collaborator.name, row["version"]
    await publish(call, parent, f"collaborator.{past}", name, version, event)
    return collaborator


def _values(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((column.name for column in _COLUMNS), row, strict=True))


def _message(row: Mapping[str, Any]) -> collaborator_pb2.Collaborator:
    grantee = f"{row['grantee_collection']}/{row['grantee']}"
    is_user = row["grantee_collection"] == "users"
    return collaborator_pb2.Collaborator(
        name=format_name(f"{row['collection']}/collaborators", row["record"], row["id"]),
        creator=row["creator"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        etag=f'"{row["version"]}"',
        user=grantee if is_user else "",
        team="" if is_user else grantee,
        access=row["access"],
    )


async def forget(executor: Executor, record: UUID) -> None:
    """Removes with whom a record was shared."""
    await executor.execute(_FORGET, {"record": record})
