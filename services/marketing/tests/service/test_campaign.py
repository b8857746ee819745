"""Campaigns over gRPC: what a client may rely on."""

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from crm.marketing.v1 import campaign_pb2, campaign_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Campaign = campaign_pb2.Campaign
START = Timestamp(seconds=1_800_000_000)


def stub(marketing: ServiceUnderTest) -> campaign_pb2_grpc.CampaignServiceStub:
    return campaign_pb2_grpc.CampaignServiceStub(marketing.channel)


async def create(
    marketing: ServiceUnderTest, person: Person, **fields: object
) -> campaign_pb2.Campaign:
    campaign = Campaign(**{"display_name": "Spring", **fields})  # type: ignore[arg-type]
    return await stub(marketing).CreateCampaign(
        campaign_pb2.CreateCampaignRequest(campaign=campaign), metadata=person.metadata
    )


async def test_a_campaign_goes_from_draft_to_archive(marketing: ServiceUnderTest) -> None:
    """INVARIANT: every step is one version and one event, in order."""
    ada = await marketing.person("marketing.*")
    campaign = await create(marketing, ada, start_time=START)
    assert (campaign.state, campaign.kind) == (Campaign.DRAFT, Campaign.MIXED)
    steps = [
        ("Submit", Campaign.PENDING_APPROVAL),
        ("Approve", Campaign.SCHEDULED),
        ("Start", Campaign.SENDING),
        ("Pause", Campaign.PAUSED),
        ("Resume", Campaign.SENDING),
        ("Complete", Campaign.COMPLETED),
        ("Archive", Campaign.ARCHIVED),
    ]
    for verb, state in steps:
        request = getattr(campaign_pb2, f"{verb}CampaignRequest")(
            name=campaign.name, etag=campaign.etag
        )
        method = getattr(stub(marketing), f"{verb}Campaign")
        campaign = await method(request, metadata=ada.metadata)
        assert campaign.state == state
    events = await marketing.events(campaign.name, count=8)
    assert [e.routing_key.rpartition(".")[2] for e in events] == [
        "created", "submitted", "approved", "started", "paused", "resumed", "completed", "archived",
    ]  # fmt: skip
    assert [e.subject_version for e in events] == list(range(1, 9))
    assert events[-1].message.campaign.state == Campaign.ARCHIVED


async def test_a_refused_campaign_says_why(marketing: ServiceUnderTest) -> None:
    """The reason is kept while the draft is changed."""
    ada = await marketing.person("marketing.*")
    campaign = await create(marketing, ada)
    await stub(marketing).SubmitCampaign(
        campaign_pb2.SubmitCampaignRequest(name=campaign.name), metadata=ada.metadata
    )
    refused = await stub(marketing).RejectCampaign(
        campaign_pb2.RejectCampaignRequest(name=campaign.name, reason="too dear"),
        metadata=ada.metadata,
    )
    assert (refused.state, refused.rejection_reason) == (Campaign.DRAFT, "too dear")


async def test_an_illegal_transition_names_the_allowed_methods(marketing: ServiceUnderTest) -> None:
    """INVARIANT: a wrong state is FAILED_PRECONDITION, with what is allowed in its metadata."""
    ada = await marketing.person("marketing.*")
    campaign = await create(marketing, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(marketing).PauseCampaign(
            campaign_pb2.PauseCampaignRequest(name=campaign.name), metadata=ada.metadata
        )
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    found = details_of(refused.value)
    assert found["reason"] == "ILLEGAL_TRANSITION"
    assert found["metadata"]["state"] == "DRAFT"
    assert found["metadata"]["allowed_methods"] == "cancel,schedule,submit"


async def test_scheduling_without_a_start_time_is_refused(marketing: ServiceUnderTest) -> None:
    """INVARIANT: what is scheduled has a start time."""
    ada = await marketing.person("marketing.*")
    campaign = await create(marketing, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(marketing).ScheduleCampaign(
            campaign_pb2.ScheduleCampaignRequest(name=campaign.name), metadata=ada.metadata
        )
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert details_of(refused.value)["reason"] == "START_TIME_REQUIRED"
    assert details_of(refused.value)["fields"] == ["campaign.start_time"]


async def test_a_stale_etag_is_refused(marketing: ServiceUnderTest) -> None:
    """INVARIANT: custom methods check the etag like any change."""
    ada = await marketing.person("marketing.*")
    campaign = await create(marketing, ada)
    await stub(marketing).SubmitCampaign(
        campaign_pb2.SubmitCampaignRequest(name=campaign.name), metadata=ada.metadata
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(marketing).CancelCampaign(
            campaign_pb2.CancelCampaignRequest(name=campaign.name, etag=campaign.etag),
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.ABORTED
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"


async def test_a_campaign_that_ends_before_it_starts_is_refused(
    marketing: ServiceUnderTest,
) -> None:
    """The field at fault is named."""
    ada = await marketing.person("marketing.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(
            marketing, ada, start_time=START, end_time=Timestamp(seconds=START.seconds - 1)
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == ["campaign.end_time"]
