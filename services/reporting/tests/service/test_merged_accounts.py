"""Reports count merged accounts as their survivor, whatever the order in which that is heard of."""

import random
from typing import Any
from uuid import uuid4

from crm.customer.v1.account_pb2 import Account, AccountCreated, AccountMerged, AccountUnmerged
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityCreated
from crm.support.v1.ticket_pb2 import Ticket, TicketCreated
from reporting.queries.statement import Question
from reporting.storage.facts_hash import facts_hash

BY_ACCOUNT = Question(("opportunities_open", "tickets_open"), ("account",))


def opened(account: str) -> OpportunityCreated:
    opportunity = Opportunity(
        name=f"opportunities/{uuid4()}", state=Opportunity.OPEN, account=account
    )
    return OpportunityCreated(opportunity=opportunity)


def merged(loser: str, survivor: str) -> AccountMerged:
    return AccountMerged(account=Account(name=loser, merged_into=survivor))


def unmerged(loser: str, survivor: str) -> AccountUnmerged:
    return AccountUnmerged(account=Account(name=loser), survivor=survivor)


async def open_by_account(facts: Any, **more: Any) -> dict[str, str]:
    answer = await facts.ask(Question(("opportunities_open",), ("account",), **more))
    return {group[0]: values["opportunities_open"] for group, values in answer.rows}


async def test_reports_group_by_the_survivor_and_after_an_unmerge_by_both(facts: Any) -> None:
    """INVARIANT: facts are not moved: what is grouped together follows from what is merged now."""
    a, b, c = (f"accounts/{uuid4()}" for _ in range(3))
    ticket = Ticket(name=f"tickets/{uuid4()}", state=Ticket.OPEN, account=a)
    await facts.apply(facts.events(*map(opened, (a, a, b, c)), TicketCreated(ticket=ticket)))
    assert await open_by_account(facts) == {a: "2", b: "1", c: "1"}
    await facts.apply(facts.events(merged(a, b)))
    answer = await facts.ask(BY_ACCOUNT)
    assert dict(answer.rows) == {
        (b,): {"opportunities_open": "3", "tickets_open": "1"},
        (c,): {"opportunities_open": "1", "tickets_open": "0"},
    }
    await facts.apply(facts.events(merged(b, c)))
    assert await open_by_account(facts) == {c: "4"}
    assert await open_by_account(facts, filter=f'account = "{c}"') == {c: "4"}
    await facts.apply(facts.events(unmerged(b, c)))
    assert await open_by_account(facts) == {b: "3", c: "1"}
    await facts.apply(facts.events(unmerged(a, b)))
    assert await open_by_account(facts) == {a: "2", b: "1", c: "1"}


async def test_the_merge_map_follows_from_what_is_merged_alone(facts: Any) -> None:
    """INVARIANT G6: whichever record is heard of first, the facts end as those of a rebuild."""
    dice = random.Random(20261125)
    for _ in range(15):
        await facts.forget()
        names = [f"accounts/{uuid4()}" for _ in range(6)]
        into: dict[str, str] = {}
        history: list[Any] = [AccountCreated(account=Account(name=n)) for n in names]
        history += [opened(name) for name in names]
        for _ in range(12):
            roots = [name for name in names if name not in into]
            if into and (dice.random() < 0.4 or len(roots) < 2):
                loser = dice.choice([n for n in into if into[n] not in into])
                history.append(unmerged(loser, into.pop(loser)))
            else:
                loser, survivor = dice.sample(roots, 2)
                into[loser] = survivor
                history.append(merged(loser, survivor))
        events = facts.events(*history)
        await facts.apply(events)
        in_order = await facts_hash(facts.home.database)
        counted = await open_by_account(facts)
        expected: dict[str, int] = {}
        for name in names:
            root = name
            while root in into:
                root = into[root]
            expected[root] = expected.get(root, 0) + 1
        assert counted == {name: str(count) for name, count in expected.items()}
        subjects = sorted({event.subject for event in events})
        dice.shuffle(subjects)
        await facts.forget()
        late = [event for subject in subjects for event in events if event.subject == subject]
        await facts.apply(late)
        await facts.apply(events[-1:])  # and once more
        assert await facts_hash(facts.home.database) == in_order
