"""What other services' events mean for customers."""

from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from customer.storage.account import ACCOUNTS


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


HANDLERS = {"sales.opportunity.won": on_opportunity_won}
