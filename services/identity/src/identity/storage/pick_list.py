"""Where pick lists are kept."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.identity.v1 import pick_list_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.statements import TEXT, compile_statement, record_table
from identity.domain.pick_list import PickList
from identity.storage.schema import IDENTITY

pick_lists = record_table(
    "pick_lists",
    IDENTITY,
    sa.Column("key", TEXT, nullable=False),
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("entries", JSONB, nullable=False),
    sa.Column("built_in", sa.Boolean, nullable=False),
    sa.Index("uq_pick_lists_key", "key", unique=True),
)

_BY_KEY = compile_statement(
    sa.select(pick_lists.c.id).where(pick_lists.c.key == sa.bindparam("key"))
)


async def _keep_entries(_call: Call, after: PickList, before: PickList | None) -> None:
    if before is not None:
        after.refuse_removal(before)


PICK_LISTS = Collection(
    pick_list_pb2.PickList, PickList, pick_lists, natural_key="key", rule=_keep_entries
)


async def learn(call: Call, key: str, value: str) -> None:
    """Adds a value that a record has to its list, if that is open and lacks it."""
    row = await call.tx.fetch_one(_BY_KEY, {"key": key})
    if row is None:
        return
    pick_list = await PICK_LISTS.for_change(call, row[0])
    if pick_list.learn(value, call.organization.language_code):
        await PICK_LISTS.save(call, pick_list)
