"""The roles that every installation has."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from crmkit.ids import uuid5_of
from identity.domain.role import EVERYTHING, Grant

_NAMESPACE = UUID("0b5d9c52-7a4e-4c7e-9a25-6c1f0f6b7a11")
# What is a person's own: their keys, and how they arrange their work.
_THEIR_OWN = (
    Grant("identity.apiKeys.*", "OWN"),
    Grant("workspace.savedViews.*", "OWN"),
    Grant("workspace.notifications.*", "OWN"),
    Grant("customer.tasks.*", "OWN"),
    Grant("customer.interactions.*", "OWN"),
    Grant("customer.appointments.*", "OWN"),
    Grant("customer.workLog.*", "OWN"),
)
# Who sees records talks about them, and shares and adds files to those that they may change. Whose comments
# one may delete, and whom one may let follow, the scope says: OWN is oneself.
_TALK = tuple(
    Grant(f"{service}.{permission}", "OWN")
    for service in ("customer", "sales", "marketing", "support")
    for permission in ("attachments.*", "collaborators.*", "comments.*", "followers.*")
)
# Who works with records needs to see whom they can belong to.
_EVERYONE = (
    Grant("identity.users.get", "ALL"),
    Grant("identity.users.list", "ALL"),
    Grant("identity.teams.get", "ALL"),
    Grant("identity.teams.list", "ALL"),
    Grant("identity.roles.get", "ALL"),
    Grant("identity.roles.list", "ALL"),
    Grant("identity.pickLists.get", "ALL"),
    Grant("identity.pickLists.list", "ALL"),
    Grant("customer.records.search", "ALL"),  # it finds what they may list
    *_THEIR_OWN,
    *_TALK,
)


@dataclass(frozen=True)
class BuiltInRole:
    """A role as it is made at the first start and renewed by later versions."""

    display_name: str
    description: str
    grants: tuple[Grant, ...]

    @property
    def id(self) -> UUID:
        """The same in every installation."""
        return uuid5_of(_NAMESPACE, self.display_name)


ADMINISTRATOR = BuiltInRole("Administrator", "May do everything.", (EVERYTHING,))


def _all(record_scope: str, *permissions: str) -> tuple[Grant, ...]:
    return tuple(Grant(permission, record_scope) for permission in permissions)


def _manager() -> BuiltInRole:
    return BuiltInRole(
        "Manager",
        "Works with everything that belongs to their team and the teams below it.",
        (
            *_EVERYONE,
            *_all("SUBTREE", "workspace.*", "customer.*", "sales.*", "marketing.*", "support.*"),
            *_all("SUBTREE", "customer.accounts.setCredit", "reporting.metrics.*"),
            *_all("ALL", "identity.events.list", "customer.customerPools.*"),
        ),
    )


def _sales() -> BuiltInRole:
    return BuiltInRole(
        "Sales",
        "Sells: their own leads, accounts, contacts and opportunities.",
        (
            *_EVERYONE,
            *_all(
                "OWN", "customer.*", "sales.leads.*", "sales.opportunities.*", "sales.events.list"
            ),
            *_all("OWN", "sales.imports.*", "sales.exports.*", "sales.bulkActions.*"),
            *_all("OWN", "reporting.metrics.*"),
            *_all("ALL", "sales.products.get", "sales.products.list"),
            *_all("ALL", "sales.pipelines.get", "sales.pipelines.list"),
        ),
    )


def _marketing() -> BuiltInRole:
    return BuiltInRole(
        "Marketing",
        "Plans and runs campaigns; sees every account and contact.",
        (
            *_EVERYONE,
            *_all("ALL", "marketing.*", "customer.accounts.get", "customer.accounts.list"),
            *_all("ALL", "customer.contacts.get", "customer.contacts.list"),
            *_all("ALL", "customer.interactions.get", "customer.interactions.list"),
            *_all(
                "ALL", "customer.consents.get", "customer.consents.list", "customer.consents.create"
            ),
            *_all("ALL", "sales.products.get", "sales.products.list"),
            *_all("TEAM", "reporting.metrics.*"),
        ),
    )


def _support() -> BuiltInRole:
    return BuiltInRole(
        "Support",
        "Answers tickets; sees every account and contact and keeps contacts up to date.",
        (
            *_EVERYONE,
            *_all("ALL", "support.*", "customer.accounts.get", "customer.accounts.list"),
            *_all("ALL", "customer.contacts.get", "customer.contacts.list"),
            *_all("ALL", "customer.interactions.get", "customer.interactions.list"),
            *_all("ALL", "customer.contacts.create", "customer.contacts.update"),
            *_all(
                "ALL", "customer.consents.get", "customer.consents.list", "customer.consents.create"
            ),
            *_all("ALL", "sales.products.get", "sales.products.list"),
            *_all("TEAM", "reporting.metrics.*"),
        ),
    )


def built_in_roles(permissions: Sequence[str]) -> list[BuiltInRole]:
    """The built-in roles of this version.

    Args:
        permissions: Every permission there is; the reading roles are made from them.
    """
    reading = _all("ALL", *(p for p in permissions if _reads(p)))
    sensitive = _all("ALL", *(p for p in permissions if p.endswith(".read_sensitive")))
    return [
        ADMINISTRATOR,
        _manager(),
        _sales(),
        _marketing(),
        _support(),
        BuiltInRole(
            "Analyst",
            "Sees everything and queries every metric.",
            (*reading, *sensitive, *_all("ALL", "reporting.metrics.*"), *_THEIR_OWN, *_TALK),
        ),
        BuiltInRole(
            "Read-only", "Sees everything but sensitive fields, and changes nothing.", reading
        ),
    ]


def _reads(permission: str) -> bool:
    """Others' keys, sessions, endpoints and rules are nobody's business; the log is administrators'."""
    private = (
        "identity.apiKeys.",
        "identity.auditEntries.",
        "identity.sessions.",
        "workspace.rule",
        "workspace.webhook",
    )
    return permission.endswith((".get", ".list", ".search")) and not permission.startswith(private)
