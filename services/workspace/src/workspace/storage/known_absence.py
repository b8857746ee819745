"""Who is away and who stands in for them, as identity's events say."""

from datetime import UTC
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crm.identity.v1 import user_pb2
from crmkit.call import Call
from crmkit.names import parse_name
from crmkit.statements import TIMESTAMP, compile_statement
from workspace.storage.schema import WORKSPACE

# Deputies of deputies: a longer chain, or a circle, stands in for nobody.
LONGEST_CHAIN = 5

known_absences = sa.Table(
    "known_absences",
    WORKSPACE,
    sa.Column("user", sa.Uuid, primary_key=True),
    sa.Column("start_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP, nullable=False),
    sa.Column("deputy", sa.Uuid),
)
_T = known_absences.c
_USER = sa.bindparam("user", type_=sa.Uuid)
_put = insert(known_absences).values(
    {c.name: sa.bindparam(c.name, type_=c.type) for c in known_absences.columns}
)
_PUT = compile_statement(
    _put.on_conflict_do_update(
        index_elements=["user"],
        set_={name: _put.excluded[name] for name in ("start_time", "end_time", "deputy")},
    )
)
_FORGET = compile_statement(sa.delete(known_absences).where(_T.user == _USER))
_AWAY = compile_statement(
    sa.select(_T.deputy).where(
        _T.user == _USER,
        _T.start_time <= sa.bindparam("at", type_=TIMESTAMP),
        _T.end_time > sa.bindparam("at", type_=TIMESTAMP),
    )
)


async def note_absence(call: Call, user: user_pb2.User) -> None:
    """Keeps when a user is away, or that nobody says that they are."""
    id_ = parse_name(user.name, collection="users", field="name")
    if not user.HasField("absence"):
        await call.tx.execute(_FORGET, {"user": id_})
        return
    absence = user.absence
    deputy = absence.deputy
    row = {
        "user": id_,
        "start_time": absence.start_time.ToDatetime(tzinfo=UTC),
        "end_time": absence.end_time.ToDatetime(tzinfo=UTC),
        "deputy": parse_name(deputy, collection="users", field="deputy") if deputy else None,
    }
    await call.tx.execute(_PUT, row)


async def deputy_of(call: Call, user: UUID | None) -> UUID | None:
    """Who stands in now for a user who is away; None if they are not, or nobody does.

    Where the deputy is away too, it is theirs.
    """
    found = user
    for _ in range(LONGEST_CHAIN + 1):
        known = call.home.rights.users.get(found) if found else None
        if known is None:
            return None
        row = await call.reader.fetch_one(_AWAY, {"user": found, "at": call.now})
        if row is None:
            return found if found != user and known.active else None
        found = row[0]
        if found == user:
            return None
    return None
