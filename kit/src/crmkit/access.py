"""Who may do what, to which records: permission and record scope.

A permission comes with a scope, each containing the one before: OWN, TEAM, SUBTREE, ALL. With several roles
the widest counts. The same conditions filter get, list, lookup and event streams. What is shared with single
users and teams beyond that: `crmkit.sharing`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from uuid import UUID

import sqlalchemy as sa

from crmkit.errors import PermissionDenied
from crmkit.permissions import gives


class RecordScope(IntEnum):
    """How far a permission reaches; the numbers are those of `Role.Grant.RecordScope`."""

    NONE = 0
    OWN = 1
    TEAM = 2
    SUBTREE = 3
    ALL = 4


class Grants:
    """The permissions of a set of roles, with wildcards resolved on demand."""

    def __init__(self, grants: Iterable[tuple[str, RecordScope]]) -> None:
        self._grants = list(grants)
        self._resolved: dict[str, RecordScope] = {}

    def scope(self, permission: str) -> RecordScope:
        """The widest scope in which the permission is held; NONE if it is not."""
        scope = self._resolved.get(permission)
        if scope is None:
            scope = max(
                (scope for pattern, scope in self._grants if gives(pattern, permission)),
                default=RecordScope.NONE,
            )
            self._resolved[permission] = scope
        return scope

    def items(self) -> list[tuple[str, RecordScope]]:
        """The grants as they were given: pattern and scope."""
        return self._grants


def narrowed(grants: Grants, limits: Sequence[str]) -> Grants:
    """What of some grants lies within limits: patterns of permissions such as `sales.*`."""
    return Grants(
        (common, scope)
        for pattern, scope in grants.items()
        for limit in limits
        if (common := _in_common(pattern, limit))
    )


def _in_common(one: str, other: str) -> str:
    if gives(one, other):
        return other
    return one if gives(other, one) else ""


EVERYTHING = Grants([("*", RecordScope.ALL)])
NOTHING = Grants([])


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts.

    Attributes:
        name: `users/{uuid}`, `services/{name}`, or `anonymous`.
        user: The user's id; None for services and strangers.
        service: The calling service's name, also where it acts for a user.
        team: The user's team.
        subtree: The user's team and all below it.
        limits: The permissions that the credential is limited to, as patterns; None without limits.
    """

    name: str
    grants: Grants
    user: UUID | None = None
    team: UUID | None = None
    subtree: frozenset[UUID] = frozenset()
    service: str | None = None
    session: UUID | None = None
    limits: tuple[str, ...] | None = None

    @property
    def signed_in(self) -> bool:
        """False for strangers only."""
        return self.user is not None or self.service is not None

    @property
    def grantees(self) -> list[UUID]:
        """Whom a record may be shared with so that it is shared with them: the user, and their team."""
        return [id_ for id_ in (self.user, self.team) if id_ is not None]

    def require(self, permission: str) -> RecordScope:
        """The scope in which the permission is held; raises PermissionDenied if it is not."""
        scope = self.grants.scope(permission)
        if scope is RecordScope.NONE:
            msg = f"The permission {permission} is needed."
            raise PermissionDenied(msg, metadata={"permission": permission})
        return scope

    def limited_to(self, limits: Sequence[str] | None) -> "Principal":
        """The same caller with a credential, or work begun with one, of these limits; None: of none."""
        if limits is None:
            return self
        return replace(self, grants=narrowed(self.grants, limits), limits=tuple(limits))

    def covers(self, scope: RecordScope, owner: UUID | None, team: UUID | None) -> bool:
        """True if a record of this owner and team lies within the scope."""
        if scope is RecordScope.ALL:
            return True
        if owner is not None and owner == self.user:
            return scope >= RecordScope.OWN
        if team is None:
            return False
        if scope is RecordScope.SUBTREE:
            return team in self.subtree
        return scope is RecordScope.TEAM and team == self.team


ANONYMOUS = Principal(name="anonymous", grants=NOTHING)


def service_principal(service: str) -> Principal:
    """A service acting as itself: it sees and may do everything in its own database."""
    return Principal(name=f"services/{service}", grants=EVERYTHING, service=service)


def scope_condition(table: sa.FromClause, scope: RecordScope) -> sa.ColumnElement[bool] | None:
    """The SQL condition of a record scope; None for ALL. Its values come from `scope_parameters`."""
    owner = table.c.owner == sa.bindparam("scope_user", type_=sa.Uuid)
    if scope is RecordScope.ALL:
        return None
    if scope is RecordScope.SUBTREE:
        teams = sa.bindparam("scope_teams", type_=sa.ARRAY(sa.Uuid))
        return sa.or_(owner, table.c.team == sa.any_(teams))
    if scope is RecordScope.TEAM:
        return sa.or_(owner, table.c.team == sa.bindparam("scope_team", type_=sa.Uuid))
    return owner


def scope_parameters(principal: Principal, scope: RecordScope) -> Mapping[str, object]:
    """The values of `scope_condition` and of `sharing.shared_with_caller` for a caller."""
    if scope is RecordScope.ALL:
        return {}
    grantees = principal.grantees
    parameters: dict[str, object] = {"scope_user": principal.user, "scope_grantees": grantees}
    if scope is RecordScope.SUBTREE:
        parameters["scope_teams"] = list(principal.subtree)
    elif scope is RecordScope.TEAM:
        parameters["scope_team"] = principal.team
    return parameters
