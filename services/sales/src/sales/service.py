"""The sales service's table of contents."""

from pathlib import Path

from crmattachments.part import attachments
from crmkit.service import Service
from crmtransfer.part import bulk_actions, imports_and_exports
from sales.rpc.lead import LeadService
from sales.rpc.opportunity import OpportunityService
from sales.storage.lead import LEADS
from sales.storage.opportunity import OPPORTUNITIES
from sales.storage.personal import PERSONAL
from sales.storage.pipeline import PIPELINES
from sales.storage.product import PRODUCTS
from sales.usecases.convert_lead import CONVERT_LEAD, convert_lead
from sales.usecases.first_start import create_default_pipeline

SERVICE = Service(
    name="sales",
    migrations=Path(__file__).parent / "migrations",
    collections=[PRODUCTS, PIPELINES, OPPORTUNITIES, LEADS],
    parts=[imports_and_exports, bulk_actions, attachments],
    servicers={
        "crm.sales.v1.LeadService": LeadService(),
        "crm.sales.v1.OpportunityService": OpportunityService(),
    },
    jobs={CONVERT_LEAD: convert_lead},
    on_first_start=create_default_pipeline,
    personal=PERSONAL,
)
