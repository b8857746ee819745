"""Files attached to opportunities, for the tests of attachments."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa

from crm.common.v1 import attachment_pb2
from crm.sales.v1 import attachment_pb2_grpc, opportunity_pb2, opportunity_pb2_grpc
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

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


def id_of(name: str) -> UUID:
    return UUID(name.rpartition("/")[2])


async def jobs(sales: ServiceUnderTest) -> dict[UUID, Any]:
    """When which file is to be removed."""
    query = sa.select(JOB.c.id, JOB.c.due_time).where(JOB.c.kind == "remove_attachment")
    return dict(await sales.database.fetch_all(compile_statement(query)))


async def refusal(work: Any) -> tuple[grpc.StatusCode, dict[str, Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await work
    return refused.value.code(), details_of(refused.value)
