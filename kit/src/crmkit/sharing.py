"""Records shared with single users and teams: the second half of the policy, beside the scopes in `access`.

Sharing widens the scope of permissions that somebody has, for one record; it gives no permission. Who shares
what with whom is kept by the service that owns the records, and by those that follow its events.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from uuid import UUID

import sqlalchemy as sa

from crmkit import contract
from crmkit.access import Principal, RecordScope
from crmkit.aggregate import Record
from crmkit.contract import ResourceContract
from crmkit.db import Executor
from crmkit.errors import PermissionDenied
from crmkit.schema import COLLABORATOR
from crmkit.statements import compile_statement


class Access(IntEnum):
    """What somebody may do with a record that is shared with them; the numbers are the contract's."""

    NONE = 0
    READ = 1
    EDIT = 2
    FULL = 3  # what sharing never gives


_READING = frozenset({"get", "list"})
_OWNERS = frozenset({"delete", "undelete", "purge", "merge", "unmerge"})
_GRANTEES = sa.bindparam("scope_grantees", type_=sa.ARRAY(sa.Uuid))
_OF_RECORDS = compile_statement(
    sa.select(COLLABORATOR.c.record, sa.func.max(COLLABORATOR.c.access))
    .where(
        COLLABORATOR.c.record == sa.any_(sa.bindparam("records", type_=sa.ARRAY(sa.Uuid))),
        COLLABORATOR.c.grantee == sa.any_(_GRANTEES),
    )
    .group_by(COLLABORATOR.c.record)
)

Found = tuple[UUID, UUID | None, UUID | None]  # a record's id, owner and team


def is_shareable(resource: ResourceContract) -> bool:
    """True if records of this resource may have collaborators: not where everybody sees them anyway."""
    service = f"crm.{resource.service}.v1.CollaboratorService"
    return not resource.shared and service in contract.services()


def needed(permission: str) -> Access:
    """What must have been given for using a permission with a shared record."""
    verb = permission.rpartition(".")[2]
    if verb in _READING:
        return Access.READ
    return Access.FULL if verb in _OWNERS else Access.EDIT


def shared_records(access: Access = Access.READ) -> "sa.Select[tuple[UUID]]":
    """What is shared with the caller, with this access at least; values from `access.scope_parameters`."""
    return sa.select(COLLABORATOR.c.record).where(
        COLLABORATOR.c.grantee == sa.any_(_GRANTEES), COLLABORATOR.c.access >= access.value
    )


def shared_with_caller(
    record: sa.ColumnElement[UUID], access: Access = Access.READ
) -> sa.ColumnElement[bool]:
    """The SQL condition that a record is shared with the caller.

    An array, not IN: read once by the index on grantees, it lets the records be found by their own.
    """
    return record == sa.any_(sa.func.array(shared_records(access).scalar_subquery()))


async def access_to(
    executor: Executor, principal: Principal, records: Sequence[UUID]
) -> Mapping[UUID, Access]:
    """What was given to a user, or to their team, of some records; those not shared are left out."""
    grantees = principal.grantees
    if not grantees or not records:
        return {}
    parameters = {"records": list(records), "scope_grantees": grantees}
    rows = await executor.fetch_all(_OF_RECORDS, parameters)
    return {record: Access(access) for record, access in rows}


async def within_reach(
    executor: Executor,
    principal: Principal,
    permission: tuple[ResourceContract, str],
    scope: RecordScope,
    found: Iterable[Found],
) -> set[UUID]:
    """The records with which somebody may use a permission: within its scope, or shared with them."""
    if scope is RecordScope.NONE:
        return set()
    records = list(found)
    reached = {id_ for id_, owner, team in records if principal.covers(scope, owner, team)}
    resource, name = permission
    rest = [id_ for id_, _, _ in records if id_ not in reached]
    if rest and is_shareable(resource):
        given = await access_to(executor, principal, rest)
        reached |= {id_ for id_, access in given.items() if access >= needed(name)}
    return reached


async def is_shared(
    executor: Executor, principal: Principal, permission: str, record: UUID
) -> bool:
    """True if a record outside the permission's scope is shared with somebody for this.

    Raises:
        PermissionDenied: `COLLABORATORS_MAY_NOT`: it is shared with them, but not for this.
    """
    given = (await access_to(executor, principal, [record])).get(record, Access.NONE)
    if Access.NONE < given < needed(permission):
        msg = "The record is shared with you, but not for this."
        metadata = {"permission": permission, "access": given.name}
        raise PermissionDenied(msg, reason="COLLABORATORS_MAY_NOT", metadata=metadata)
    return given is not Access.NONE


def refuse_collaborator(principal: Principal, scope: RecordScope, record: Record) -> None:
    """Raises PermissionDenied for who reaches a record only as it is shared with them."""
    if not principal.covers(scope, record.owner, record.team):
        msg = "The record is shared with you: whose it is others decide."
        raise PermissionDenied(msg, reason="COLLABORATORS_MAY_NOT")
