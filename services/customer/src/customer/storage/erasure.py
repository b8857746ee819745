"""Where erasures are kept: rows, not records; the proof that somebody was erased."""

from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from crmkit.call import Call
from crmkit.db import Executor, Transaction
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from crmkit.paging import Order
from crmkit.personal.erasure import heard_now
from crmkit.row_pages import page_of_rows
from crmkit.schema import REVISION
from crmkit.statements import TEXT, TIMESTAMP, Row, compile_statement
from customer.domain.erasure import Erasure, Part, addresses_in
from customer.storage.schema import CUSTOMER

ERASE_LAST = "erase_contact"  # the kind of the job that comes last

erasures = sa.Table(
    "erasures",
    CUSTOMER,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("contact", sa.Uuid, nullable=False),
    sa.Column("names", ARRAY(TEXT), nullable=False),
    sa.Column("texts", ARRAY(TEXT), nullable=False),  # emptied after the second looks
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("creator", sa.Uuid),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("parts", JSONB, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Index("ix_erasures_contact", "contact"),
    sa.Index("ix_erasures_creator", "creator", "id"),
)
_COLUMNS = tuple(erasures.c[f.name] for f in fields(Erasure))
_ID = sa.bindparam("id", type_=sa.Uuid)
_by_id = sa.select(*_COLUMNS).where(erasures.c.id == _ID)
_GET, _LOCK = compile_statement(_by_id), compile_statement(_by_id.with_for_update())
_BIND = {c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS}
_INSERT = compile_statement(erasures.insert().values(_BIND))
_CHANGING = ("texts", "state", "parts", "end_time")
_SAVE = compile_statement(
    sa.update(erasures)
    .where(erasures.c.id == sa.bindparam("of", type_=sa.Uuid))
    .values({name: _BIND[name] for name in _CHANGING})
)
_RUNNING = compile_statement(
    sa.select(erasures.c.id).where(
        sa.literal("contacts/").concat(sa.bindparam("contact", type_=sa.Text))
        == sa.any_(erasures.c.names),
        erasures.c.state == "RUNNING",
    )
)
_NEWEST_FIRST = [Order("id", erasures.c.id, descending=True)]
_RECORDS = sa.bindparam("records", type_=ARRAY(sa.Uuid))
_POINTS_BEFORE = compile_statement(
    sa.select(REVISION.c.changes["emails"], REVISION.c.changes["phones"]).where(
        REVISION.c.record == sa.any_(_RECORDS)
    )
)
# Whoever has the address too, and is not erased with it; each is looked up by an index.
_USED_BY_OTHERS = compile_statement(
    sa.text(
        "SELECT wanted FROM unnest(:texts) AS wanted WHERE "  # noqa: S608 - names of ours
        + " OR ".join(
            f"EXISTS (SELECT FROM {table} WHERE id <> ALL(:records)"
            f" AND {column} @> jsonb_build_array(jsonb_build_object('{key}', wanted)))"
            for table in ("accounts", "contacts")
            for column, key in (("emails", "address"), ("phones", "number"))
        )
    ).bindparams(_RECORDS, sa.bindparam("texts", type_=ARRAY(sa.Text)))
)


def _row(erasure: Erasure) -> dict[str, Any]:
    return {**vars(erasure), "parts": Jsonb([asdict(part) for part in erasure.parts])}


def _erasure(row: Row) -> Erasure:
    values = dict(zip((c.name for c in _COLUMNS), row, strict=True))
    values["parts"] = [Part(**part) for part in values["parts"]]
    return Erasure(**values)


async def insert_erasure(call: Call, erasure: Erasure) -> None:
    """Stores a new erasure."""
    await call.tx.execute(_INSERT, _row(erasure))


async def find_erasure(executor: Executor, id_: UUID) -> Erasure | None:
    """An erasure, if there is one."""
    row = await executor.fetch_one(_GET, {"id": id_})
    return _erasure(row) if row is not None else None


async def lock_erasure(tx: Transaction, id_: UUID) -> Erasure | None:
    """An erasure that nobody else changes until the transaction ends."""
    row = await tx.fetch_one(_LOCK, {"id": id_})
    return _erasure(row) if row is not None else None


async def save_erasure(call: Call, erasure: Erasure) -> None:
    """Stores how far an erasure is."""
    row = _row(erasure)
    await call.tx.execute(_SAVE, {"of": erasure.id, **{name: row[name] for name in _CHANGING}})


async def go_on(call: Call, erasure: Erasure) -> None:
    """Promises this service's own part once all the others have confirmed."""
    if erasure.all_others_confirmed:
        arguments = {"erasure": str(erasure.id), **heard_now(call)}
        await enqueue(call.tx, ERASE_LAST, arguments, job_id=uuid5_of(erasure.id, ERASE_LAST))


async def running_erasure(executor: Executor, contact: UUID) -> str | None:
    """The name of the erasure that a contact is part of and that has not ended."""
    row = await executor.fetch_one(_RUNNING, {"contact": str(contact)})
    return f"erasures/{row[0]}" if row is not None else None


async def list_erasures(
    call: Call, creator: UUID | None, request: Any
) -> tuple[list[Erasure], str]:
    """A page of erasures, newest first; of one user if said."""
    query = sa.select(*_COLUMNS)
    if creator is not None:
        query = query.where(erasures.c.creator == creator)
    rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, f"erasures/{creator}")
    return [_erasure(row) for row in rows], token


async def texts_of(executor: Executor, erasure: Erasure) -> list[str]:
    """What to look for: after the end not what somebody has got since, who may be the same person again."""
    if erasure.state == "RUNNING" or not erasure.texts:
        return erasure.texts
    records = [UUID(name.partition("/")[2]) for name in erasure.names]
    return await own_texts(executor, records, set(erasure.texts))


async def own_texts(executor: Executor, records: list[UUID], points: set[str]) -> list[str]:
    """The addresses and numbers, today's and earlier ones, that are nobody else's.

    Args:
        executor: Where to read.
        records: The records that are the person.
        points: What they have today.
    """
    found = set(points)
    for changes in await executor.fetch_all(_POINTS_BEFORE, {"records": records}):
        for change in changes:
            for value in change or ():
                found |= addresses_in(value)
    parameters = {"records": records, "texts": sorted(found)}
    shared = await executor.fetch_all(_USED_BY_OTHERS, parameters)
    return sorted(found - {row[0] for row in shared})
