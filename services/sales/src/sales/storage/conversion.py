"""Where it is kept how far the conversion of a lead has come."""

from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit.db import Executor
from crmkit.statements import TEXT, TIMESTAMP, compile_statement
from sales.domain.conversion import Conversion
from sales.storage.schema import SALES

lead_conversions = sa.Table(
    "lead_conversions",
    SALES,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column(
        "lead",
        sa.Uuid,
        sa.ForeignKey("leads.id", ondelete="CASCADE", name="fk_lead_conversions_lead"),
        nullable=False,
    ),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("requester", sa.Uuid),
    sa.Column("account", sa.Uuid),
    sa.Column("contact", sa.Uuid),
    sa.Column("opportunity", sa.Uuid),
    sa.Column("new_account", sa.Boolean, nullable=False),
    sa.Column("new_contact", sa.Boolean, nullable=False),
    sa.Column("with_opportunity", sa.Boolean, nullable=False),
    sa.Column("opportunity_display_name", TEXT),
    sa.Column("pipeline", sa.Uuid),
    sa.Column("start_time", TIMESTAMP, nullable=False),
    sa.Column("error_reason", TEXT),
    sa.Index("ix_lead_conversions_lead", "lead"),
)
_NAMES = tuple(f.name for f in fields(Conversion))
_COLUMNS = [lead_conversions.c[name] for name in _NAMES]
_VALUES = {c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS}
_BY_ID = lead_conversions.c.id == sa.bindparam("id", type_=sa.Uuid)
_INSERT = compile_statement(lead_conversions.insert().values(_VALUES))
_FIND = compile_statement(sa.select(*_COLUMNS).where(_BY_ID))
_LOCK = compile_statement(sa.select(*_COLUMNS).where(_BY_ID).with_for_update())
_SAVE = compile_statement(
    lead_conversions.update()
    .where(_BY_ID)
    .values({n: v for n, v in _VALUES.items() if n not in {"id", "lead", "start_time"}})
)


async def insert_conversion(executor: Executor, conversion: Conversion) -> None:
    """Keeps a conversion that begins."""
    await executor.execute(_INSERT, asdict(conversion))


async def find_conversion(executor: Executor, id_: UUID) -> Conversion | None:
    """A conversion as it stands; None if its lead was purged."""
    return _conversion(await executor.fetch_one(_FIND, {"id": id_}))


async def lock_conversion(executor: Executor, id_: UUID) -> Conversion | None:
    """The same, locked until the transaction ends."""
    return _conversion(await executor.fetch_one(_LOCK, {"id": id_}))


async def save_conversion(executor: Executor, conversion: Conversion) -> None:
    """Keeps how far a locked conversion has come."""
    values = asdict(conversion)
    await executor.execute(
        _SAVE, {n: v for n, v in values.items() if n not in {"lead", "start_time"}}
    )


def _conversion(row: Any) -> Conversion | None:
    return Conversion(**dict(zip(_NAMES, row, strict=True))) if row is not None else None
