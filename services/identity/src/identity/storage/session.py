"""Where sessions and their refresh tokens are kept; only hashes of the tokens."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from crm.identity.v1 import session_pb2
from crmkit.call import Call
from crmkit.db import Transaction
from crmkit.feed import outbox
from crmkit.publishing import new_event
from crmkit.statements import TIMESTAMP, compile_statement
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
    .values(expire_time=sa.bindparam("new_expire_time", type_=TIMESTAMP))
)
_open_session = sa.update(sessions).where(sessions.c.end_time.is_(None)).values(end_time=_now)
_ended = (sessions.c.id, sessions.c.user)
_END = compile_statement(_open_session.where(sessions.c.id == _id).returning(*_ended))
_END_ALL = compile_statement(
    _open_session.where(
        sessions.c.user == sa.bindparam("owner", type_=sa.Uuid),
        sessions.c.id.is_distinct_from(sa.bindparam("spared", type_=sa.Uuid)),
    ).returning(*_ended)
)


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
    session = Session(
        id=row[0], user=row[1], create_time=row[2], expire_time=row[3], end_time=row[4]
    )
    return session, row[5] is not None


async def replace_token(tx: Transaction, session: Session, token: str, now: datetime) -> str:
    """Gives the session a new refresh token and another 30 days."""
    session.expire_time = now + REFRESH_LIFETIME
    await tx.execute(_REPLACE_TOKEN, {"old_hash": hash_of(token), "now": now})
    await tx.execute(_EXTEND, {"id": session.id, "new_expire_time": session.expire_time})
    return await _new_token(tx, session.id)


async def end_session(call: Call, tx: Transaction, session: UUID) -> bool:
    """Ends a session and tells everyone; False if there is no such open session."""
    ended = await tx.fetch_all(_END, {"id": session, "now": call.now})
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
