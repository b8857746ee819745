"""Accounts: their names, and which of them stand for which since they were merged."""

from crm.customer.v1.account_pb2 import Account
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.statements import Statement, upsert
from reporting.projections.organisation import named_record_changed
from reporting.projections.values import id_of
from reporting.storage.facts import dim_merge

_PUT = upsert(dim_merge)
_FORGET = Statement("DELETE FROM dim_merge WHERE id = %(id)s", {})
# Of the account and of all that lie in it, over however many merges: whatever came first, it ends the same.
_SETTLE = Statement(
    """
    WITH RECURSIVE below AS (
      SELECT %(id)s::uuid AS id
      UNION SELECT m.id FROM below JOIN dim_merge m ON m.merged_into = below.id
    ), above AS (
      SELECT m.id, m.merged_into, 1 AS level FROM below JOIN dim_merge m ON m.id = below.id
      UNION ALL
      SELECT above.id, m.merged_into, level + 1 FROM above JOIN dim_merge m ON m.id = above.merged_into
       WHERE level < 100
    ), last AS (
      SELECT DISTINCT ON (id) id, merged_into AS survivor FROM above ORDER BY id, level DESC
    )
    UPDATE dim_merge SET survivor = last.survivor FROM last WHERE last.id = dim_merge.id
    """,
    {},
)


async def account_changed(event: Event, call: Call) -> None:
    """Keeps the account's name, and what it was merged into."""
    await named_record_changed(event, call)
    if not event.routing_key.endswith((".merged", ".unmerged")):
        return
    account: Account = event.message.account
    id_ = id_of(account.name, "accounts")
    into = id_of(account.merged_into, "accounts")
    if into is None:
        await call.tx.execute(_FORGET, {"id": id_})
    else:
        await call.tx.execute(_PUT, {"id": id_, "merged_into": into, "survivor": into})
    await call.tx.execute(_SETTLE, {"id": id_})


HANDLERS = {"customer.account.*": account_changed}
