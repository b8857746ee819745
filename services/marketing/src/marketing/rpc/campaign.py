"""What happens to campaigns besides being written."""

from crm.marketing.v1 import campaign_pb2
from crmkit.call import Call
from marketing.domain.campaign import Campaign
from marketing.storage.campaign import CAMPAIGNS


class CampaignService:
    """Approval, running and ending; the standard methods come from the kit."""

    async def SubmitCampaign(
        self, request: campaign_pb2.SubmitCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Asks for approval."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.submit()
        return _message(campaign)

    async def ApproveCampaign(
        self, request: campaign_pb2.ApproveCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Agrees and schedules."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.approve()
        return _message(campaign)

    async def RejectCampaign(
        self, request: campaign_pb2.RejectCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Sends back to draft."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.reject(request.reason)
        return _message(campaign)

    async def ScheduleCampaign(
        self, request: campaign_pb2.ScheduleCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Schedules a draft that needs no approval."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.schedule()
        return _message(campaign)

    async def StartCampaign(
        self, request: campaign_pb2.StartCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Starts a scheduled campaign now."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.start()
        return _message(campaign)

    async def PauseCampaign(
        self, request: campaign_pb2.PauseCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Stops a campaign until it is resumed."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.pause()
        return _message(campaign)

    async def ResumeCampaign(
        self, request: campaign_pb2.ResumeCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Lets a paused campaign go on."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.resume()
        return _message(campaign)

    async def CompleteCampaign(
        self, request: campaign_pb2.CompleteCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Ends a running campaign."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.complete()
        return _message(campaign)

    async def CancelCampaign(
        self, request: campaign_pb2.CancelCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Gives a campaign up."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.cancel()
        return _message(campaign)

    async def ArchiveCampaign(
        self, request: campaign_pb2.ArchiveCampaignRequest, call: Call
    ) -> campaign_pb2.Campaign:
        """Puts an ended campaign away."""
        async with CAMPAIGNS.changing(call, request) as campaign:
            campaign.archive()
        return _message(campaign)


def _message(campaign: Campaign) -> campaign_pb2.Campaign:
    message: campaign_pb2.Campaign = CAMPAIGNS.message(campaign)
    return message
