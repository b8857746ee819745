"""The marketing service's table of contents."""

from pathlib import Path

from crmkit.service import Service
from marketing.rpc.campaign import CampaignService
from marketing.storage.campaign import CAMPAIGNS

SERVICE = Service(
    name="marketing",
    migrations=Path(__file__).parent / "migrations",
    collections=[CAMPAIGNS],
    servicers={"crm.marketing.v1.CampaignService": CampaignService()},
)
