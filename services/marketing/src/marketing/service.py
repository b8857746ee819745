"""The marketing service's table of contents."""

from pathlib import Path

from crmattachments.part import attachments
from crmkit.service import Service
from crmtransfer.part import bulk_actions, imports_and_exports
from marketing.rpc.campaign import CampaignService
from marketing.storage.campaign import CAMPAIGNS

SERVICE = Service(
    name="marketing",
    migrations=Path(__file__).parent / "migrations",
    collections=[CAMPAIGNS],
    parts=[imports_and_exports, bulk_actions, attachments],
    servicers={"crm.marketing.v1.CampaignService": CampaignService()},
)
