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

Account, Contact, MergeRecord = (
    account_pb2.Account,
    contact_pb2.Contact,
    merge_record_pb2.MergeRecord,
)
Choice = merge_record_pb2.FieldChoice


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


async def test_what_cannot_be_merged_is_named(customer: ServiceUnderTest) -> None:
    """INVARIANT: a refusal names the field, and changes nothing."""
    ada = await clerk(customer)
    kept, gone = await ada.account("Acme"), await ada.account("ACME Inc")
    upper = await ada.account("Holding")
    lower = await ada.account("Sub", parent_account=upper.name)
    person = await ada.account("Ada", kind=Account.PERSON)
    trashed = await ada.account("Trash")
    delete = account_pb2.DeleteAccountRequest(name=trashed.name)
    await ada.do(ada.accounts.DeleteAccount, delete)
    await ada.merge(kept, gone)
    cases: list[tuple[Any, list[Any], dict[str, Any], str, str]] = [
        (kept, [kept], {}, "SAME_RECORD", "losers[0]"),
        (kept, [lower, lower], {}, "INVALID_FIELD", "losers[1]"),
        (kept, [gone], {}, "ALREADY_MERGED", "losers[0]"),
        (upper, [gone], {}, "ALREADY_MERGED", "losers[0]"),
        (lower, [upper], {}, "CIRCLE", "losers[0]"),
        (kept, [person], {}, "DIFFERENT_KINDS", "losers[0]"),
        (kept, [trashed], {}, "RECORD_DELETED", "losers[0]"),
        (trashed, [kept], {}, "RECORD_DELETED", "name"),
        (kept, [f"accounts/{uuid4()}"], {}, "RECORD_NOT_FOUND", "losers[0]"),
        (kept, ["contacts/1"], {}, "INVALID_FIELD", "losers[0]"),
        (kept, [lower], {"etag": '"99"'}, "ETAG_MISMATCH", "name"),
        (kept, [lower], {"etags": {lower.name: '"9"'}}, "ETAG_MISMATCH", "losers[0]"),
        (kept, [lower], {"etags": {gone.name: '"9"'}}, "INVALID_FIELD", "etags"),
    ]
    for bad, path in (
        (Choice(field="customer_number"), "field"),
        (Choice(field="industry", winner=gone.name), "winner"),
        (Choice(field="industry", combine=True), "combine"),
    ):
        more = {"field_choices": [bad]}
        cases.append((kept, [lower], more, "INVALID_FIELD", f"field_choices[0].{path}"))
    for survivor, losers, more, reason, path in cases:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ada.merge(survivor, *losers, **more)
        assert (details(refused).reason, details(refused).fields) == (reason, [path])


async def test_records_out_of_reach_are_not_merged(customer: ServiceUnderTest) -> None:
    """INVARIANT: a record outside the scope of the permission is as if it were not there."""
    boss = await clerk(customer)
    own = ("customer.accounts.*", "OWN")
    bob = await clerk(customer, own)
    theirs, mine = await boss.account("Acme"), await bob.account("Acme")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await bob.merge(mine, theirs)
    assert details(refused).code == grpc.StatusCode.NOT_FOUND
    assert details(refused).fields == ["losers[0]"]
    eve = await clerk(customer, "customer.accounts.get", "customer.accounts.update")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await eve.merge(theirs, mine)
    assert details(refused).code == grpc.StatusCode.PERMISSION_DENIED


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


async def test_a_merge_tells_what_happened(customer: ServiceUnderTest) -> None:
    """INVARIANT: events, history and the merge record agree, and events hold no personal data."""
    ada = await clerk(customer)
    kept, gone = await ada.account("Acme"), await ada.account("ACME Inc", industry="steel")
    merged = await ada.merge(kept, gone)
    event = (await customer.events(gone.name, count=2))[-1]
    assert event.routing_key == "customer.account.merged"
    assert event.message.account.merged_into == kept.name
    event = (await customer.events(kept.name, count=2))[-1]
    assert event.routing_key == "customer.account.updated"
    record = merged.merge_record
    assert (record.survivor, list(record.losers)) == (kept.name, [gone.name])
    assert (record.kind, record.state) == (MergeRecord.ACCOUNT, MergeRecord.MERGED)
    assert (record.creator, record.revision) == (ada.who.name, f"{kept.name}/revisions/2")
    for filter_ in (f'survivor = "{kept.name}"', f'losers:"{gone.name}"'):
        request = merge_record_pb2.ListMergeRecordsRequest(filter=filter_)
        listed = await ada.do(ada.records.ListMergeRecords, request)
        assert list(listed.merge_records) == [record]
    await ada.unmerge(kept)
    event = (await customer.events(gone.name, count=3))[-1]
    assert event.routing_key == "customer.account.unmerged"
    assert event.message.survivor == kept.name
    told = [e.routing_key for e in await customer.events(record.name, count=2)]
    assert told == ["customer.merge_record.created", "customer.merge_record.undone"]
    get = merge_record_pb2.GetMergeRecordRequest(name=record.name)
    assert (await ada.do(ada.records.GetMergeRecord, get)).state == MergeRecord.UNMERGED


async def test_a_preview_changes_nothing(customer: ServiceUnderTest) -> None:
    """INVARIANT: `validate_only` answers what would come of it and leaves no trace."""
    ada = await clerk(customer)
    kept, gone = await ada.account("Acme"), await ada.account("ACME Inc", industry="steel")
    contact = await ada.contact("Ada", account=gone.name)
    seen = await ada.merge(kept, gone, validate_only=True, request_id=str(uuid4()))
    assert seen.account.industry == "steel"
    moved = {(m.collection, m.field): m.count for m in seen.merge_record.moved}
    assert moved == {("contacts", "account"): 1, ("contacts", "accounts"): 1}
    assert [await ada.get(r) for r in (kept, gone, contact)] == [kept, gone, contact]
    get = merge_record_pb2.GetMergeRecordRequest(name=seen.merge_record.name)
    with pytest.raises(grpc.aio.AioRpcError):
        await ada.do(ada.records.GetMergeRecord, get)


async def test_a_repeated_merge_answers_the_first_result(customer: ServiceUnderTest) -> None:
    """INVARIANT: a merge takes effect once."""
    ada = await clerk(customer)
    kept, gone = await ada.account("Acme"), await ada.account("ACME Inc")
    same = {"request_id": str(uuid4()), "etag": kept.etag}
    assert await ada.merge(kept, gone, **same) == await ada.merge(kept, gone, **same)


async def test_the_purge_of_a_survivor_takes_what_was_merged_into_it_along(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: what was merged neither keeps its survivor from being purged nor outlives it."""
    ada = await clerk(customer, "customer.*", "customer.accounts.purge")
    kept, gone = await ada.account("Acme"), await ada.account("ACME Inc")
    await ada.merge(kept, gone)
    await ada.do(ada.accounts.DeleteAccount, account_pb2.DeleteAccountRequest(name=gone.name))
    await ada.do(ada.accounts.PurgeAccount, account_pb2.PurgeAccountRequest(name=kept.name))
    for record in (kept, gone):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ada.get(record)
        assert details(refused).code == grpc.StatusCode.NOT_FOUND
