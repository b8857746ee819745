"""Where sessions and their refresh tokens are kept; only hashes of the tokens."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.identity.v1 import session_pb2
from crmkit.call import Call
from crmkit.db import Transaction
from crmkit.feed import outbox
from crmkit.names import parse_name
from crmkit.paging import Order
from crmkit.publishing import new_event
from crmkit.row_pages import page_of_rows
from crmkit.statements import TEXT, TIMESTAMP, compile_statement
from identity.domain.session import REFRESH_LIFETIME, Session, hash_of, new_secret
from identity.storage.schema import IDENTITY

sessions = sa.Table(
    "sessions",
    IDENTITY,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("user", sa.Uuid, nullable=False, index=True),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("expire_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("last_used_time", TIMESTAMP),
    sa.Column("client_address", TEXT),
    sa.Column("user_agent", TEXT),
)
# Replaced tokens stay until their session expires: using one again shows that it was stolen.
refresh_tokens = sa.Table(
    "refresh_tokens",
    IDENTITY,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column(
        "session",
        sa.Uuid,
        sa.ForeignKey("sessions.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("replace_time", TIMESTAMP),
)

_id = sa.bindparam("id", type_=sa.Uuid)
_user = sa.bindparam("user", type_=sa.Uuid)
_now = sa.bindparam("now", type_=TIMESTAMP)
_ADDRESS = compile_statement(sa.select(sessions.c.client_address).where(sessions.c.id == _id))
_INSERT = compile_statement(
    sessions.insert().values({c.name: sa.bindparam(c.name, type_=c.type) for c in sessions.columns})
)
_FORGET_EXPIRED = compile_statement(
    sa.delete(sessions).where(sessions.c.user == _user, sessions.c.expire_time < _now)
)
_INSERT_TOKEN = compile_statement(
    refresh_tokens.insert().values(
        hash=sa.bindparam("hash", type_=sa.LargeBinary),
        session=sa.bindparam("session", type_=sa.Uuid),
    )
)
_FIND = compile_statement(
    sa.select(*sessions.columns, refresh_tokens.c.replace_time)
    .join(refresh_tokens, refresh_tokens.c.session == sessions.c.id)
    .where(refresh_tokens.c.hash == sa.bindparam("hash", type_=sa.LargeBinary))
    .with_for_update()
)
_REPLACE_TOKEN = compile_statement(
    sa.update(refresh_tokens)
    .where(refresh_tokens.c.hash == sa.bindparam("old_hash", type_=sa.LargeBinary))
    .values(replace_time=_now)
)
_EXTEND = compile_statement(
    sa.update(sessions)
    .where(sessions.c.id == _id)
    .values(
        expire_time=sa.bindparam("new_expire_time", type_=TIMESTAMP),
        last_used_time=_now,
        client_address=sa.func.coalesce(
            sa.bindparam("new_address", type_=TEXT), sessions.c.client_address
        ),
    )
)
_NEWEST_FIRST = [Order("id", sessions.c.id, descending=True)]
_open_session = sa.update(sessions).where(sessions.c.end_time.is_(None)).values(end_time=_now)
_ended = (sessions.c.id, sessions.c.user)
_END = compile_statement(_open_session.where(sessions.c.id == _id).returning(*_ended))
_END_OWN = compile_statement(
    _open_session.where(
        sessions.c.id == _id, sessions.c.user == sa.bindparam("owner", type_=sa.Uuid)
    ).returning(*_ended)
)
_END_ALL = compile_statement(
    _open_session.where(
        sessions.c.user == sa.bindparam("owner", type_=sa.Uuid),
        sessions.c.id.is_distinct_from(sa.bindparam("spared", type_=sa.Uuid)),
    ).returning(*_ended)
)


async def address_of(tx: Transaction, name: str) -> str | None:
    """Where a session (`sessions/{uuid}`) was last used from; None for none, and for an API key's."""
    if not name:
        return None
    session = parse_name(name, collection="sessions", field="session")
    row = await tx.fetch_one(_ADDRESS, {"id": session})
    return row[0] if row is not None else None


async def open_session(tx: Transaction, session: Session) -> str:
    """Stores a new session and answers its first refresh token."""
    await tx.execute(_FORGET_EXPIRED, {"user": session.user, "now": session.create_time})
    await tx.execute(_INSERT, vars(session))
    return await _new_token(tx, session.id)


async def _new_token(tx: Transaction, session: UUID) -> str:
    secret = new_secret()
    await tx.execute(_INSERT_TOKEN, {"hash": hash_of(secret), "session": session})
    return secret


async def session_of_token(tx: Transaction, token: str) -> tuple[Session, bool] | None:
    """The session of a refresh token, locked; True with it if the token was replaced already."""
    row = await tx.fetch_one(_FIND, {"hash": hash_of(token)})
    if row is None:
        return None
    *values, replace_time = row
    return _session(values), replace_time is not None


def _session(values: Iterable[Any]) -> Session:
    return Session(**dict(zip(sessions.c.keys(), values, strict=True)))


async def sessions_of(call: Call, user: UUID, request: Any) -> tuple[list[Session], str]:
    """A page of a user's open sessions, newest first, and the token of the next page."""
    query = sa.select(*sessions.columns).where(
        sessions.c.user == user, sessions.c.end_time.is_(None), sessions.c.expire_time > call.now
    )
    rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, f"sessions of {user}")
    return [_session(row) for row in rows], token


async def replace_token(tx: Transaction, session: Session, token: str, call: Call) -> str:
    """Gives the session a new refresh token and another 30 days; notes when and where it is used."""
    session.expire_time, session.last_used_time = call.now + REFRESH_LIFETIME, call.now
    session.client_address = call.client_address or session.client_address
    await tx.execute(_REPLACE_TOKEN, {"old_hash": hash_of(token), "now": call.now})
    changes = {"new_expire_time": session.expire_time, "new_address": session.client_address}
    await tx.execute(_EXTEND, {"id": session.id, "now": call.now, **changes})
    return await _new_token(tx, session.id)


async def end_session(
    call: Call, tx: Transaction, session: UUID, *, owner: UUID | None = None
) -> bool:
    """Ends a session, perhaps only an owner's, and tells everyone; False if none is open."""
    parameters = {"id": session, "now": call.now}
    if owner is None:
        ended = await tx.fetch_all(_END, parameters)
    else:
        ended = await tx.fetch_all(_END_OWN, {**parameters, "owner": owner})
    for session_id, user in ended:
        await publish_revoked(call, tx, session_id, user)
    return bool(ended)


async def end_sessions_of(
    call: Call, tx: Transaction, user: UUID, *, spared: UUID | None = None
) -> None:
    """Ends a user's sessions, except perhaps the one they are working in."""
    parameters = {"owner": user, "spared": spared, "now": call.now}
    for session_id, owner in await tx.fetch_all(_END_ALL, parameters):
        await publish_revoked(call, tx, session_id, owner)


async def publish_revoked(call: Call, tx: Transaction, session: UUID, user: UUID) -> None:
    """Tells every service to refuse a session's tokens; an API key's tokens carry the key's id."""
    name = f"sessions/{session}"
    event = new_event(
        call,
        routing_key="identity.session.revoked",
        message=session_pb2.SessionRevoked(session=name, user=f"users/{user}"),
        subject=name,
        subject_version=1,
        event_index=0,
        owner=user,
        team=None,
    )
    await outbox.append(tx, [event])
