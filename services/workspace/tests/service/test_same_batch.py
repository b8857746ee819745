"""The events of a batch share a transaction, and what was looked up for one of them."""

from uuid import UUID

from crmkit.access import service_principal
from crmkit.call import Call, new_call
from crmkit.clock import now
from crmkit.db import Transaction
from crmkit.testing.harness import ServiceUnderTest
from workspace.storage.rule import active_rules
from workspace.storage.webhook import sending_webhooks
from workspace.usecases.deliver_webhook import pause_webhook
from workspace.usecases.pause_rule import pause_rule

from . import rules, webhooks


def _call(workspace: ServiceUnderTest, tx: Transaction) -> Call:
    return new_call(workspace.running.home, service_principal("workspace"), tx)


async def test_a_webhook_that_an_event_pauses_is_sent_no_later_one(
    workspace: ServiceUnderTest,
) -> None:
    """INVARIANT: a later event of the same batch does not find it among those that send."""
    ada = await workspace.person("*")
    created = await webhooks.create(workspace, ada)
    id_ = UUID(created.name.partition("/")[2])
    async with workspace.database.transaction() as tx:
        assert id_ in {w.id for w in await sending_webhooks(_call(workspace, tx), now())}
        await pause_webhook(_call(workspace, tx), id_, "OWNER_LEFT")
        assert id_ not in {w.id for w in await sending_webhooks(_call(workspace, tx), now())}


async def test_a_rule_that_an_event_pauses_is_started_by_no_later_one(
    workspace: ServiceUnderTest,
) -> None:
    """INVARIANT: a later event of the same batch does not find it among those that run."""
    ada = await workspace.person("*")
    created = await rules.create(workspace, ada)
    id_ = UUID(created.name.partition("/")[2])
    async with workspace.database.transaction() as tx:
        assert id_ in {r.id for r in await active_rules(_call(workspace, tx), now())}
        await pause_rule(_call(workspace, tx), id_, "OWNER_LEFT")
        assert id_ not in {r.id for r in await active_rules(_call(workspace, tx), now())}
