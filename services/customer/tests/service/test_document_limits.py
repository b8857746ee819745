"""Documents over gRPC, shown with accounts: who may change them, what is refused, and repeats."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from crmattachments import document_service
from crmkit.testing.harness import ServiceUnderTest

from .documents import (
    Code,
    Document,
    account,
    change,
    content_of,
    listed,
    made,
    refusal,
    update,
    version,
    versions,
)


async def test_who_may_not_change_the_record_changes_no_document(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a document has the rights of its record, and a foreign one shows nothing."""
    rights = "customer.attachments.*"
    ada = await customer.person("customer.*")
    reader = await customer.person("customer.accounts.get", rights)
    stranger = await customer.person(("customer.*", "OWN"))
    record = await account(customer, ada)
    document = await made(customer, ada, record)
    assert await listed(customer, reader, record) == [document]
    assert await content_of(customer, reader, document.name) == b"one"
    for work in (
        made(customer, reader, record),
        version(customer, reader, document.name, b"x"),
        update(customer, reader, Document(name=document.name, title="x")),
        change(customer, reader, "Delete", document.name),
    ):
        assert (await refusal(work))[0] == Code.PERMISSION_DENIED
    for work in (
        listed(customer, stranger, record),
        change(customer, stranger, "Get", document.name),
        version(customer, stranger, document.name, b"x"),
        update(customer, stranger, Document(name=document.name, title="x")),
    ):
        assert (await refusal(work))[0] == Code.NOT_FOUND
    assert document.name not in {d.name for d in await listed(customer, stranger, "accounts/-")}


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"folder": "a/../b"}, "INVALID_FIELD", "folder"),
        ({"folder": "/".join("abcdefghijk")}, "INVALID_FIELD", "folder"),
        ({"tags": ["x" * 51]}, "INVALID_FIELD", "tags[0]"),
        ({"title": "x" * 301}, "INVALID_FIELD", "title"),
        ({"title": "offer\u202efdp.exe"}, "INVALID_FIELD", "title"),
        ({"folder": "a/\x1b[2J"}, "INVALID_FIELD", "folder"),
        ({"tags": ["fine", "\u2067signed"]}, "INVALID_FIELD", "tags[1]"),
        ({"comment": "as \x00 agreed"}, "INVALID_FIELD", "comment"),
        ({"file_name": "../.."}, "INVALID_FIELD", "file_name"),
        ({"content": b""}, "REQUIRED_FIELD", "file"),
        ({"expire_time": {"seconds": 10**15}}, "INVALID_FIELD", "expire_time"),
    ],
)
async def test_what_is_no_document_is_refused_and_named(
    customer: ServiceUnderTest, fields: dict[str, Any], reason: str, field: str
) -> None:
    ada = await customer.person("customer.*")
    record = await account(customer, ada)
    assert await refusal(made(customer, ada, record, **fields)) == (
        Code.INVALID_ARGUMENT, reason, [field],
    )  # fmt: skip


async def test_an_update_or_a_version_holds_no_control_characters_either(
    customer: ServiceUnderTest,
) -> None:
    ada = await customer.person("customer.*")
    document = await made(customer, ada, await account(customer, ada))
    wrong = Document(name=document.name, title="offer\u202efdp.exe")
    for attempt, field in (
        (update(customer, ada, wrong, "title"), "document.title"),
        (version(customer, ada, document.name, b"two", comment="\u2066"), "comment"),
    ):
        assert await refusal(attempt) == (Code.INVALID_ARGUMENT, "INVALID_FIELD", [field])


async def test_a_wrong_name_or_filter_is_refused_and_named(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    record = await account(customer, ada)
    document = await made(customer, ada, record)
    second = await version(customer, ada, document.name, b"two")
    of_version = second.current_version.replace("attachments", "documents")
    nobody = f"{record}/documents/{uuid4()}"
    for name in (of_version, nobody):  # only the first version's id is the document's
        assert (await refusal(change(customer, ada, "Get", name)))[0] == Code.NOT_FOUND
    assert (await refusal(change(customer, ada, "Get", "x")))[2] == ["name"]
    assert (await refusal(listed(customer, ada, "nothing/-")))[2] == ["parent"]
    assert (await refusal(listed(customer, ada, record, filter="sha256 = x")))[
        1
    ] == "INVALID_FILTER"
    assert (await refusal(listed(customer, ada, record, order_by="tags")))[1] == "INVALID_ORDER_BY"
    wrong = update(customer, ada, document, "file_name")
    assert (await refusal(wrong))[2] == ["update_mask"]


async def test_a_repeat_makes_one_version_and_there_are_so_many(
    customer: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: a client that lost the answer sends again and gets it."""
    ada = await customer.person("customer.*")
    record = await account(customer, ada)
    id_ = str(uuid4())
    first = await made(customer, ada, record, request_id=id_)
    assert await made(customer, ada, record, request_id=id_) == first
    again = {"request_id": str(uuid4())}
    second = await version(customer, ada, first.name, b"two", **again)
    assert await version(customer, ada, first.name, b"two", **again) == second
    other = version(customer, ada, first.name, b"other", **again)
    assert (await refusal(other))[1] == "REQUEST_ID_REUSED"
    monkeypatch.setattr(document_service, "MOST_VERSIONS", 2)
    full = version(customer, ada, first.name, b"three")
    assert (await refusal(full))[:2] == (Code.FAILED_PRECONDITION, "TOO_MANY_VERSIONS")


async def test_two_who_add_a_version_at_once_make_two(customer: ServiceUnderTest) -> None:
    """INVARIANT: version numbers are given once, and one version is the document."""
    ada = await customer.person("customer.*")
    document = await made(customer, ada, await account(customer, ada))
    await asyncio.gather(
        *(version(customer, ada, document.name, text) for text in (b"two", b"three", b"four"))
    )
    numbers = [v.version_number for v in await versions(customer, ada, document.name)]
    assert sorted(numbers) == [1, 2, 3, 4]
    assert (await change(customer, ada, "Get", document.name)).version_number == 4
