"""Documents made, changed and read, for the tests of documents."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from crm.common.v1 import attachment_pb2, document_pb2
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    attachment_pb2_grpc,
    document_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Document = document_pb2.Document
Code = grpc.StatusCode


def stub(customer: ServiceUnderTest) -> document_pb2_grpc.DocumentServiceStub:
    return document_pb2_grpc.DocumentServiceStub(customer.channel)


def files(customer: ServiceUnderTest) -> attachment_pb2_grpc.AttachmentServiceStub:
    return attachment_pb2_grpc.AttachmentServiceStub(customer.channel)


async def account(customer: ServiceUnderTest, person: Person) -> str:
    request = account_pb2.CreateAccountRequest(account=account_pb2.Account(display_name="Acme"))
    accounts = account_pb2_grpc.AccountServiceStub(customer.channel)
    return str((await accounts.CreateAccount(request, metadata=person.metadata)).name)


async def made(
    customer: ServiceUnderTest, person: Person, parent: str, content: bytes = b"one", **fields: Any
) -> Document:
    def pieces() -> Iterator[document_pb2.CreateDocumentRequest]:
        said = {"file_name": "offer.txt", **fields}
        request = document_pb2.CreateDocumentRequest(parent=parent, **said)
        request.file.data = content
        yield request

    return await stub(customer).CreateDocument(pieces(), metadata=person.metadata)


async def version(
    customer: ServiceUnderTest, person: Person, name: str, content: bytes, **fields: Any
) -> Document:
    def pieces() -> Iterator[document_pb2.AddDocumentVersionRequest]:
        request = document_pb2.AddDocumentVersionRequest(name=name, **fields)
        request.file.data = content[:1]
        yield request
        request = document_pb2.AddDocumentVersionRequest()
        request.file.data = content[1:]
        yield request

    return await stub(customer).AddDocumentVersion(pieces(), metadata=person.metadata)


async def change(customer: ServiceUnderTest, person: Person, verb: str, name: str, **f: Any) -> Any:
    request = getattr(document_pb2, f"{verb}DocumentRequest")(name=name, **f)
    return await getattr(stub(customer), f"{verb}Document")(request, metadata=person.metadata)


async def update(
    customer: ServiceUnderTest, person: Person, document: Document, *mask: str
) -> Document:
    request = document_pb2.UpdateDocumentRequest(document=document)
    request.update_mask.paths.extend(mask)
    return await stub(customer).UpdateDocument(request, metadata=person.metadata)


async def listed(
    customer: ServiceUnderTest, person: Person, parent: str, **fields: Any
) -> list[Document]:
    request = document_pb2.ListDocumentsRequest(parent=parent, **fields)
    return list((await stub(customer).ListDocuments(request, metadata=person.metadata)).documents)


async def versions(
    customer: ServiceUnderTest, person: Person, name: str, **fields: Any
) -> list[attachment_pb2.Attachment]:
    request = document_pb2.ListDocumentVersionsRequest(parent=name, **fields)
    page = await stub(customer).ListDocumentVersions(request, metadata=person.metadata)
    return list(page.versions)


async def content_of(customer: ServiceUnderTest, person: Person, name: str) -> bytes:
    """Of a document, or of an attachment."""
    if "/documents/" in name:
        stream = stub(customer).DownloadDocument(
            document_pb2.DownloadDocumentRequest(name=name), metadata=person.metadata
        )
    else:
        stream = files(customer).DownloadAttachment(
            attachment_pb2.DownloadAttachmentRequest(name=name), metadata=person.metadata
        )
    return b"".join([piece.data async for piece in stream])


async def refusal(work: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await work
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details.get("fields", [])
