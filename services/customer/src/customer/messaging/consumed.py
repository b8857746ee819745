"""What other services' events mean for customers."""

from crmkit import merges
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from crmkit.service import EventHandler
from customer.messaging import erasure, timeline
from customer.storage.account import ACCOUNTS
from customer.storage.touch import touch_by_opportunity


async def on_opportunity_won(event: Event, call: Call) -> None:
    """The first won opportunity makes the account a customer, at the time it was won."""
    name: str = event.message.opportunity.account
    if not name:
        return
    account_id = parse_name(name, collection="accounts", field="account")
    found = await ACCOUNTS.get_many(call, [account_id])
    if not found or found[0].state == "CUSTOMER":
        return
    account = await ACCOUNTS.for_change(call, account_id, deleted=True)
    if account.buy(event.effective_time):
        await ACCOUNTS.save(call, account)


async def on_opportunity(event: Event, call: Call) -> None:
    """An opportunity that is begun, moved or ended: something happens with its account."""
    past = event.routing_key.rpartition(".")[2]
    name: str = event.message.opportunity.account
    if past in _TOUCHING and name:
        named = parse_name(name, collection="accounts", field="account")
        (account,) = await merges.present(call, "accounts", [named], executor=call.tx)
        await touch_by_opportunity(call, account, event.effective_time)
    await timeline.record_changed(event, call)


_TOUCHING = frozenset({"created", "stage_changed", "won", "lost", "reopened"})
HANDLERS: dict[str, EventHandler] = {
    **timeline.HANDLERS,
    "sales.opportunity.won": on_opportunity_won,
    "sales.opportunity.*": on_opportunity,
    **erasure.HANDLERS,
}
