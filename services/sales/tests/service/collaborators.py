"""Opportunities shared with people and teams, for the tests of collaborators."""

from typing import Any

import grpc
import pytest

from crm.common.v1 import (
    collaborator_pb2,
)
from crm.sales.v1 import (
    collaborator_pb2_grpc,
    opportunity_pb2,
    opportunity_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Collaborator = collaborator_pb2.Collaborator
Opportunity = opportunity_pb2.Opportunity
READ, EDIT = Collaborator.READ, Collaborator.EDIT
OWN = ("sales.*", "OWN")


def stub(sales: ServiceUnderTest) -> Any:
    return collaborator_pb2_grpc.CollaboratorServiceStub(sales.channel)


def opportunities(sales: ServiceUnderTest) -> Any:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


async def opportunity(sales: ServiceUnderTest, person: Person, **fields: Any) -> str:
    values = {"display_name": "Ten machines", **fields}
    request = opportunity_pb2.CreateOpportunityRequest(opportunity=Opportunity(**values))
    created = await opportunities(sales).CreateOpportunity(request, metadata=person.metadata)
    return str(created.name)


async def share(
    sales: ServiceUnderTest,
    person: Person,
    record: str,
    *,
    user: str = "",
    team: str = "",
    access: Any = READ,
) -> Any:
    collaborator = Collaborator(user=user, team=team, access=access)
    request = collaborator_pb2.CreateCollaboratorRequest(parent=record, collaborator=collaborator)
    return await stub(sales).CreateCollaborator(request, metadata=person.metadata)


async def unshare(sales: ServiceUnderTest, person: Person, name: str) -> None:
    request = collaborator_pb2.DeleteCollaboratorRequest(name=name)
    await stub(sales).DeleteCollaborator(request, metadata=person.metadata)


async def update(sales: ServiceUnderTest, person: Person, record: str, **fields: Any) -> Any:
    changed = Opportunity(name=record, **fields)
    request = opportunity_pb2.UpdateOpportunityRequest(opportunity=changed)
    return await opportunities(sales).UpdateOpportunity(request, metadata=person.metadata)


async def delete(sales: ServiceUnderTest, person: Person, record: str) -> Any:
    request = opportunity_pb2.DeleteOpportunityRequest(name=record)
    return await opportunities(sales).DeleteOpportunity(request, metadata=person.metadata)


async def listed(sales: ServiceUnderTest, person: Person, **fields: Any) -> list[str]:
    """The names of all pages."""
    request, names = opportunity_pb2.ListOpportunitiesRequest(**fields), []
    while True:
        page = await opportunities(sales).ListOpportunities(request, metadata=person.metadata)
        names += [o.name for o in page.opportunities]
        if not page.next_page_token:
            return names
        request.page_token = page.next_page_token


async def refused(attempt: Any) -> tuple[grpc.StatusCode, str]:
    """Code and reason."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await attempt
    return error.value.code(), details_of(error.value)["reason"]
