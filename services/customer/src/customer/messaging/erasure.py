"""What other services' confirmations mean for an erasure."""

from crm.common.v1.personal_data_pb2 import ErasureConfirmation
from crmkit import contract
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from crmkit.service import EventHandler
from customer.storage.erasure import go_on, lock_erasure, save_erasure


async def on_confirmed(event: Event, call: Call) -> None:
    """A service has erased; the last one to say so lets this service erase."""
    told: ErasureConfirmation = event.message.confirmation
    id_ = parse_name(told.erasure, collection="erasures", field="erasure")
    erasure = await lock_erasure(call.tx, id_)
    counts = {one.collection: one.count for one in told.counts}
    if erasure is not None and erasure.confirm(event.source, counts, call.now):
        await save_erasure(call, erasure)
        await go_on(call, erasure)


HANDLERS: dict[str, EventHandler] = {
    key: on_confirmed for key in contract.events() if key.endswith(".erasure.confirmed")
}
