"""Roles: sets of permissions with a record scope each; and who may give them to whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from crmkit.permissions import gives

# Each contains the ones before it.
RECORD_SCOPES = ("OWN", "TEAM", "SUBTREE", "ALL")


@dataclass(frozen=True)
class Grant:
    """A permission, or all that begin alike (`sales.*`, `*`), and the records it covers."""

    permission: str
    record_scope: str

    def covers(self, other: "Grant") -> bool:
        """True if who holds this grant has everything that the other gives."""
        if RECORD_SCOPES.index(self.record_scope) < RECORD_SCOPES.index(other.record_scope):
            return False
        return gives(self.permission, other.permission)


EVERYTHING = Grant("*", "ALL")


@dataclass(kw_only=True)
class Role(Record):
    """What some users may do."""

    display_name: str
    description: str | None = None
    grants: list[Grant] = field(default_factory=list)
    built_in: bool = False

    def grants_in_effect(self) -> set[Grant]:
        """What the role gives now: nothing while it is deleted."""
        return set(self.grants) if self.delete_time is None else set()

    @property
    def administers(self) -> bool:
        """True if the role gives every right over everything."""
        return EVERYTHING in self.grants_in_effect()

    def refuse_if_built_in(self) -> None:
        """Raises FailedPrecondition `BUILT_IN_ROLE` for a role that every installation has."""
        if self.built_in:
            msg = f"{self.display_name} is built in; make a role of your own instead."
            raise FailedPrecondition(msg, reason="BUILT_IN_ROLE")


def check_grants(grants: Sequence[Grant], permissions: Iterable[str]) -> None:
    """Refuses grants of what does not exist.

    Args:
        grants: The grants of a role.
        permissions: Every permission there is.

    Raises:
        InvalidArgument: Names the first grant at fault.
    """
    known = patterns_of(permissions)
    for index, grant in enumerate(grants):
        path = f"role.grants[{index}]"
        check_pattern(grant.permission, known, f"{path}.permission")
        if grant.record_scope not in RECORD_SCOPES:
            msg = f"{path}.record_scope is required."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=f"{path}.record_scope")


def patterns_of(permissions: Iterable[str]) -> frozenset[str]:
    """Every permission, and every beginning of one: `sales.*`, `*`."""
    known = frozenset(permissions)
    beginnings = {
        name[: end + 1] + "*" for name in known for end, sign in enumerate(name) if sign == "."
    }
    return known | beginnings | {"*"}


def check_pattern(pattern: str, known: frozenset[str], field: str) -> None:
    """Raises InvalidArgument `UNKNOWN_PERMISSION` for a pattern of nothing."""
    if pattern not in known:
        msg = f"{field}: there is no permission {pattern}."
        raise InvalidArgument(msg, reason="UNKNOWN_PERMISSION", field=field)


def refuse_escalation(held: Sequence[Grant], given: Iterable[Grant], field: str) -> None:
    """Nobody can grant what they do not have.

    Args:
        held: What the caller may do.
        given: What somebody would gain.
        field: The field that gives it.

    Raises:
        PermissionDenied: `GRANT_NOT_HELD`, naming a permission the caller lacks.
    """
    for grant in sorted(given, key=lambda g: (g.permission, g.record_scope)):
        if not any(own.covers(grant) for own in held):
            msg = f"You lack {grant.permission} ({grant.record_scope}), so you cannot give it."
            metadata = {"permission": grant.permission, "record_scope": grant.record_scope}
            raise PermissionDenied(msg, reason="GRANT_NOT_HELD", field=field, metadata=metadata)


def last_administrator() -> FailedPrecondition:
    """The failure of a change after which nobody could administer."""
    msg = "Nobody else could administer; make somebody else an administrator first."
    return FailedPrecondition(msg, reason="LAST_ADMINISTRATOR")
