"""Where the organisation's logo is kept: one row, or none."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.db import Executor
from crmkit.statements import TEXT, compile_statement
from identity.domain.organization import ORGANIZATION_ID
from identity.storage.schema import IDENTITY

logo = sa.Table(
    "logo",
    IDENTITY,
    sa.Column("organization", sa.Uuid, sa.ForeignKey("organization.id"), primary_key=True),
    sa.Column("digest", TEXT, nullable=False),
    sa.Column("png", sa.LargeBinary, nullable=False),
)

_new = insert(logo).values({c.name: sa.bindparam(c.name, type_=c.type) for c in logo.columns})
_PUT = compile_statement(
    _new.on_conflict_do_update(
        index_elements=["organization"],
        set_={"digest": _new.excluded.digest, "png": _new.excluded.png},
    )
)
_GET = compile_statement(sa.select(logo.c.digest, logo.c.png))
_DELETE = compile_statement(sa.delete(logo))


async def put_logo(executor: Executor, digest: str, png: bytes) -> None:
    """Keeps the logo, instead of the one before."""
    await executor.execute(_PUT, {"organization": ORGANIZATION_ID, "digest": digest, "png": png})


async def the_logo(executor: Executor) -> tuple[str, bytes] | None:
    """Digest and bytes of the logo, if there is one."""
    row = await executor.fetch_one(_GET)
    return (row[0], bytes(row[1])) if row is not None else None


async def delete_logo(executor: Executor) -> None:
    """Removes it."""
    await executor.execute(_DELETE)
