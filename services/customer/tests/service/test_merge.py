"""Merging accounts and contacts over gRPC, and taking it back."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.customer.v1 import (
    account_pb2,
    appointment_pb2,
    consent_pb2,
    contact_pb2,
    interaction_pb2,
    merge_record_pb2,
    task_pb2,
)
from crmkit.testing.harness import ServiceUnderTest

from .merging import clerk, details, without_version

Account = account_pb2.Account
Choice = merge_record_pb2.FieldChoice
Contact = contact_pb2.Contact
MergeRecord = merge_record_pb2.MergeRecord


async def test_the_survivor_fills_its_gaps_and_old_names_lead_to_it(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a merged record is the survivor under each of its names, and no list shows it."""
    ada = await clerk(customer)
    kept = await ada.account(
        "Acme", employee_count=0, partner=False, emails=[{"address": "a@a.example"}]
    )
    gone = await ada.account(
        "ACME Inc", employee_count=7, partner=True, website="https://acme.example", external_id=str(uuid4()),
        emails=[{"address": "b@b.example"}],
    )  # fmt: skip
    merged = await ada.merge(kept, gone)
    account = merged.account
    assert account.name == kept.name
    assert (account.display_name, account.website) == ("Acme", "https://acme.example")
    assert (account.employee_count, account.partner) == (0, False)  # values, not gaps
    assert [e.address for e in account.emails] == ["a@a.example"]
    assert await ada.get(gone) == await ada.get(kept) == account
    batch = account_pb2.BatchGetAccountsRequest(names=[gone.name, kept.name])
    got = await ada.do(ada.accounts.BatchGetAccounts, batch)
    assert [a.name for a in got.accounts] == [kept.name, kept.name]
    update = account_pb2.UpdateAccountRequest(account=Account(name=gone.name, industry="steel"))
    assert (await ada.do(ada.accounts.UpdateAccount, update)).name == kept.name
    by_id = account_pb2.LookupAccountByExternalIdRequest(external_id=gone.external_id)
    assert (await ada.do(ada.accounts.LookupAccountByExternalId, by_id)).name == kept.name
    by_number = account_pb2.LookupAccountByNumberRequest(customer_number=gone.customer_number)
    assert (await ada.do(ada.accounts.LookupAccountByNumber, by_number)).name == kept.name
    shown = {a.name for a in await ada.list_accounts(show_deleted=True)}
    assert kept.name in shown
    assert gone.name not in shown


async def test_whoever_merges_says_whose_value_wins(customer: ServiceUnderTest) -> None:
    """A chosen value wins, even an empty one; lists can be put together."""
    ada = await clerk(customer)
    kept = await ada.account("Acme", industry="steel", emails=[{"address": "a@a.example"}])
    gone = await ada.account("ACME Inc", emails=[{"address": "b@b.example", "primary": True}])
    choices = [
        Choice(field="display_name", winner=gone.name),
        Choice(field="industry", winner=gone.name),
        Choice(field="emails", combine=True),
    ]
    merged = await ada.merge(kept, gone, field_choices=choices)
    assert (merged.account.display_name, merged.account.industry) == ("ACME Inc", "")
    assert [e.address for e in merged.account.emails] == ["a@a.example", "b@b.example"]
    assert list(merged.merge_record.field_choices) == choices
    assert list(merged.merge_record.changed_fields) == ["display_name", "emails", "industry"]


async def test_taking_a_merge_back_restores_both_exactly(customer: ServiceUnderTest) -> None:
    """INVARIANT: merge and unmerge leave everything as it was, but for what people did in between."""
    ada = await clerk(customer)
    kept = await ada.account("Acme")
    gone = await ada.account("ACME Inc", website="https://acme.example", industry="steel")
    merged = await ada.merge(kept, gone)
    update = account_pb2.UpdateAccountRequest(
        account=Account(name=kept.name, industry="wood", founded_year=1900)
    )
    await ada.do(ada.accounts.UpdateAccount, update)
    back = await ada.unmerge(kept)
    assert [without_version(a) for a in back.restored] == [without_version(gone)]
    assert without_version(await ada.get(gone)) == without_version(gone)
    # Changed since, and added since: both stay.
    assert (back.account.industry, back.account.founded_year) == ("wood", 1900)
    assert not back.account.HasField("website")
    record = back.merge_record
    assert (record.name, record.state) == (merged.merge_record.name, MergeRecord.UNMERGED)
    assert list(record.kept_fields) == ["industry"]
    assert record.unmerger == ada.who.name
    listed = {a.name for a in await ada.list_accounts()}
    assert {kept.name, gone.name} <= listed


async def test_every_reference_follows_and_comes_back(customer: ServiceUnderTest) -> None:
    """INVARIANT: what referred to a merged record shows the survivor, once, and comes back as it was."""
    ada = await clerk(customer)
    kept, gone, third = (
        await ada.account("Acme"),
        await ada.account("ACME Inc"),
        await ada.account("C"),
    )
    child = await ada.account("Sub", parent_account=gone.name)
    person = await ada.contact(
        "Ada",
        accounts=[
            {"account": gone.name, "role": "buyer", "primary": True},
            {"account": kept.name, "role": "guest"},
            {"account": third.name},
        ],
    )
    twin = await ada.contact("Ada L.", account=third.name)
    task = await ada.do(
        ada.tasks.CreateTask,
        task_pb2.CreateTaskRequest(
            task={"title": "Call", "related": [gone.name, third.name, kept.name, twin.name]}
        ),
    )
    interaction = await ada.do(
        ada.interactions.CreateInteraction,
        interaction_pb2.CreateInteractionRequest(
            interaction={"kind": "CALL", "participants": [twin.name], "related": [gone.name]}
        ),
    )
    appointment = await ada.do(
        ada.appointments.CreateAppointment,
        appointment_pb2.CreateAppointmentRequest(
            appointment={
                "title": "Meet",
                "start_time": datetime(2030, 1, 1, 10, tzinfo=UTC),
                "end_time": datetime(2030, 1, 1, 11, tzinfo=UTC),
                "attendees": [{"contact": person.name}, {"contact": twin.name}],
            }
        ),
    )

    async def now() -> list[Any]:
        task_now = await ada.do(ada.tasks.GetTask, task_pb2.GetTaskRequest(name=task.name))
        interaction_now = await ada.do(
            ada.interactions.GetInteraction,
            interaction_pb2.GetInteractionRequest(name=interaction.name),
        )
        appointment_now = await ada.do(
            ada.appointments.GetAppointment,
            appointment_pb2.GetAppointmentRequest(name=appointment.name),
        )
        return [task_now, interaction_now, appointment_now, await ada.get(child)]

    before, person_before = await now(), await ada.get(person)
    of_accounts = await ada.merge(kept, gone)
    await ada.merge(person, twin)
    task_now, interaction_now, appointment_now, child_now = await now()
    assert list(task_now.related) == [kept.name, third.name, person.name]
    assert list(interaction_now.related) == [kept.name]
    assert list(interaction_now.participants) == [person.name]
    assert [a.contact for a in appointment_now.attendees] == [person.name]
    assert person.name in appointment_now.participants
    assert twin.name not in appointment_now.participants
    assert child_now.parent_account == kept.name
    person_now = await ada.get(person)
    assert person_now.account == kept.name
    places = [(p.account, p.role, p.primary) for p in person_now.accounts]
    assert places == [(kept.name, "guest", True), (third.name, "", False)]
    assert [r.etag for r in await now()] == [r.etag for r in before]
    moved = {(m.collection, m.field): m.count for m in of_accounts.merge_record.moved}
    assert moved["accounts", "parent_account"] == moved["contacts", "accounts"] == 1
    await ada.unmerge(person)
    await ada.unmerge(kept)
    assert await now() == before
    after = await ada.get(person)
    assert (after.account, list(after.accounts)) == (
        person_before.account,
        list(person_before.accounts),
    )


async def test_what_people_change_after_a_merge_stays_when_it_is_taken_back(
    customer: ServiceUnderTest,
) -> None:
    """A link that somebody makes after the merge is to the survivor; the untouched ones come back."""
    ada = await clerk(customer)
    kept, gone, third = (
        await ada.account("Acme"),
        await ada.account("ACME Inc"),
        await ada.account("C"),
    )
    create = task_pb2.CreateTaskRequest(task={"title": "Call", "related": [gone.name]})
    task = await ada.do(ada.tasks.CreateTask, create)
    linked, later = await ada.contact("A", account=gone.name), None
    await ada.merge(kept, gone)
    later = await ada.contact("B", account=gone.name)
    assert later.account == kept.name  # the old name means the survivor
    update = task_pb2.UpdateTaskRequest(
        task={"name": task.name, "related": [kept.name, third.name]}
    )
    assert (await ada.do(ada.tasks.UpdateTask, update)).related == [kept.name, third.name]
    relink = contact_pb2.UpdateContactRequest(contact=Contact(name=linked.name, account=third.name))
    await ada.do(ada.contacts.UpdateContact, relink)
    await ada.unmerge(kept)
    assert (await ada.get(later)).account == kept.name
    assert (await ada.get(linked)).account == third.name
    again = await ada.do(ada.tasks.GetTask, task_pb2.GetTaskRequest(name=task.name))
    assert list(again.related) == [gone.name, third.name]


async def test_chains_lead_to_the_end_and_are_taken_back_from_there(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: over however many merges a name leads to the one that is left."""
    ada = await clerk(customer)
    a, b, c = [await ada.account(name) for name in "ABC"]
    contact = await ada.contact("Ada", account=a.name)
    first = await ada.merge(b, a)
    await ada.merge(c, b)
    assert (await ada.get(a)).name == (await ada.get(b)).name == c.name
    assert (await ada.get(contact)).account == c.name
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ada.unmerge(c, merge_record=first.merge_record.name)
    assert details(refused).reason == "MERGED_SINCE"
    assert details(refused).fields == ["merge_record"]
    await ada.unmerge(c)
    assert (await ada.get(contact)).account == b.name
    await ada.unmerge(b)
    assert (await ada.get(contact)).account == a.name
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ada.unmerge(b)
    assert details(refused).reason == "NOT_MERGED"


async def test_private_persons_become_one_with_their_contacts(customer: ServiceUnderTest) -> None:
    """INVARIANT: a private person has exactly one contact, also after a merge and after its undoing."""
    ada = await clerk(customer)
    kept = await ada.account("Zhang San", kind=Account.PERSON)
    gone = await ada.account(
        "Zhang S.", kind=Account.PERSON, emails=[{"address": "zhang@example.cn"}]
    )
    employer = await ada.account("Acme")

    async def contact_of(account: Any) -> Any:
        request = contact_pb2.ListContactsRequest(filter=f'person_account = "{account.name}"')
        (contact,) = (await ada.do(ada.contacts.ListContacts, request)).contacts
        return contact

    kept_contact, gone_contact = await contact_of(kept), await contact_of(gone)
    request = contact_pb2.UpdateContactRequest(
        contact=Contact(
            name=gone_contact.name,
            job_title="Buyer",
            accounts=[*gone_contact.accounts, {"account": employer.name}],
        )
    )
    gone_contact = await ada.do(ada.contacts.UpdateContact, request)
    for survivor, loser in ((kept_contact, gone_contact), (await ada.contact(), kept_contact)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ada.merge(survivor, loser)
        assert details(refused).reason == "PERSON_ACCOUNT"
    await ada.merge(kept, gone)
    one = await contact_of(kept)
    assert (one.name, one.job_title) == (kept_contact.name, "Buyer")
    assert [e.address for e in one.emails] == ["zhang@example.cn"]
    assert [p.account for p in one.accounts] == [kept.name, employer.name]
    assert (await ada.get(gone_contact)).name == kept_contact.name
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ada.unmerge(kept_contact)
    assert details(refused).reason == "NOT_MERGED"
    await ada.unmerge(kept)
    assert without_version(await contact_of(kept)) == without_version(kept_contact)
    assert without_version(await contact_of(gone)) == without_version(gone_contact)


async def test_the_ledgers_of_merged_contacts_are_one(customer: ServiceUnderTest) -> None:
    """INVARIANT: a withdrawal counts for the person, whichever record it was made for."""
    await customer.pick_list("consent_purpose", "newsletter")
    ada = await clerk(customer)
    kept, gone = await ada.contact("Ada"), await ada.contact("Ada L.", do_not_call=True)

    async def record(contact: Any, decision: str, day: int) -> None:
        consent = {
            "contact": contact.name, "channel": "EMAIL", "purpose": "newsletter", "decision": decision,
            "method": "PAPER", "effective_time": datetime(2026, 1, day, tzinfo=UTC),
        }  # fmt: skip
        request = consent_pb2.RecordConsentRequest(consent=consent)
        await ada.do(ada.consents.RecordConsent, request)

    async def allowed(contact: Any) -> list[bool]:
        request = consent_pb2.GetConsentStateRequest(contact=contact.name)
        state = await ada.do(ada.consents.GetConsentState, request)
        return [one.allowed for one in state.states]

    await record(kept, "GRANTED", 1)
    await record(gone, "WITHDRAWN", 2)
    merged = await ada.merge(kept, gone)
    assert merged.contact.do_not_call
    assert await allowed(kept) == await allowed(gone) == [False]
    await record(gone, "GRANTED", 3)
    assert await allowed(kept) == [True]
    await ada.unmerge(kept)
    assert await allowed(kept) == [True]
    assert await allowed(gone) == [False]
