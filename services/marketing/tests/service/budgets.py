"""Campaigns read and changed by who may see their budget and who may not."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.money_pb2 import Money

from crm.marketing.v1 import (
    campaign_pb2,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from .test_campaign import Campaign, stub

BUDGET = Money(currency_code="EUR", units=5000)
MORE = Money(currency_code="EUR", units=5001)
READ = "marketing.campaigns.read_sensitive"
WORK = (
    *(f"marketing.campaigns.{verb}" for verb in ("get", "list", "create", "update")),
    "marketing.events.list", "marketing.exports.*", "marketing.imports.*",
)  # fmt: skip


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return (
        refused.value.code(),
        details_of(refused.value)["reason"],
        details_of(refused.value)["fields"],
    )


DENIED = (grpc.StatusCode.PERMISSION_DENIED, "FIELD_HIDDEN", ["campaign.budget"])


async def get(marketing: ServiceUnderTest, person: Person, name: str) -> Any:
    request = campaign_pb2.GetCampaignRequest(name=name)
    return await stub(marketing).GetCampaign(request, metadata=person.metadata)


async def update(
    marketing: ServiceUnderTest, person: Person, name: str, *mask: str, **fields: Any
) -> Any:
    request = campaign_pb2.UpdateCampaignRequest(
        campaign=Campaign(name=name, **fields), update_mask=FieldMask(paths=mask) if mask else None
    )
    return await stub(marketing).UpdateCampaign(request, metadata=person.metadata)


async def listed(marketing: ServiceUnderTest, person: Person, **arguments: Any) -> list[Any]:
    request = campaign_pb2.ListCampaignsRequest(page_size=1000, **arguments)
    page = await stub(marketing).ListCampaigns(request, metadata=person.metadata)
    return list(page.campaigns)
