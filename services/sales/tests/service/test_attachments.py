"""Attachments over gRPC, shown with opportunities: how they come, who sees them, what is refused."""

import asyncio
import hashlib
from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import attachment_pb2
from crmattachments import receiving, rows
from crmkit.testing.harness import ServiceUnderTest, details_of

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
    opportunity,
    refusal,
    stub,
)


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
