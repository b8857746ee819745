"""What this service knows of users, teams, roles, sessions, signing keys and settings, from identity's feed.

The rows live in the service's own database, so identity may be down. Each process keeps them in memory and
reloads them when they change: a revocation takes effect within seconds everywhere.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from crmkit.access import Grants, Principal, RecordScope
from crmkit.db import Database
from crmkit.errors import Failure, Unauthenticated
from crmkit.organization import Organization
from crmkit.pick_lists import PickList
from crmkit.schema import (
    KNOWN_ROLE,
    KNOWN_SETTING,
    KNOWN_TEAM,
    KNOWN_USER,
    REVOKED_SESSION,
    SIGNING_KEY,
)
from crmkit.statements import compile_statement

_SECONDS_BETWEEN_RELOADS = 1.0
_SECONDS_FOR_A_NEW_USER = 1.0


_READ = {
    table.name: compile_statement(sa.select(table))
    for table in (KNOWN_USER, KNOWN_TEAM, KNOWN_ROLE, KNOWN_SETTING, REVOKED_SESSION, SIGNING_KEY)
}


@dataclass(frozen=True)
class KnownUser:
    """What rights need of a user."""

    team: UUID | None
    roles: tuple[UUID, ...]
    active: bool


@dataclass
class Rights:
    """The rights of everyone, in memory."""

    database: Database
    users: dict[UUID, KnownUser] = field(default_factory=dict)
    parents: dict[UUID, UUID | None] = field(default_factory=dict)
    roles: dict[UUID, list[tuple[str, RecordScope]]] = field(default_factory=dict)
    revoked: set[UUID] = field(default_factory=set)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    organization: Organization = field(default_factory=Organization)
    pick_lists: dict[str, PickList] = field(default_factory=dict)
    on_change: list[Callable[[], None]] = field(default_factory=list)
    _principals: dict[UUID, Principal] = field(default_factory=dict)
    _reloaded: asyncio.Event = field(default_factory=asyncio.Event)
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def complete(self) -> bool:
        """True once there is somebody who could sign in: identity's feed has been read."""
        return bool(self.users and self.keys)

    def team_of(self, user: UUID | None) -> UUID | None:
        """The team a user works in now."""
        known = self.users.get(user) if user else None
        return known.team if known else None

    def principal(self, user: UUID, session: UUID | None = None) -> Principal:
        """A user with their rights; raises Unauthenticated if they may not sign in any more."""
        if session is not None and session in self.revoked:
            msg = "The session has ended; sign in again."
            raise Unauthenticated(msg, reason="SESSION_ENDED")
        principal = self._principals.get(user)
        if principal is None:
            known = self.users.get(user)
            if known is None or not known.active:
                msg = "The user is not known here, or may not sign in."
                raise Unauthenticated(msg, reason="USER_NOT_ACTIVE")
            grants = [grant for role in known.roles for grant in self.roles.get(role, ())]
            principal = Principal(
                name=f"users/{user}",
                grants=Grants(grants),
                user=user,
                team=known.team,
                subtree=self._subtree(known.team),
            )
            self._principals[user] = principal
        return principal

    async def until_known(self, user: UUID) -> None:
        """Waits a moment for a user who has just been created; returns also where none appears."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_FOR_A_NEW_USER):
                while user not in self.users:
                    await self._reloaded.wait()

    def _subtree(self, team: UUID | None) -> frozenset[UUID]:
        if team is None:
            return frozenset()
        found = {team}
        grown = True
        while grown:
            below = {t for t, parent in self.parents.items() if parent in found} - found
            found |= below
            grown = bool(below)
        return frozenset(found)

    async def reload(self) -> None:
        """Reads everything anew, one after the other: what was read first is not what counts last."""
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        rows = {name: await self.database.fetch_all(read) for name, read in _READ.items()}
        self.users = {
            row[0]: KnownUser(row[1], tuple(row[2]), row[3]) for row in rows["known_user"]
        }
        self.parents = {row[0]: row[1] for row in rows["known_team"]}
        self.roles = {
            row[0]: [(g["permission"], RecordScope[g["record_scope"]]) for g in row[1]]
            for row in rows["known_role"]
        }
        self.revoked = {row[0] for row in rows["revoked_session"]}
        self.keys = {row[0]: row[1] for row in rows["known_signing_key"]}
        settings: dict[str, Any] = dict(rows["known_setting"])
        self.organization = Organization.from_json(settings.pop("organization", {}))
        lists = (PickList.from_json(value) for value in settings.values())
        self.pick_lists = {one.key: one for one in lists}
        self._principals.clear()
        for action in self.on_change:
            action()
        self._reloaded.set()
        self._reloaded = asyncio.Event()

    async def keep_fresh(self, stop: asyncio.Event) -> None:
        """Reloads when another process of this service has applied something."""
        position = compile_statement(
            sa.text("SELECT applied_seq FROM consumer_cursor WHERE source = 'identity'")
        )
        seen: object = None
        while not stop.is_set():
            with suppress(psycopg.Error, Failure):  # the database is away: what we know stays
                row = await self.database.fetch_one(position)
                if row != seen:
                    await self.reload()
                    seen = row
            with suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS_BETWEEN_RELOADS):
                    await stop.wait()
