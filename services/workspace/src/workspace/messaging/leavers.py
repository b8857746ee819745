"""What acts in the name of users who may not sign in any more: it stops, for others to decide about."""

from crm.identity.v1 import user_pb2
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from workspace.storage.rule import active_rules_of
from workspace.storage.webhook import active_webhooks_of
from workspace.usecases.deliver_webhook import pause_webhook
from workspace.usecases.pause_rule import pause_rule


async def stop_what_acts_for_who_left(event: Event, call: Call) -> None:
    """Pauses the rules and the webhooks of a user who was deactivated, deleted or removed."""
    user: user_pb2.User = event.message.user
    if user.state == user_pb2.User.ACTIVE and not user.HasField("delete_time"):
        return
    owner = parse_name(user.name, collection="users", field="name")
    for rule in await active_rules_of(call, owner):
        await pause_rule(call, rule, "OWNER_LEFT")
    for webhook in await active_webhooks_of(call, owner):
        await pause_webhook(call, webhook, "OWNER_LEFT")
