"""Attachments over gRPC, shown with opportunities."""

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa

from crm.common.v1 import attachment_pb2
from crm.sales.v1 import attachment_pb2_grpc, opportunity_pb2, opportunity_pb2_grpc
from crmattachments import adding, receiving, rows, store
from crmkit.children.tables import ATTACHMENT
from crmkit.errors import Unavailable
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of, service_under_test
from crmkit.testing.postgres import TestServer
from sales.service import SERVICE

Attachment = attachment_pb2.Attachment
Code = grpc.StatusCode
PURGE = ("sales.attachments.purge", "sales.opportunities.purge")  # in no wildcard but `*`
PDF = b"%PDF-1.7\n%\xe2\xe3\n" + bytes(range(256)) * 2000


def stub(sales: ServiceUnderTest) -> attachment_pb2_grpc.AttachmentServiceStub:
    return attachment_pb2_grpc.AttachmentServiceStub(sales.channel)


def opportunities(sales: ServiceUnderTest) -> opportunity_pb2_grpc.OpportunityServiceStub:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


async def opportunity(sales: ServiceUnderTest, person: Person) -> str:
    created = await opportunities(sales).CreateOpportunity(
        opportunity_pb2.CreateOpportunityRequest(
            opportunity=opportunity_pb2.Opportunity(display_name="Ten machines")
        ),
        metadata=person.metadata,
    )
    return str(created.name)


async def add(
    sales: ServiceUnderTest,
    person: Person,
    parent: str,
    content: bytes = PDF,
    file_name: str = "offer.pdf",
    request_id: str = "",
) -> Attachment:
    def pieces() -> Iterator[attachment_pb2.CreateAttachmentRequest]:
        request = attachment_pb2.CreateAttachmentRequest(
            parent=parent, file_name=file_name, request_id=request_id
        )
        request.file.content_type = "text/html"  # what is said of it counts for nothing
        for start in range(0, max(len(content), 1), 100_000):
            request.file.data = content[start : start + 100_000]
            yield request
            request = attachment_pb2.CreateAttachmentRequest()

    return await stub(sales).CreateAttachment(pieces(), metadata=person.metadata)


async def got(sales: ServiceUnderTest, person: Person, name: str) -> Attachment:
    request = attachment_pb2.GetAttachmentRequest(name=name)
    return await stub(sales).GetAttachment(request, metadata=person.metadata)


async def listed(
    sales: ServiceUnderTest, person: Person, parent: str, **fields: Any
) -> list[Attachment]:
    request = attachment_pb2.ListAttachmentsRequest(parent=parent, **fields)
    page = await stub(sales).ListAttachments(request, metadata=person.metadata)
    return list(page.attachments)


async def downloaded(sales: ServiceUnderTest, person: Person, name: str) -> bytes:
    request = attachment_pb2.DownloadAttachmentRequest(name=name)
    stream = stub(sales).DownloadAttachment(request, metadata=person.metadata)
    return b"".join([piece.data async for piece in stream])


async def change(sales: ServiceUnderTest, person: Person, verb: str, name: str) -> Any:
    request = getattr(attachment_pb2, f"{verb}AttachmentRequest")(name=name)
    return await getattr(stub(sales), f"{verb}Attachment")(request, metadata=person.metadata)


async def end_of_record(sales: ServiceUnderTest, person: Person, record: str) -> None:
    requests = opportunity_pb2.DeleteOpportunityRequest, opportunity_pb2.PurgeOpportunityRequest
    of, metadata = opportunities(sales), person.metadata
    await of.DeleteOpportunity(requests[0](name=record), metadata=metadata)
    await of.PurgeOpportunity(requests[1](name=record), metadata=metadata)


def id_of(name: str) -> UUID:
    return UUID(name.rpartition("/")[2])


def is_kept(sales: ServiceUnderTest, id_: UUID) -> bool:
    """Whether the bytes lie in the folder that is the store of this test."""
    folder = str(sales.running.settings.attachments_url).removeprefix("file://")
    return store.Path(folder, rows.key("sales", id_)).exists()


async def jobs(sales: ServiceUnderTest) -> dict[UUID, Any]:
    """When which file is to be removed."""
    query = sa.select(JOB.c.id, JOB.c.due_time).where(JOB.c.kind == "remove_attachment")
    return dict(await sales.database.fetch_all(compile_statement(query)))


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


async def refusal(work: Any) -> tuple[grpc.StatusCode, dict[str, Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await work
    return refused.value.code(), details_of(refused.value)


async def test_a_file_is_added_listed_and_comes_back_as_it_was(sales: ServiceUnderTest) -> None:
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    first = await add(sales, ada, record)
    second = await add(sales, ada, record, b"a;b\n1;2\n", "../numbers.csv")
    assert first.name.startswith(f"{record}/attachments/")
    assert (first.creator, first.file_name) == (ada.name, "offer.pdf")
    assert (first.content_type, first.size_bytes) == ("application/pdf", len(PDF))
    assert first.sha256 == hashlib.sha256(PDF).hexdigest()
    assert (second.file_name, second.content_type) == ("numbers.csv", "text/csv")
    assert await listed(sales, ada, record) == [second, first]
    assert await got(sales, ada, first.name) == first
    assert await downloaded(sales, ada, first.name) == PDF
    assert id_of(first.name) not in await jobs(sales)


async def test_a_download_is_saved_and_never_run(sales: ServiceUnderTest) -> None:
    """INVARIANT: whatever a file is, no browser makes a page of our origin of it."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    page = await add(sales, ada, record, b"<script>alert(1)</script>", 'a"; x=y.html')
    assert page.content_type == "text/html"
    call = stub(sales).DownloadAttachment(
        attachment_pb2.DownloadAttachmentRequest(name=page.name), metadata=ada.metadata
    )
    headers = dict(await call.initial_metadata())
    assert headers["content-disposition"].startswith('attachment; filename="a__ x=y.html"; ')
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert [piece.content_type async for piece in call] == ["application/octet-stream"]


async def test_the_record_tells_that_a_file_came_and_went_without_its_name(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: events hold no personal data."""
    ada = await sales.person("sales.*", *PURGE)
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record, file_name="Ada Lovelace, passport.pdf")
    for verb in ("Delete", "Undelete", "Delete", "Purge"):
        await change(sales, ada, verb, made.name)
    events = await sales.events(made.name, count=5)
    assert [event.type.rpartition(".")[2] for event in events] == [
        "AttachmentCreated", "AttachmentDeleted", "AttachmentUndeleted", "AttachmentDeleted",
        "AttachmentPurged",
    ]  # fmt: skip
    for event in events:
        assert event.message.parent == record
        assert event.message.attachment.content_type == "application/pdf"
        assert not event.message.attachment.file_name
        assert b"Lovelace" not in event.message.SerializeToString()


# -- what is refused


@pytest.mark.parametrize(
    ("content", "file_name", "reason", "field"),
    [
        (b"", "empty.txt", "REQUIRED_FIELD", "file"),
        (PDF, "", "REQUIRED_FIELD", "file_name"),
        (PDF, "..", "INVALID_FIELD", "file_name"),
        (PDF, "a\x00b", "INVALID_FIELD", "file_name"),
        (PDF, "a" * 1001, "INVALID_FIELD", "file_name"),
        (b"<?php phpinfo();", "photo.jpg", "CONTENT_CONTRADICTS_NAME", "file_name"),
        (bytes(25 * receiving.MIB + 1), "big.bin", "ATTACHMENT_TOO_LARGE", "file"),
    ],
    ids=["empty", "no name", "a folder", "nul", "endless name", "no picture", "too large"],
)
async def test_a_bad_file_is_refused_and_leaves_nothing(
    sales: ServiceUnderTest, content: bytes, file_name: str, reason: str, field: str
) -> None:
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    before = await jobs(sales)
    code, details = await refusal(add(sales, ada, record, content, file_name))
    assert (code, details["reason"]) == (Code.INVALID_ARGUMENT, reason)
    assert details["fields"] == [field]
    assert await listed(sales, ada, record, show_deleted=True) == []
    assert (await jobs(sales)).keys() <= before.keys()


async def test_a_request_without_a_message_is_refused(sales: ServiceUnderTest) -> None:
    ada = await sales.person("sales.*")
    nothing: list[attachment_pb2.CreateAttachmentRequest] = []
    code, details = await refusal(
        stub(sales).CreateAttachment(iter(nothing), metadata=ada.metadata)
    )
    assert (code, details["fields"]) == (Code.INVALID_ARGUMENT, ["parent"])


async def test_the_largest_file_that_may_be_is_taken(sales: ServiceUnderTest) -> None:
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record, bytes(25 * receiving.MIB), "big.bin")
    assert made.size_bytes == 25 * receiving.MIB


async def test_a_record_has_so_many_attachments_and_no_more(
    sales: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: also if they come at the same time; what is deleted makes room."""
    monkeypatch.setattr(rows, "MOST_PER_RECORD", 3)
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    adding = [add(sales, ada, record, b"text", f"{i}.txt") for i in range(6)]
    outcomes = await asyncio.gather(*adding, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, grpc.aio.AioRpcError)]
    assert [details_of(error)["reason"] for error in refused] == ["TOO_MANY_ATTACHMENTS"] * 3
    kept = await listed(sales, ada, record)
    await change(sales, ada, "Delete", kept[0].name)
    await add(sales, ada, record, b"text", "a.txt")
    code, details = await refusal(change(sales, ada, "Undelete", kept[0].name))
    assert (code, details["reason"]) == (Code.FAILED_PRECONDITION, "TOO_MANY_ATTACHMENTS")


async def test_too_many_files_at_once_are_refused_and_room_comes_back() -> None:
    """INVARIANT: senders cannot fill the disk, or the memory that is one in a container."""
    room = receiving.Room(most_bytes=10)

    async def sent(*pieces: bytes) -> int:
        async def rest() -> Any:
            for piece in pieces[1:]:
                yield attachment_pb2.CreateAttachmentRequest(file={"data": piece})

        first = attachment_pb2.CreateAttachmentRequest(file={"data": pieces[0]})
        async with room.receive(first, rest(), 1) as received:
            with pytest.raises(receiving.ResourceExhausted):
                async with room.receive(first, rest(), 1):
                    pass
            return received.size_bytes

    assert [await sent(b"four", b"more") for _ in range(3)] == [8, 8, 8]


# -- rights


async def test_a_foreign_record_shows_and_takes_nothing(sales: ServiceUnderTest) -> None:
    """INVARIANT: who may not read the record learns of no attachment, by no method."""
    ada, eve = await sales.person("sales.*"), await sales.person(("sales.*", "OWN"), *PURGE[:1])
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record)
    own = await opportunity(sales, eve)
    by_guess = made.name.replace(record, own)
    for name, parent in ((made.name, record), (by_guess, "opportunities/" + str(uuid4()))):
        for work in (
            got(sales, eve, name),
            downloaded(sales, eve, name),
            listed(sales, eve, parent),
            add(sales, eve, parent),
            *(change(sales, eve, verb, name) for verb in ("Delete", "Undelete", "Purge")),
        ):
            code, details = await refusal(work)
            assert (code, details["reason"]) == (Code.NOT_FOUND, "RECORD_NOT_FOUND")
    assert await listed(sales, ada, record) == [made]


async def test_who_may_only_read_the_record_reads_its_files_and_changes_none(
    sales: ServiceUnderTest,
) -> None:
    ada = await sales.person("sales.*")
    bob = await sales.person("sales.opportunities.get", "sales.attachments.*", *PURGE)
    record = await opportunity(sales, ada)
    made = await add(sales, ada, record)
    assert await downloaded(sales, bob, made.name) == PDF
    for work in (
        add(sales, bob, record),
        *(change(sales, bob, verb, made.name) for verb in ("Delete", "Undelete", "Purge")),
    ):
        code, _ = await refusal(work)
        assert code == Code.PERMISSION_DENIED
    assert await listed(sales, ada, record) == [made]


# -- the end of a file


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


# -- whatever happens


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
