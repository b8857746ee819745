"""What identity's events change in what this service knows of rights."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict
from psycopg.types.json import Jsonb

from crm.identity.v1 import role_pb2, session_pb2, team_pb2, user_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from crmkit.schema import (
    KNOWN_ROLE,
    KNOWN_SETTING,
    KNOWN_TEAM,
    KNOWN_USER,
    REVOKED_SESSION,
    SIGNING_KEY,
)
from crmkit.statements import compile_statement, upsert

_PUT_USER, _PUT_TEAM, _PUT_ROLE = upsert(KNOWN_USER), upsert(KNOWN_TEAM), upsert(KNOWN_ROLE)
_PUT_SESSION, _PUT_KEY = upsert(REVOKED_SESSION), upsert(SIGNING_KEY)
_PUT_SETTING = upsert(KNOWN_SETTING)


def _id(name: str) -> UUID | None:
    return (
        parse_name(name, collection=name.split("/", maxsplit=1)[0], field="name") if name else None
    )


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


async def _setting_changed(event: Event, call: Call) -> None:
    settings = getattr(event.message, contract.events()[event.routing_key].subject_field)
    value = MessageToDict(settings, preserving_proto_field_name=True)
    await call.tx.execute(_PUT_SETTING, {"name": settings.name, "value": Jsonb(value)})


HANDLERS: dict[str, Callable[[Event, Call], Awaitable[None]]] = {
    "identity.user.*": _user_changed,
    "identity.team.*": _team_changed,
    "identity.role.*": _role_changed,
    "identity.organization.*": _setting_changed,
    "identity.pick_list.*": _setting_changed,
    "identity.session.revoked": _session_revoked,
    "identity.signing_key.rotated": _signing_key_rotated,
}
