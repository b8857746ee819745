"""Documents over gRPC, shown with accounts: versions, folders, the trash, and the day they expire."""

from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import attachment_pb2, document_pb2
from crmkit.clock import now
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

from .documents import (
    Code,
    Document,
    account,
    change,
    content_of,
    files,
    listed,
    made,
    refusal,
    stub,
    update,
    version,
    versions,
)

PURGE = "customer.attachments.purge"  # in no wildcard but `*`


async def of_file(customer: ServiceUnderTest, person: Person, verb: str, name: str) -> Any:
    request = getattr(attachment_pb2, f"{verb}AttachmentRequest")(name=name)
    return await getattr(files(customer), f"{verb}Attachment")(request, metadata=person.metadata)


async def test_a_new_version_is_the_document_and_the_older_ones_stay(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: each version is downloaded as it was, and says who added it, when, and why."""
    ada, ben = await customer.person("customer.*"), await customer.person("customer.*")
    record = await account(customer, ada)
    first = await made(customer, ada, record, title="Offer", comment="draft", tags=["Ten", "ten "])
    assert (first.title, first.version_number, list(first.tags)) == ("Offer", 1, ["ten"])
    second = await version(customer, ben, first.name, b"two", comment="signed", etag=first.etag)
    assert (second.name, second.version_number, second.title) == (first.name, 2, "Offer")
    assert (second.creator, second.create_time) == (first.creator, first.create_time)
    assert second.etag != first.etag
    assert await content_of(customer, ada, first.name) == b"two"
    two, one = await versions(customer, ada, first.name)
    assert second.current_version == two.name
    assert [(v.version_number, v.creator, v.comment, v.file_name) for v in (one, two)] == [
        (1, ada.name, "draft", "offer.txt"),
        (2, ben.name, "signed", "offer.txt"),
    ]
    assert one.create_time.ToDatetime() < two.create_time.ToDatetime()
    assert [await content_of(customer, ada, v.name) for v in (one, two)] == [b"one", b"two"]
    assert await listed(customer, ada, record) == [second]
    assert {v.document for v in (one, two)} == {first.name}
    late = version(customer, ada, first.name, b"three", etag=first.etag)
    assert (await refusal(late))[:2] == (Code.ABORTED, "ETAG_MISMATCH")


async def test_what_was_attached_is_a_document_with_one_version(customer: ServiceUnderTest) -> None:
    """INVARIANT: the older paths show the same files, and what is done there counts here."""
    ada = await customer.person("customer.*", PURGE)
    record = await account(customer, ada)
    upload = attachment_pb2.CreateAttachmentRequest(parent=record, file_name="a.txt")
    upload.file.data = b"text"
    one = await files(customer).CreateAttachment(iter([upload]), metadata=ada.metadata)
    (document,) = await listed(customer, ada, record)
    assert document.name == one.document == one.name.replace("attachments", "documents")
    assert (document.title, document.current_version) == ("a.txt", one.name)
    newer = await version(customer, ada, document.name, b"newer", file_name="b.txt")
    two = newer.current_version
    await of_file(customer, ada, "Delete", two)  # the newest goes: the one before counts again
    back = await change(customer, ada, "Get", document.name)
    assert (back.current_version, back.version_number, back.HasField("delete_time")) == (
        one.name, 1, False,
    )  # fmt: skip
    await of_file(customer, ada, "Delete", one.name)  # the last goes: so does the document
    assert (await change(customer, ada, "Get", document.name)).HasField("delete_time")
    assert await listed(customer, ada, record) == []
    await of_file(customer, ada, "Undelete", one.name)
    (there,) = await listed(customer, ada, record)
    assert there.version_number == 1
    await of_file(customer, ada, "Undelete", two)
    (there,) = await listed(customer, ada, record)
    assert (there.version_number, there.file_name) == (2, "b.txt")
    await of_file(customer, ada, "Delete", one.name)
    await of_file(customer, ada, "Purge", one.name)  # its first version is gone for good: it stays
    (there,) = await listed(customer, ada, record)
    assert (there.name, there.version_number) == (document.name, 2)
    assert there.create_time == document.create_time


async def test_documents_are_renamed_moved_and_found(customer: ServiceUnderTest) -> None:
    """INVARIANT: filters and orders name what a document shows; no record is looked past."""
    ada, ben = await customer.person("customer.*"), await customer.person()
    record, other = await account(customer, ada), await account(customer, ada)
    soon, late = now() + timedelta(days=10), now() + timedelta(days=400)
    lease = await made(
        customer, ada, record, title="Lease", folder="/contracts//2026 ", tags=["signed"],
        expire_time=soon,
    )  # fmt: skip
    await made(customer, ada, record, title="Plan", folder="contracts", expire_time=late)
    await made(customer, ada, other, title="Note")
    assert lease.folder == "contracts/2026"
    for filter_, titles in {
        'folder = "contracts"': ["Plan"],
        'folder = "contracts" OR folder = "contracts/*"': ["Lease", "Plan"],
        'tags:"signed"': ["Lease"],
        f'expire_time < "{(now() + timedelta(days=30)).date()}"': ["Lease"],
        "expire_time:*": ["Lease", "Plan"],
        'title:"lea"': ["Lease"],
        'content_type = "text/plain" AND version_number = 1 AND size_bytes = 3': ["Lease", "Plan"],
    }.items():
        found = await listed(customer, ada, record, filter=filter_, order_by="title")
        assert [document.title for document in found] == titles, filter_
    everywhere = await listed(customer, ada, "accounts/-", order_by="title desc")
    assert {"Lease", "Plan", "Note"} <= {document.title for document in everywhere}
    assert (await refusal(listed(customer, ben, "accounts/-")))[0] == Code.PERMISSION_DENIED
    moved = Document(name=lease.name, etag=lease.etag, title="", folder="archive")
    moved = await update(customer, ada, moved, "title", "folder", "expire_time")
    assert (moved.title, moved.folder, moved.HasField("expire_time")) == (
        "offer.txt",
        "archive",
        False,
    )
    assert list(moved.tags) == ["signed"]  # not in the mask
    again = await version(customer, ada, lease.name, b"new")
    assert (again.folder, list(again.tags)) == ("archive", ["signed"])
    assert await update(customer, ada, Document(name=lease.name, folder="archive")) == again
    stale = Document(name=lease.name, etag=lease.etag, folder="x")
    assert (await refusal(update(customer, ada, stale)))[1] == "ETAG_MISMATCH"


async def test_a_list_goes_on_where_it_ended(customer: ServiceUnderTest) -> None:
    """INVARIANT: pages hold each document once, in the order asked for."""
    ada = await customer.person("customer.*")
    record = await account(customer, ada)
    for title in ("b", "a", "c", "a"):
        await made(customer, ada, record, title=title)
    request = document_pb2.ListDocumentsRequest(parent=record, page_size=1, order_by="title")
    found = []
    for _ in range(4):
        page = await stub(customer).ListDocuments(request, metadata=ada.metadata)
        found += page.documents
        request.page_token = page.next_page_token
    assert [document.title for document in found] == ["a", "a", "b", "c"]
    assert len({document.name for document in found}) == 4
    assert not request.page_token
    foreign = {"page_token": (await stub(customer).ListDocuments(
        document_pb2.ListDocumentsRequest(parent=record, page_size=1), metadata=ada.metadata
    )).next_page_token}  # fmt: skip
    other = listed(customer, ada, record, order_by="title", **foreign)
    assert (await refusal(other))[1] == "INVALID_PAGE_TOKEN"


async def test_a_document_goes_to_the_trash_and_comes_back_with_its_versions(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: deleting and restoring is one thing for all versions; purging removes all of them."""
    ada = await customer.person("customer.*", PURGE)
    record = await account(customer, ada)
    document = await made(customer, ada, record)
    await version(customer, ada, document.name, b"two")
    await version(customer, ada, document.name, b"three")
    _, middle, _ = await versions(customer, ada, document.name)
    await of_file(customer, ada, "Delete", middle.name)
    assert (await change(customer, ada, "Get", document.name)).version_number == 3
    gone = await change(customer, ada, "Delete", document.name)
    assert gone.purge_time.ToDatetime() > gone.delete_time.ToDatetime()
    assert await versions(customer, ada, document.name) == []
    assert (await refusal(change(customer, ada, "Delete", document.name)))[1] == "ALREADY_DELETED"
    refused = version(customer, ada, document.name, b"x"), update(customer, ada, gone, "title")
    assert [(await refusal(work))[1] for work in refused] == ["DOCUMENT_DELETED"] * 2
    await change(customer, ada, "Undelete", document.name)
    back = await versions(customer, ada, document.name)
    assert [v.version_number for v in back] == [3, 1]  # the second was deleted before
    assert await content_of(customer, ada, document.name) == b"three"
    assert (await refusal(change(customer, ada, "Undelete", document.name)))[1] == "NOT_DELETED"
    await change(customer, ada, "Delete", document.name)
    await change(customer, ada, "Purge", document.name)
    assert (await refusal(change(customer, ada, "Get", document.name)))[0] == Code.NOT_FOUND
    assert await versions_left(customer, document.name) == 0


async def versions_left(customer: ServiceUnderTest, name: str) -> int:
    query = sa.text("SELECT count(*) FROM attachment WHERE id = :id OR document = :id").bindparams(
        sa.bindparam("id", type_=sa.Uuid)
    )
    id_ = UUID(name.rpartition("/")[2])
    row = await customer.database.fetch_one(compile_statement(query), {"id": id_})
    assert row is not None
    return int(row[0])


async def test_a_document_tells_when_it_expires_once_and_only_if_it_still_does(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: `document.expired` comes at the time that holds, and never for what was deleted."""
    ada = await customer.person("customer.*")
    record = await account(customer, ada)
    time = now().replace(microsecond=0) + timedelta(days=30)
    kept, moved, deleted = [
        await made(customer, ada, record, title="Secret of Ada", expire_time=time) for _ in range(3)
    ]
    moved.expire_time.FromDatetime(time + timedelta(days=1))
    await update(customer, ada, moved, "expire_time")
    await change(customer, ada, "Delete", deleted.name)
    assert (await customer.events(kept.name))[0].routing_key == "customer.document.created"
    statement = (
        sa.update(JOB)
        .where(JOB.c.kind == "document_expiry", JOB.c.arguments["time"].astext == time.isoformat())
        .values(due_time=sa.func.now())
    )
    await customer.database.execute(compile_statement(statement))
    events = await customer.events(kept.name, count=2)
    expired = events[1]
    assert expired.routing_key == "customer.document.expired"
    assert (expired.message.parent, expired.owner) == (record, ada.id)
    assert expired.message.document.expire_time.ToDatetime(UTC) == time

    async def worked_off() -> bool:
        query = sa.select(sa.func.count()).where(
            JOB.c.kind == "document_expiry", JOB.c.due_time <= sa.func.now()
        )
        row = await customer.database.fetch_one(compile_statement(query))
        return row is not None and row[0] == 0

    await eventually(worked_off)
    for document, past in ((moved, ["created", "updated"]), (deleted, ["created", "deleted"])):
        told = await customer.events(document.name, count=2)
        assert [e.routing_key.rpartition(".")[2] for e in told] == past
    for event in [*events, *told]:
        assert b"Secret" not in event.message.SerializeToString()
