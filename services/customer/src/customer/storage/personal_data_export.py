"""Where archives of personal data stand: rows beside the files, which lie in the store of attachments."""

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crmkit.call import Call
from crmkit.db import Executor, Transaction
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import TEXT, TIMESTAMP, Row, compile_statement
from customer.storage.schema import CUSTOMER

KEPT_FOR = timedelta(days=7)

personal_data_exports = sa.Table(
    "personal_data_exports",
    CUSTOMER,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("contact", sa.Uuid, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("services", ARRAY(TEXT), nullable=False),
    sa.Column("waits_for", TEXT),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("error_message", TEXT),
    sa.Column("creator", sa.Uuid),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("expire_time", TIMESTAMP),
    sa.Index("ix_personal_data_exports_contact", "contact"),
    sa.Index("ix_personal_data_exports_creator", "creator", "id"),
)


@dataclass
class Archive:
    """An archive of what all services keep of a contact; attributes as in the contract."""

    id: UUID
    contact: UUID
    creator: UUID | None
    create_time: datetime
    state: str = "RUNNING"
    services: list[str] = field(default_factory=list)
    waits_for: str | None = None
    size_bytes: int = 0
    error_message: str | None = None
    end_time: datetime | None = None
    expire_time: datetime | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return f"personalDataExports/{self.id}"

    @property
    def key(self) -> str:
        """Where its bytes lie in the store."""
        return f"customer/personal-data/{self.id}"

    def complete(self, size_bytes: int, now: datetime) -> None:
        """It is there, for some days."""
        self.state, self.size_bytes, self.waits_for = "SUCCEEDED", size_bytes, None
        self.end_time, self.expire_time = now, now + KEPT_FOR


_T = personal_data_exports.c
_COLUMNS = tuple(_T[f.name] for f in fields(Archive))
_by_id = sa.select(*_COLUMNS).where(_T.id == sa.bindparam("id", type_=sa.Uuid))
_GET, _LOCK = compile_statement(_by_id), compile_statement(_by_id.with_for_update())
_BIND = {c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS}
_INSERT = compile_statement(personal_data_exports.insert().values(_BIND))
_CHANGING = (
    "state", "services", "waits_for", "size_bytes", "error_message", "end_time", "expire_time",
)  # fmt: skip
_SAVE = compile_statement(
    sa.update(personal_data_exports)
    .where(_T.id == sa.bindparam("of", type_=sa.Uuid))
    .values({name: _BIND[name] for name in _CHANGING})
)
_PROGRESS = compile_statement(
    sa.update(personal_data_exports)
    .where(_T.id == sa.bindparam("of", type_=sa.Uuid), _T.state == "RUNNING")
    .values(services=_BIND["services"], waits_for=_BIND["waits_for"])
)
_OF_CONTACTS = compile_statement(
    sa.select(*_COLUMNS).where(
        _T.contact == sa.any_(sa.bindparam("contacts", type_=ARRAY(sa.Uuid))),
        sa.or_(_T.state == "RUNNING", _T.state == "SUCCEEDED"),
    )
)
_NEWEST_FIRST = [Order("id", _T.id, descending=True)]


def _archive(row: Row) -> Archive:
    return Archive(**dict(zip((c.name for c in _COLUMNS), row, strict=True)))


async def insert_archive(call: Call, archive: Archive) -> None:
    """Stores a new archive, whose file is still to be made."""
    await call.tx.execute(_INSERT, vars(archive))


async def find_archive(executor: Executor, id_: UUID) -> Archive | None:
    """An archive, if there is one."""
    row = await executor.fetch_one(_GET, {"id": id_})
    return _archive(row) if row is not None else None


async def lock_archive(tx: Transaction, id_: UUID) -> Archive | None:
    """An archive that nobody else changes until the transaction ends."""
    row = await tx.fetch_one(_LOCK, {"id": id_})
    return _archive(row) if row is not None else None


async def save_archive(tx: Transaction, archive: Archive) -> None:
    """Stores what has become of an archive."""
    values = vars(archive)
    await tx.execute(_SAVE, {"of": archive.id, **{name: values[name] for name in _CHANGING}})


async def note_progress(
    executor: Executor, archive: UUID, services: list[str], waits_for: str | None
) -> None:
    """Shows which services' parts are there, and which one is waited for."""
    parameters = {"of": archive, "services": services, "waits_for": waits_for}
    await executor.execute(_PROGRESS, parameters)


async def archives_of(executor: Executor, contacts: list[UUID]) -> list[Archive]:
    """The archives of contacts that are being made or are there."""
    rows = await executor.fetch_all(_OF_CONTACTS, {"contacts": contacts})
    return [_archive(row) for row in rows]


async def list_archives(call: Call, request: Any) -> tuple[list[Archive], str]:
    """A page of the caller's archives, newest first."""
    query = sa.select(*_COLUMNS).where(_T.creator == call.principal.user)
    bound_to = f"personalDataExports/{call.principal.user}"
    rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, bound_to)
    return [_archive(row) for row in rows], token
