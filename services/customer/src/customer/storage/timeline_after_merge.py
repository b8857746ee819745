"""What the event of a merge, or of its undoing, does in its turn among those that make entries.

Those that had been made were moved with the merge itself; here go those that were made since, and the rights.
"""

from uuid import UUID

import sqlalchemy as sa

from crmkit import merges
from crmkit.call import Call
from crmkit.statements import Statement, compile_statement
from customer.storage.account import accounts
from customer.storage.contact import contacts
from customer.storage.merged_timeline import timelines_of_accounts, timelines_of_contacts
from customer.storage.timeline import put_rights

_ROOT = sa.bindparam("root", type_=sa.Uuid)


def _whose(table: sa.Table) -> Statement:
    whose = sa.select(table.c.owner, table.c.team, table.c.delete_time.is_not(None))
    return compile_statement(whose.where(table.c.id == _ROOT))


_MOVES = {"accounts": timelines_of_accounts, "contacts": timelines_of_contacts}
_WHOSE = {"accounts": _whose(accounts), "contacts": _whose(contacts)}


async def settle(call: Call, collection: str, record: UUID) -> None:
    """Moves also what was entered since, and shows it to whom whoever stands for the record may be shown to.

    Repeated or late it comes to the same: who lies in whom is read as it is now.
    """
    inside = await merges.family(call, collection, record, executor=call.tx)
    roots = await merges.survivors(call, collection, [record], executor=call.tx)
    root = roots.get(record, record)
    await _MOVES[collection](call, inside, root)
    row = await call.tx.fetch_one(_WHOSE[collection], {"root": root})
    if row is not None:
        await put_rights(call, inside, row[0], row[1], deleted=row[2])
