"""Scans for duplicates: all records, from where the last piece ended, some neighbours each."""

import grpc
import pytest
import sqlalchemy as sa

from crm.customer.v1 import (
    duplicate_scan_pb2,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing.harness import ServiceUnderTest
from customer.storage.duplicate import duplicate_sets
from customer.storage.duplicate_key import NEIGHBOURS, duplicate_keys, keep_blocks, neighbours
from customer.storage.duplicate_scan import find_scan, insert_scan, named
from customer.usecases import scan_for_duplicates

from .duplicates import BORN, contact, found, looked_at, refused, scan, scans


async def test_a_scan_compares_every_record_and_changes_nothing_that_is_known(
    customer: ServiceUnderTest,
) -> None:
    """A second scan finds nothing new; sets keep their names."""
    by = await customer.person("*")
    names = [
        await contact(customer, by, "Adalbert", "Finsterwald", birthday=BORN) for _ in range(2)
    ]
    one = await found(customer, by, names[0])
    await looked_at(customer)
    ended = await scan(customer, by)
    assert ended.state == duplicate_scan_pb2.DuplicateScan.SUCCEEDED
    assert ended.processed_rows == ended.total_rows > 1
    assert ended.found_count == 0
    assert (await found(customer, by, names[0])).etag == one.etag


async def test_a_scan_finds_what_nobody_has_looked_at(customer: ServiceUnderTest) -> None:
    """Records whose blocks were never kept, as after an upgrade, are found by the scan."""
    by = await customer.person("*")
    names = [await contact(customer, by, "Thusnelda", "Morgenrot", birthday=BORN) for _ in range(2)]
    await found(customer, by, names[0])
    for table in (duplicate_sets, duplicate_keys):
        await customer.database.execute(compile_statement(sa.delete(table)))
    assert (await scan(customer, by)).found_count >= 1
    assert set((await found(customer, by, names[0])).members) == set(names)


async def test_a_scan_is_for_who_sees_all_records(customer: ServiceUnderTest) -> None:
    """INVARIANT: scans are the organisation's; names of other collections are refused by field."""
    few, by = await customer.person(("customer.*", "OWN")), await customer.person("*")
    wanted = duplicate_scan_pb2.DuplicateScan(resource="contacts")
    create = duplicate_scan_pb2.CreateDuplicateScanRequest(duplicate_scan=wanted)
    outcome = await refused(scans(customer).CreateDuplicateScan(create, metadata=few.metadata))
    assert outcome == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_TOO_NARROW")
    wrong = duplicate_scan_pb2.CreateDuplicateScanRequest(
        duplicate_scan=duplicate_scan_pb2.DuplicateScan(resource="tasks")
    )
    outcome = await refused(scans(customer).CreateDuplicateScan(wrong, metadata=by.metadata))
    assert outcome == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    ended = await scan(customer, by, "accounts")
    cancel = duplicate_scan_pb2.CancelDuplicateScanRequest(name=ended.name)
    outcome = await refused(scans(customer).CancelDuplicateScan(cancel, metadata=by.metadata))
    assert outcome == (grpc.StatusCode.FAILED_PRECONDITION, "ILLEGAL_TRANSITION")
    listed = await scans(customer).ListDuplicateScans(
        duplicate_scan_pb2.ListDuplicateScansRequest(), metadata=by.metadata
    )
    assert listed.duplicate_scans[0].name == ended.name


async def test_a_scan_goes_on_where_it_was(
    customer: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: the progress commits with what was found: who takes the job over repeats nothing."""
    by = await customer.person("*")
    for _ in range(3):
        await contact(customer, by, "Eleonore", "Wintergerst", birthday=BORN)
    await looked_at(customer)
    monkeypatch.setattr(scan_for_duplicates, "_AT_ONCE", 2)
    home, id_ = customer.running.home, uuid7()
    async with home.database.transaction() as tx:
        call = new_call(home, service_principal("customer"), tx)
        await insert_scan(tx, id_, "contacts", None, call.now)
    assert await scan_for_duplicates._compare_some(home, id_)  # the worker dies here
    row = await find_scan(home.database, id_)
    assert row is not None
    assert (named(row)["state"], named(row)["processed_rows"]) == ("RUNNING", 2)
    async with home.database.transaction() as tx:
        call = new_call(home, service_principal("customer"), tx)
        await scan_for_duplicates.scan_for_duplicates(call, {"scan": str(id_)})
    row = await find_scan(home.database, id_)
    assert row is not None
    assert named(row)["state"] == "SUCCEEDED"
    assert named(row)["processed_rows"] == named(row)["total_rows"]


async def test_records_of_one_block_are_compared_with_their_neighbours_only(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: what is compared grows with a block's size, not with its square."""
    block, ids = 1, sorted(uuid7() for _ in range(200))
    rows = {id_: [block] for id_ in ids}
    async with customer.database.transaction() as tx:
        await keep_blocks(tx, ids, rows)
        near = await neighbours(tx, {ids[100]: [block], ids[0]: [block]})
        assert near[ids[100]] == {*ids[100 - NEIGHBOURS : 100], *ids[101 : 101 + NEIGHBOURS]}
        assert near[ids[0]] == set(ids[1 : 1 + NEIGHBOURS])
        await keep_blocks(tx, ids, {})
