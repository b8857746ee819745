"""The customer view over gRPC: one page, one timeline, over what all services did."""

from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.type.money_pb2 import Money

from crm.common.v1 import collaborator_pb2
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    appointment_pb2,
    appointment_pb2_grpc,
    collaborator_pb2_grpc,
    consent_pb2,
    consent_pb2_grpc,
    interaction_pb2,
    interaction_pb2_grpc,
    task_pb2,
    task_pb2_grpc,
)
from crm.customer.v1 import customer_view_pb2 as pb
from crm.sales.v1 import opportunity_pb2 as sales
from crm.support.v1 import ticket_pb2 as support
from crmkit.clock import now
from crmkit.ids import uuid7
from crmkit.testing.harness import details_of
from crmkit.testing.postgres import TestServer

from .customer_pools import claim, make_pool, release
from .timelines import DAY, START, Kind, Watched, changed, opportunity, ticket, watched_service

ALL = "*"
OWN = (("customer.*", "OWN"), ("sales.*", "OWN"), ("support.*", "OWN"))
FIRST = "2026-03-01T00:00:00Z"


@pytest_asyncio.fixture(scope="module")
async def watched(postgres: TestServer) -> AsyncIterator[Watched]:
    """A service and the feeds of the others."""
    async with watched_service(postgres) as running:
        yield running


async def test_one_timeline_shows_what_every_service_did_the_latest_first(watched: Watched) -> None:
    """INVARIANT: each thing once, in the order in which it happened, whatever service it happened in."""
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    deal = opportunity(account)
    await watched.hear(sales.OpportunityCreated(opportunity=deal), ada, effective_time=START + DAY)
    await watched.interaction(ada, related=[account], occur_time=START + 2 * DAY, subject="Hello")
    request = ticket(account=account)
    await watched.hear(support.TicketCreated(ticket=request), ada, effective_time=START + 3 * DAY)
    won = changed(
        deal, state="WON", amount=Money(currency_code="EUR", units=1200, nanos=500_000_000)
    )
    await watched.hear(sales.OpportunityWon(opportunity=won), ada, effective_time=START + 4 * DAY)
    solved = changed(request, state="RESOLVED")
    await watched.hear(support.TicketResolved(ticket=solved), ada, effective_time=START + 5 * DAY)
    page = await watched.timeline(ada, account, filter="NOT kind = ACCOUNT_WON")
    assert [(Kind.Name(e.kind), e.source, e.record, e.title) for e in page.entries] == [
        ("TICKET_RESOLVED", "support", request.name, "T-000007"),
        ("OPPORTUNITY_WON", "sales", deal.name, "Ten licences"),
        ("TICKET_CREATED", "support", request.name, "T-000007"),
        ("INTERACTION", "customer", page.entries[3].record, "Hello"),
        ("OPPORTUNITY_CREATED", "sales", deal.name, "Ten licences"),
    ]
    assert dict(page.entries[1].data) == {
        "state": "WON",
        "amount": "1200.5000",
        "currency_code": "EUR",
    }
    assert list(page.entries[3].related) == [account]
    assert page.entries[3].actor == ada.name
    # The first purchase made a customer of the account, and that is told, too.
    assert "ACCOUNT_WON" in await watched.kinds(ada, account)


async def test_who_wins_has_not_moved_as_well(watched: Watched) -> None:
    """The stage changes with a win, in a second event of the same version; a move is an entry of its own."""
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    stages = [f"pipelines/{uuid7()}/stages/{uuid7()}" for _ in range(2)]
    deal = opportunity(account, stage=stages[1])
    told = sales.OpportunityStageChanged(opportunity=deal, from_stage=stages[0])
    await watched.hear(told, ada)
    await watched.hear(told, ada, event_index=1)
    (moved,) = (await watched.timeline(ada, account)).entries
    assert (Kind.Name(moved.kind), moved.data["from_stage"]) == ("OPPORTUNITY_MOVED", stages[0])


async def test_what_was_planned_done_allowed_and_decided_here_is_in_it(watched: Watched) -> None:
    """Tasks, appointments, consents, grade and credit, in the timelines of the account and of its people."""
    ada = await watched.customer.person(ALL, "customer.accounts.setCredit")
    await watched.customer.pick_list("consent_purpose", "newsletter")
    account = await watched.account(ada)
    contact = await watched.contact(ada, account=account)
    channel, metadata = watched.customer.channel, ada.metadata
    tasks: Any = task_pb2_grpc.TaskServiceStub(channel)
    task = await tasks.CreateTask(
        task_pb2.CreateTaskRequest(task=task_pb2.Task(title="Send offer", related=[account])),
        metadata=metadata,
    )
    await tasks.CompleteTask(task_pb2.CompleteTaskRequest(name=task.name), metadata=metadata)
    appointments: Any = appointment_pb2_grpc.AppointmentServiceStub(channel)
    visit = await appointments.CreateAppointment(
        appointment_pb2.CreateAppointmentRequest(
            appointment=appointment_pb2.Appointment(
                title="Visit", start_time=now() + DAY, end_time=now() + 2 * DAY,
                attendees=[{"contact": contact}],
            )
        ),
        metadata=metadata,
    )  # fmt: skip
    consents: Any = consent_pb2_grpc.ConsentServiceStub(channel)
    consent = consent_pb2.Consent(
        contact=contact, channel="EMAIL", purpose="newsletter", decision="GRANTED", method="PAPER"
    )
    request = consent_pb2.RecordConsentRequest(consent=consent)
    await consents.RecordConsent(request, metadata=metadata)
    accounts: Any = account_pb2_grpc.AccountServiceStub(channel)
    await accounts.GradeAccount(
        account_pb2.GradeAccountRequest(name=account, grade="A", reason="Large"), metadata=metadata
    )
    await accounts.SetAccountCredit(
        account_pb2.SetAccountCreditRequest(name=account, credit_state="OK", reason="Asked"),
        metadata=metadata,
    )
    assert await watched.kinds(ada, account) == [
        "ACCOUNT_CREDIT_CHANGED", "ACCOUNT_GRADED", "CONSENT_CHANGED", "APPOINTMENT_PLANNED",
        "TASK_COMPLETED", "TASK_CREATED",
    ]  # fmt: skip
    page = await watched.timeline(ada, contact)
    found = [(Kind.Name(e.kind), e.record, e.title) for e in page.entries[1:]]
    assert found == [("APPOINTMENT_PLANNED", visit.name, "Visit")]
    assert dict(page.entries[0].data) == {
        "channel": "EMAIL", "purpose": "newsletter", "decision": "GRANTED", "contact": contact,
    }  # fmt: skip
    view = await watched.view(ada, account)
    assert (view.next_appointment.record, view.next_appointment.title) == (visit.name, "Visit")
    (state,) = view.consents
    assert (state.purpose, state.granted_count, state.withdrawn_count) == ("newsletter", 1, 0)
    assert not view.HasField("next_task")
    (person,) = view.people
    assert (person.contact, person.primary) == (contact, True)


async def test_an_account_that_changes_hands_says_so(watched: Watched) -> None:
    """Given to a pool, claimed from it, given to somebody else."""
    ada, customer = await watched.customer.person(ALL), watched.customer
    account = await watched.account(ada)
    pool = (await make_pool(customer, ada, f"East {uuid7()}")).name
    await release(customer, ada, account, pool)
    await claim(customer, ada, account)
    page = await watched.timeline(ada, account)
    assert [(Kind.Name(e.kind), dict(e.data)) for e in page.entries] == [
        ("ACCOUNT_CLAIMED", {"owner": ada.name, "pool": pool}),
        ("ACCOUNT_POOLED", {"previous_owner": ada.name, "pool": pool}),
    ]


async def test_the_page_adds_up_what_sales_and_support_have(watched: Watched) -> None:
    """By currency, from how the records stand now; also with what a contact has."""
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    contact = await watched.contact(ada, account=account)
    amounts = [("EUR", 10), ("EUR", 20), ("CNY", 5)]
    for code, units in amounts:
        deal = opportunity(account, amount=Money(currency_code=code, units=units))
        await watched.hear(sales.OpportunityCreated(opportunity=deal), ada)
    await watched.hear(sales.OpportunityLost(opportunity=changed(deal, state="LOST")), ada)
    won = opportunity(account, amount=Money(currency_code="EUR", units=7), state="WON")
    await watched.hear(sales.OpportunityWon(opportunity=won), ada)
    for state in ("NEW", "PENDING_CUSTOMER", "CLOSED"):
        await watched.hear(support.TicketCreated(ticket=ticket(contact=contact, state=state)), ada)
    called = await watched.interaction(ada, participants=[contact], occur_time=START)
    await watched.interaction(ada, related=[account], kind="NOTE", occur_time=START + DAY)
    view = await watched.view(ada, account)
    open_amounts = [(m.currency_code, m.units) for m in view.sales.open_amounts]
    won_amounts = [(m.currency_code, m.units) for m in view.sales.won_amounts]
    counts = view.sales.open_count, view.sales.won_count, view.sales.lost_count
    assert (open_amounts, won_amounts, counts) == ([("EUR", 30)], [("EUR", 7)], (2, 1, 1))
    assert (view.support.open_count, view.support.count) == (2, 3)
    assert (view.last_touch.record, view.last_touch.data["kind"]) == (called.name, "CALL")
    assert view.account.name == account
    theirs = await watched.view(ada, contact)
    assert (theirs.support.open_count, theirs.HasField("sales")) == (2, False)
    assert (theirs.contact.name, theirs.last_touch.record) == (contact, called.name)
    sources = {source.source: source for source in view.sources}
    assert sources.keys() == {"customer", "sales", "support"}
    assert all(s.HasField("data_time") and not s.reading_past for s in sources.values())


async def test_next_is_what_comes_first_of_all_that_is_to_come(watched: Watched) -> None:
    """A series that began long ago comes again; a task without a time comes last."""
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    stub: Any = appointment_pb2_grpc.AppointmentServiceStub(watched.customer.channel)
    begin = now().replace(microsecond=0) - 10 * DAY - timedelta(hours=1)
    for title, start, rule in (
        ("Daily", begin, "FREQ=DAILY"), ("Past", begin, ""), ("Later", begin + 20 * DAY, ""),
    ):  # fmt: skip
        made = appointment_pb2.Appointment(
            title=title, start_time=start, end_time=start + timedelta(minutes=5),
            related=[account], recurrence=rule, time_zone="UTC",
        )  # fmt: skip
        request = appointment_pb2.CreateAppointmentRequest(appointment=made)
        await stub.CreateAppointment(request, metadata=ada.metadata)
    tasks: Any = task_pb2_grpc.TaskServiceStub(watched.customer.channel)
    for title, due in (("Some day", None), ("Soon", now() + DAY), ("Late", now() + 2 * DAY)):
        task = task_pb2.Task(title=title, due_time=due, related=[account])
        await tasks.CreateTask(task_pb2.CreateTaskRequest(task=task), metadata=ada.metadata)
    view = await watched.view(ada, account)
    assert view.next_appointment.title == "Daily"
    assert view.next_appointment.time.ToDatetime(tzinfo=UTC) == begin + 11 * DAY
    assert view.next_task.title == "Soon"


async def test_a_page_shows_only_what_its_reader_may_see(watched: Watched) -> None:
    """INVARIANT: an entry or a figure is shown to nobody who may not read the record it tells of."""
    team = await watched.customer.team()
    ada = await watched.customer.person(ALL, team=team)
    ben = await watched.customer.person(*OWN, team=team)
    cleo = await watched.customer.person(("customer.*", "ALL"))
    account = await watched.account(ada, owner=ben.name)
    for owner in (ada, ben):
        deal = opportunity(account, amount=Money(currency_code="EUR", units=5))
        await watched.hear(sales.OpportunityCreated(opportunity=deal), owner)
        await watched.hear(support.TicketCreated(ticket=ticket(account=account)), owner)
        await watched.interaction(ada, owner=owner.name, related=[account], occur_time=START)
    kinds = ["INTERACTION", "OPPORTUNITY_CREATED", "TICKET_CREATED"]
    assert sorted(await watched.kinds(ada, account)) == sorted(2 * kinds)
    assert sorted(await watched.kinds(ben, account)) == kinds
    view = await watched.view(ben, account)
    assert (view.sales.open_count, view.support.open_count) == (1, 1)
    # Who has no rights in sales and support learns nothing of them.
    assert await watched.kinds(cleo, account) == 2 * ["INTERACTION"]
    view = await watched.view(cleo, account)
    assert not view.HasField("sales")
    assert not view.HasField("support")
    # The same for an API key that is limited to one service.
    limited = watched.customer.limited(ada, "customer.*")
    assert await watched.kinds(limited, account) == 2 * ["INTERACTION"]


async def test_who_sees_an_entry_follows_whose_the_record_is_now(watched: Watched) -> None:
    """Also a consent's: by the person that it belongs to."""
    ada, ben = await watched.customer.person(ALL), await watched.customer.person(*OWN)
    account = await watched.account(ada, owner=ben.name)
    deal = opportunity(account)
    await watched.hear(sales.OpportunityCreated(opportunity=deal), ada)
    assert await watched.kinds(ben, account) == []
    told = sales.OpportunityUpdated(opportunity=deal, changed_fields=["owner"])
    await watched.hear(told, ben)
    assert await watched.kinds(ben, account) == ["OPPORTUNITY_CREATED"]
    await watched.hear(told, ada)
    assert await watched.kinds(ben, account) == []


async def test_an_account_out_of_reach_has_no_page(watched: Watched) -> None:
    """INVARIANT: as if it were not there."""
    ada, ben = await watched.customer.person(ALL), await watched.customer.person(*OWN)
    account, contact = await watched.account(ada), await watched.contact(ada)
    for call in (watched.timeline, watched.view):
        for name in (account, contact, f"accounts/{uuid7()}"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(ben, name)
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    nobody = await watched.customer.person("sales.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watched.view(nobody, account)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_what_is_about_an_opportunity_belongs_to_its_customer(watched: Watched) -> None:
    """INVARIANT: it follows when the opportunity is given to another account, each entry once."""
    ada = await watched.customer.person(ALL)
    former, account = await watched.account(ada), await watched.account(ada)
    deal = opportunity(former)
    await watched.hear(sales.OpportunityCreated(opportunity=deal), ada)
    await watched.level()
    await watched.interaction(ada, related=[deal.name, former], occur_time=START)
    await watched.interaction(ada, related=[deal.name], occur_time=START)
    assert len(await watched.kinds(ada, former)) == 3
    moved = changed(deal, account=account)
    told = sales.OpportunityUpdated(opportunity=moved, changed_fields=["account"])
    await watched.hear(told, ada)
    assert sorted(await watched.kinds(ada, account)) == 2 * ["INTERACTION"] + [
        "OPPORTUNITY_CREATED"
    ]
    assert await watched.kinds(ada, former) == ["INTERACTION"]  # which names it
    assert (await watched.view(ada, former)).sales.open_count == 0


async def test_a_task_that_comes_to_be_about_an_account_stands_there(watched: Watched) -> None:
    """And no longer where it was by mistake."""
    ada = await watched.customer.person(ALL)
    one, other = await watched.account(ada), await watched.account(ada)
    tasks: Any = task_pb2_grpc.TaskServiceStub(watched.customer.channel)
    request = task_pb2.CreateTaskRequest(task=task_pb2.Task(title="Call", related=[one]))
    task = await tasks.CreateTask(request, metadata=ada.metadata)
    assert await watched.kinds(ada, one) == ["TASK_CREATED"]
    change = task_pb2.Task(name=task.name, related=[other])
    await tasks.UpdateTask(task_pb2.UpdateTaskRequest(task=change), metadata=ada.metadata)
    assert await watched.kinds(ada, other) == ["TASK_CREATED"]
    assert await watched.kinds(ada, one) == []


async def test_a_corrected_interaction_is_one_entry_as_it_is_now(watched: Watched) -> None:
    ada = await watched.customer.person(ALL)
    one, other = await watched.account(ada), await watched.account(ada)
    call = await watched.interaction(ada, related=[one], occur_time=START)
    stub: Any = interaction_pb2_grpc.InteractionServiceStub(watched.customer.channel)
    right = interaction_pb2.Interaction(
        name=call.name, kind="MEETING", subject="Lunch", related=[other], occur_time=START + DAY
    )
    request = interaction_pb2.CorrectInteractionRequest(interaction=right)
    await stub.CorrectInteraction(request, metadata=ada.metadata)
    assert await watched.kinds(ada, one) == []
    (entry,) = (await watched.timeline(ada, other)).entries
    assert (entry.title, entry.data["kind"]) == ("Lunch", "MEETING")
    assert entry.effective_time.ToDatetime(tzinfo=UTC) == START + DAY


async def test_what_is_deleted_is_hidden_and_what_is_purged_is_gone(watched: Watched) -> None:
    """INVARIANT: an old event of a purged record that is read late brings nothing back."""
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    deal = opportunity(account)
    await watched.hear(sales.OpportunityCreated(opportunity=deal), ada)
    gone = changed(deal, delete_time=now())
    await watched.hear(sales.OpportunityDeleted(opportunity=gone), ada)
    assert await watched.kinds(ada, account) == []
    assert (await watched.view(ada, account)).sales.open_count == 0
    await watched.hear(sales.OpportunityUndeleted(opportunity=deal), ada)
    assert await watched.kinds(ada, account) == ["OPPORTUNITY_CREATED"]
    await watched.hear(sales.OpportunityDeleted(opportunity=gone), ada)
    await watched.hear(sales.OpportunityPurged(opportunity=gone), ada)
    await watched.hear(sales.OpportunityWon(opportunity=changed(deal, state="WON")), ada)
    assert await watched.kinds(ada, account) == ["ACCOUNT_WON"]


async def test_pages_leave_nothing_out_and_repeat_nothing(watched: Watched) -> None:
    """INVARIANT: also where many things happened at the same time; the view's token goes on in the list."""
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    times = [START + n % 3 * DAY for n in range(7)]
    made = [await watched.interaction(ada, related=[account], occur_time=time) for time in times]
    await watched.level()
    request = watched.views.GetCustomerView
    view = await request(
        pb.GetCustomerViewRequest(name=account, page_size=2), metadata=ada.metadata
    )
    found, token = list(view.entries), view.next_page_token
    while token:
        page = await watched.timeline(ada, account, page_size=2, page_token=token)
        found += page.entries
        token = page.next_page_token
    assert sorted(entry.record for entry in found) == sorted(one.name for one in made)
    moments = [entry.effective_time.ToDatetime() for entry in found]
    assert moments == sorted(moments, reverse=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind = TICKET_CREATED OR kind = INTERACTION", ["TICKET_CREATED", "INTERACTION"]),
        ('source = "sales"', ["OPPORTUNITY_CREATED"]),
        (f'effective_time > "{FIRST}" AND source = "support"', ["TICKET_CREATED"]),
        (f'time < "{FIRST}"', []),
    ],
)  # fmt: skip
async def test_the_list_is_filtered(watched: Watched, text: str, expected: list[str]) -> None:
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    await watched.interaction(ada, related=[account], occur_time=START)
    deal, request = opportunity(account), ticket(account=account)
    await watched.hear(sales.OpportunityCreated(opportunity=deal), ada)
    await watched.hear(support.TicketCreated(ticket=request), ada)
    assert await watched.kinds(ada, account, filter=text) == expected


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"filter": "owner = x"}, "INVALID_FILTER", "filter"),
        ({"filter": "kind = NONSENSE"}, "INVALID_FILTER", "filter"),
        ({"filter": 'effective_time > "soon"'}, "INVALID_FILTER", "filter"),
        ({"page_token": "x"}, "INVALID_PAGE_TOKEN", "page_token"),
        ({"page_size": -1}, "INVALID_FIELD", "page_size"),
    ],
)
async def test_a_wrong_request_names_what_is_wrong(
    watched: Watched, fields: dict[str, Any], reason: str, field: str
) -> None:
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watched.timeline(ada, account, **fields)
    details = details_of(refused.value)
    assert (details["reason"], details["fields"]) == (reason, [field])


async def test_whoever_is_invited_sees_the_appointment(watched: Watched) -> None:
    """Also who is invited later, and as long as they are."""
    ada, ben = await watched.customer.person(ALL), await watched.customer.person(*OWN)
    account = await watched.account(ada, owner=ben.name)
    stub: Any = appointment_pb2_grpc.AppointmentServiceStub(watched.customer.channel)
    names = []
    for people in ([{"user": ben.name}], []):
        made = appointment_pb2.Appointment(
            title="Visit",
            start_time=START,
            end_time=START + DAY,
            related=[account],
            attendees=people,
        )
        request = appointment_pb2.CreateAppointmentRequest(appointment=made)
        names.append((await stub.CreateAppointment(request, metadata=ada.metadata)).name)
    assert await watched.kinds(ada, account) == 2 * ["APPOINTMENT_PLANNED"]
    assert [e.record for e in (await watched.timeline(ben, account)).entries] == names[:1]
    for name, people in ((names[1], [{"user": ben.name}]), (names[0], [])):
        changed_ = appointment_pb2.Appointment(name=name, attendees=people)
        request = appointment_pb2.UpdateAppointmentRequest(
            appointment=changed_, update_mask={"paths": ["attendees"]}
        )
        await stub.UpdateAppointment(request, metadata=ada.metadata)
    assert [e.record for e in (await watched.timeline(ben, account)).entries] == names[1:]


async def test_what_is_shared_with_somebody_they_see(watched: Watched) -> None:
    """As the record itself."""
    ada, ben = await watched.customer.person(ALL), await watched.customer.person(*OWN)
    account = await watched.account(ada, owner=ben.name)
    call = await watched.interaction(ada, related=[account], occur_time=START)
    assert await watched.kinds(ben, account) == []
    stub: Any = collaborator_pb2_grpc.CollaboratorServiceStub(watched.customer.channel)
    shared = collaborator_pb2.CreateCollaboratorRequest(
        parent=call.name, collaborator={"user": ben.name, "access": "READ"}
    )
    await stub.CreateCollaborator(shared, metadata=ada.metadata)
    assert await watched.kinds(ben, account) == ["INTERACTION"]
