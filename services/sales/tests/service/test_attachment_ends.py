"""Attachments over gRPC, shown with opportunities: how they go, and that no bytes stay behind."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from crm.sales.v1 import opportunity_pb2
from crmattachments import adding, rows, store
from crmkit.children.tables import ATTACHMENT
from crmkit.errors import Unavailable
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, service_under_test
from crmkit.testing.postgres import TestServer
from sales.service import SERVICE

from .attachments import (
    PDF,
    PURGE,
    Code,
    add,
    change,
    downloaded,
    got,
    id_of,
    jobs,
    listed,
    opportunities,
    opportunity,
    refusal,
)


async def end_of_record(sales: ServiceUnderTest, person: Person, record: str) -> None:
    requests = opportunity_pb2.DeleteOpportunityRequest, opportunity_pb2.PurgeOpportunityRequest
    of, metadata = opportunities(sales), person.metadata
    await of.DeleteOpportunity(requests[0](name=record), metadata=metadata)
    await of.PurgeOpportunity(requests[1](name=record), metadata=metadata)


def is_kept(sales: ServiceUnderTest, id_: UUID) -> bool:
    """Whether the bytes lie in the folder that is the store of this test."""
    folder = str(sales.running.settings.attachments_url).removeprefix("file://")
    return store.Path(folder, rows.key("sales", id_)).exists()


async def count_rows(sales: ServiceUnderTest) -> int:
    query = sa.select(sa.func.count()).select_from(ATTACHMENT)
    row = await sales.database.fetch_one(compile_statement(query))
    assert row is not None
    return int(row[0])


async def fall_due(sales: ServiceUnderTest, id_: UUID) -> None:
    statement = sa.update(JOB).where(JOB.c.id == id_).values(due_time=sa.func.now())
    await sales.database.execute(compile_statement(statement))


async def removed(sales: ServiceUnderTest, id_: UUID) -> bool:
    async def look() -> bool:
        return not is_kept(sales, id_) and id_ not in await jobs(sales)

    return bool(await eventually(look))


async def test_a_deleted_file_waits_in_the_trash_and_can_be_restored(
    sales: ServiceUnderTest,
) -> None:
    ada = await sales.person("sales.*", *PURGE)
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record)
    assert (await refusal(change(sales, ada, "Undelete", made.name)))[1]["reason"] == "NOT_DELETED"
    assert (await refusal(change(sales, ada, "Purge", made.name)))[1]["reason"] == "NOT_DELETED"
    gone = await change(sales, ada, "Delete", made.name)
    kept_for = gone.purge_time.ToDatetime() - gone.delete_time.ToDatetime()
    assert kept_for == timedelta(days=30)
    assert id_of(made.name) in await jobs(sales)
    assert await listed(sales, ada, record) == []
    assert await listed(sales, ada, record, show_deleted=True) == [gone]
    reasons = [
        (await refusal(work))[1]["reason"]
        for work in (downloaded(sales, ada, made.name), change(sales, ada, "Delete", made.name))
    ]
    assert reasons == ["ATTACHMENT_DELETED", "ALREADY_DELETED"]
    back = await change(sales, ada, "Undelete", made.name)
    assert not back.HasField("delete_time")
    assert await downloaded(sales, ada, made.name) == PDF
    assert id_of(made.name) not in await jobs(sales)


async def test_what_lay_in_the_trash_long_enough_is_removed_with_its_bytes(
    sales: ServiceUnderTest,
) -> None:
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record)
    await change(sales, ada, "Delete", made.name)
    await fall_due(sales, id_of(made.name))
    assert await removed(sales, id_of(made.name))
    assert await listed(sales, ada, record, show_deleted=True) == []
    assert (await sales.events(made.name, count=3))[-1].type.endswith("AttachmentPurged")


async def test_purging_removes_the_bytes_at_once(sales: ServiceUnderTest) -> None:
    ada = await sales.person("sales.*", *PURGE)
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record)
    assert is_kept(sales, id_of(made.name))
    await change(sales, ada, "Delete", made.name)
    await change(sales, ada, "Purge", made.name)
    assert await removed(sales, id_of(made.name))
    assert (await refusal(got(sales, ada, made.name)))[0] == Code.NOT_FOUND


async def test_files_go_with_their_record(sales: ServiceUnderTest) -> None:
    """INVARIANT: a purged record leaves no bytes, of attachments in the trash neither."""
    ada = await sales.person("sales.*", *PURGE)
    record = await opportunity(sales, ada)
    made, deleted = await add(sales, ada, record), await add(sales, ada, record)
    await change(sales, ada, "Delete", deleted.name)
    await end_of_record(sales, ada, record)
    assert await removed(sales, id_of(made.name))
    assert await removed(sales, id_of(deleted.name))


async def test_a_record_in_the_trash_shows_its_files_and_takes_none(
    sales: ServiceUnderTest,
) -> None:
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record)
    request = opportunity_pb2.DeleteOpportunityRequest(name=record)
    await opportunities(sales).DeleteOpportunity(request, metadata=ada.metadata)
    assert await downloaded(sales, ada, made.name) == PDF
    for work in (add(sales, ada, record), change(sales, ada, "Delete", made.name)):
        assert (await refusal(work))[1]["reason"] == "RECORD_DELETED"


async def test_a_repeat_answers_the_first_result_and_keeps_no_second_file(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: nothing takes effect twice."""
    ada = await sales.person("sales.*")
    record, request_id = await opportunity(sales, ada), str(uuid4())
    first = await add(sales, ada, record, request_id=request_id)
    before = await jobs(sales)
    assert await add(sales, ada, record, request_id=request_id) == first
    assert await listed(sales, ada, record) == [first]
    (second,) = set(await jobs(sales)) - set(before)
    await fall_due(sales, second)
    assert await removed(sales, second)
    code, details = await refusal(add(sales, ada, record, b"other", request_id=request_id))
    assert (code, details["reason"]) == (Code.INVALID_ARGUMENT, "REQUEST_ID_REUSED")


async def test_bytes_without_a_row_are_removed(
    sales: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: whatever ends the work between the bytes and the row, a job removes the bytes."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    before, rows_before = await jobs(sales), await count_rows(sales)

    async def the_end(*_: Any) -> None:
        msg = "the power fails"
        raise Unavailable(msg)

    monkeypatch.setattr(rows, "tell", the_end)
    assert (await refusal(add(sales, ada, record)))[0] == Code.UNAVAILABLE
    (left,) = set(await jobs(sales)) - set(before)
    assert is_kept(sales, left)
    assert await count_rows(sales) == rows_before
    monkeypatch.undo()
    await fall_due(sales, left)
    assert await removed(sales, left)


async def test_bytes_that_are_being_removed_get_no_row(
    sales: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: a row never points to missing bytes, however slow the sender was."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    monkeypatch.setattr(adding, "_ABANDONED_AFTER", timedelta(0))
    put = store.Folder.put

    async def slow(self: store.Folder, key: str, file: Any) -> None:
        await put(self, key, file)
        assert await removed(sales, id_of(key))

    monkeypatch.setattr(store.Folder, "put", slow)
    code, details = await refusal(add(sales, ada, record))
    assert (code, details["reason"]) == (Code.ABORTED, "UPLOAD_TOO_SLOW")
    assert await listed(sales, ada, record, show_deleted=True) == []


async def test_without_a_store_attachments_are_refused_and_all_else_goes_on(
    postgres: TestServer,
) -> None:
    async with service_under_test(SERVICE, postgres, attachments_url="") as sales:
        ada = await sales.person("sales.*")
        record = await opportunity(sales, ada)
        code, details = await refusal(add(sales, ada, record))
        assert code == Code.FAILED_PRECONDITION
        assert details["reason"] == "ATTACHMENTS_NOT_CONFIGURED"
        assert await listed(sales, ada, record) == []
