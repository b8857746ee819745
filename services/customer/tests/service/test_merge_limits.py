"""Merging accounts and contacts over gRPC: what is refused, told, tried, repeated and purged."""

from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.customer.v1 import (
    account_pb2,
    merge_record_pb2,
)
from crmkit.testing.harness import ServiceUnderTest

from .merging import clerk, details

Account = account_pb2.Account
Choice = merge_record_pb2.FieldChoice
MergeRecord = merge_record_pb2.MergeRecord


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
