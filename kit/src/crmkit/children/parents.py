"""The record that something belongs to: found in the caller's scope, held for a change, told of in events."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit import contract, merges
from crmkit.access import RecordScope
from crmkit.aggregate import Record
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition, Failure, InvalidArgument, NotFound
from crmkit.feed import outbox
from crmkit.names import parse_names
from crmkit.publishing import new_event
from crmkit.sharing import within_reach
from crmkit.statements import Statement, compile_statement


@dataclass(frozen=True, slots=True)
class Parent:
    """A record that the caller may see.

    Attributes:
        records: Its id, and those of all that were merged into it: what belongs to them belongs to it.
    """

    collection: Collection[Any]
    record: Record
    records: list[UUID]

    @property
    def name(self) -> str:
        """Its resource name."""
        return self.collection.codec.name_of(self.record.id)

    def not_found(self, child: str) -> NotFound:
        """The failure for something that does not belong to it."""
        return NotFound(f"There is no {child}.", metadata={"resource": child})


class Parents:
    """The records of one service that things may belong to."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._collections = collections

    async def find(
        self, call: Call, name: str, *, verb: str = "get", field: str = "parent"
    ) -> Parent:
        """The record of this name, deleted or not.

        Args:
            call: The work at hand.
            name: What the client sent.
            verb: What the caller must be allowed to do with the record.
            field: The request field that a failure names.

        Raises:
            InvalidArgument: It is no name of a record here.
            PermissionDenied: The caller may not do that with any record of the collection.
            NotFound: There is none within the caller's scope.
        """
        collection = self.collection(name, field)
        permission = collection.permission(verb)
        record = await collection.get(call, name, permission=permission, field=field)
        records = await merges.family(call, collection.name, record.id)
        return Parent(collection, record, records)

    async def hold(
        self, call: Call, name: str, *, verb: str = "get", field: str = "parent"
    ) -> Parent:
        """The record of this name, which is there until the transaction ends: for a change.

        Raises:
            FailedPrecondition: `RECORD_DELETED`; besides what `find` raises.
        """
        collection = self.collection(name, field)
        (record,) = parse_names(name, collection=collection.name, field=field)
        (record,) = await merges.present(call, collection.name, [record], executor=call.tx)
        await call.tx.fetch_one(_hold(collection.table), {"id": record})
        parent = await self.find(call, name, verb=verb, field=field)
        if parent.record.delete_time is not None:
            msg = f"{name} is deleted; restore it first."
            raise FailedPrecondition(msg, reason="RECORD_DELETED")
        return parent

    def split(self, name: str, kind: str, field: str) -> tuple[str, UUID]:
        """The parent's name and the own id in a child's name, `{record}/{kind}/{uuid}`.

        Raises:
            InvalidArgument: It is no such name.
        """
        collection = self.collection(name, field).name
        record, child = parse_names(name, collection=f"{collection}/{kind}", field=field)
        return f"{collection}/{record}", child

    def collection(self, name: str, field: str) -> Collection[Any]:
        """The collection that a name begins with; raises InvalidArgument if it is none of this service."""
        found = self._collections.get(name.partition("/")[0])
        if found is None:
            known = ", ".join(f"{collection}/{{uuid}}" for collection in self._collections)
            msg = f"{field} must begin with the name of a record: {known}."
            raise InvalidArgument(msg, field=field)
        return found


async def may_read(call: Call, parent: Parent, user: UUID) -> bool:
    """True if a user may read the record, with today's rights."""
    try:
        principal = call.home.rights.principal(user)
    except Failure:  # unknown here, or may not sign in any more
        return False
    permission, resource = parent.collection.permission("get"), parent.collection.contract
    scope = principal.grants.scope(permission)
    if scope is RecordScope.NONE or resource.shared:
        return scope is not RecordScope.NONE
    record = (parent.record.id, parent.record.owner, parent.record.team)
    return bool(await within_reach(call.reader, principal, (resource, permission), scope, [record]))


def reaches(call: Call, user: UUID | None) -> bool:
    """True if the scope of the method's permission reaches what belongs to a user: OWN only oneself."""
    assert call.method is not None  # only requests come here
    scope = call.principal.require(call.method.permission)
    return call.principal.covers(scope, user, call.home.rights.team_of(user))


@cache
def _hold(table: sa.Table) -> Statement:
    """Keeps a row from being purged; it may still be changed."""
    by_id = sa.select(table.c.id).where(table.c.id == sa.bindparam("id", type_=sa.Uuid))
    return compile_statement(by_id.with_for_update(read=True, key_share=True))


def event_message(service: str, key: str) -> Any:
    """A new event message of a service, `comment.created`."""
    return contract.events()[f"{service}.{key}"].message()


async def publish(
    call: Call, parent: Parent, key: str, subject: str, version: int, message: Any
) -> None:
    """Tells of a child in its change's transaction; who may read the record may read the event."""
    event = new_event(
        call,
        routing_key=f"{call.home.name}.{key}",
        message=message,
        subject=subject,
        subject_version=version,
        event_index=0,
        owner=parent.record.owner,
        team=parent.record.team,
    )
    await outbox.append(call.tx, [event])
