"""What this service knows of users, teams, roles, sessions and signing keys, from identity's feed.

The rows live in the service's own database, so identity may be down. Each process keeps them in memory and
reloads them when they change: a revocation takes effect within seconds everywhere.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import insert

from crm.identity.v1 import role_pb2, session_pb2, team_pb2, user_pb2
from crmkit.access import Grants, Principal, RecordScope
from crmkit.call import Call
from crmkit.db import Database
from crmkit.errors import Failure, Unauthenticated
from crmkit.feed.events import Event
from crmkit.names import parse_name
from crmkit.schema import (
    KNOWN_ROLE,
    KNOWN_TEAM,
    KNOWN_USER,
    REVOKED_SESSION,
    SIGNING_KEY,
)
from crmkit.statements import Statement, compile_statement

_SECONDS_BETWEEN_RELOADS = 1.0
_SECONDS_FOR_A_NEW_USER = 1.0


def _upsert(table: sa.Table) -> Statement:
    values = {c.name: sa.bindparam(c.name, type_=c.type) for c in table.columns}
    statement = insert(table).values(values)
    changes = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    return compile_statement(
        statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes)
    )


_PUT_USER, _PUT_TEAM, _PUT_ROLE = _upsert(KNOWN_USER), _upsert(KNOWN_TEAM), _upsert(KNOWN_ROLE)
_PUT_SESSION, _PUT_KEY = _upsert(REVOKED_SESSION), _upsert(SIGNING_KEY)
_READ = {
    table.name: compile_statement(sa.select(table))
    for table in (KNOWN_USER, KNOWN_TEAM, KNOWN_ROLE, REVOKED_SESSION, SIGNING_KEY)
}


def _id(name: str) -> UUID | None:
    return (
        parse_name(name, collection=name.split("/", maxsplit=1)[0], field="name") if name else None
    )


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
    on_change: list[Callable[[], None]] = field(default_factory=list)
    _principals: dict[UUID, Principal] = field(default_factory=dict)
    _reloaded: asyncio.Event = field(default_factory=asyncio.Event)

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
        """Reads everything anew."""
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


# -- events of identity that change rights


async def _user_changed(event: Event, call: Call) -> None:
    user: user_pb2.User = event.message.user
    await call.tx.execute(
        _PUT_USER,
        {
            "id": _id(user.name),
            "team": _id(user.team),
            "roles": [_id(role) for role in user.roles],
            "active": user.state == user_pb2.User.ACTIVE and not user.HasField("delete_time"),
        },
    )


async def _team_changed(event: Event, call: Call) -> None:
    team: team_pb2.Team = event.message.team
    await call.tx.execute(_PUT_TEAM, {"id": _id(team.name), "parent": _id(team.parent)})


async def _role_changed(event: Event, call: Call) -> None:
    role: role_pb2.Role = event.message.role
    grants = [] if role.HasField("delete_time") else [
        {
            "permission": grant.permission,
            "record_scope": role_pb2.Role.Grant.RecordScope.Name(grant.record_scope),
        }
        for grant in role.grants
    ]  # fmt: skip
    await call.tx.execute(_PUT_ROLE, {"id": _id(role.name), "grants": Jsonb(grants)})


async def _session_revoked(event: Event, call: Call) -> None:
    message: session_pb2.SessionRevoked = event.message
    await call.tx.execute(_PUT_SESSION, {"id": _id(message.session), "revoke_time": event.time})


async def _signing_key_rotated(event: Event, call: Call) -> None:
    message: session_pb2.SigningKeyRotated = event.message
    await call.tx.execute(compile_statement(sa.delete(SIGNING_KEY)))
    for key in message.keys:
        await call.tx.execute(_PUT_KEY, {"kid": key.kid, "jwk": Jsonb(MessageToDict(key))})


HANDLERS: dict[str, Callable[[Event, Call], Awaitable[None]]] = {
    "identity.user.*": _user_changed,
    "identity.team.*": _team_changed,
    "identity.role.*": _role_changed,
    "identity.session.revoked": _session_revoked,
    "identity.signing_key.rotated": _signing_key_rotated,
}
