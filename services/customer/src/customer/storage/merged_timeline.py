"""Timelines follow merges: a survivor's shows what happened with all of whom it stands for."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crmkit.call import Call
from crmkit.statements import Statement, compile_statement
from customer.storage.timeline import timeline_entries
from customer.storage.timeline_record import timeline_records

_INSIDE = sa.bindparam("inside", type_=ARRAY(sa.Uuid))
_ROOT = sa.bindparam("root", type_=sa.Uuid)


def _follow(shown: sa.Column[UUID], recorded: sa.Column[UUID]) -> Statement:
    """Shows who stands for what was recorded; either column's index finds it."""
    moved = sa.and_(shown != recorded, recorded == sa.any_(_INSIDE))
    own = sa.and_(shown == sa.any_(_INSIDE), recorded == sa.any_(_INSIDE))
    wanted = sa.or_(own, moved)
    return compile_statement(
        sa.update(shown.table).where(wanted, shown != _ROOT).values({shown.name: _ROOT})
    )


_e, _r = timeline_entries.c, timeline_records.c
_ENTRIES = _follow(_e.party, _e.party_as_recorded)
_OF_ACCOUNTS = _follow(_r.account, _r.account_as_recorded)
_OF_CONTACTS = _follow(_r.contact, _r.contact_as_recorded)


async def timelines_of_accounts(call: Call, inside: Sequence[UUID], root: UUID) -> None:
    """Moves what stands in the timelines of merged accounts, or back."""
    await _move(call, _OF_ACCOUNTS, inside, root)


async def timelines_of_contacts(call: Call, inside: Sequence[UUID], root: UUID) -> None:
    """Moves what stands in the timelines of merged contacts, or back."""
    await _move(call, _OF_CONTACTS, inside, root)


async def _move(call: Call, records: Statement, inside: Sequence[UUID], root: UUID) -> None:
    for statement in (_ENTRIES, records):
        await call.tx.execute(statement, {"inside": list(inside), "root": root})
