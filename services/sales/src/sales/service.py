"""The sales service's table of contents."""

from pathlib import Path

from crmattachments.part import attachments
from crmkit.service import Service
from crmtransfer.part import bulk_actions, imports_and_exports
from sales.rpc.opportunity import OpportunityService
from sales.storage.opportunity import OPPORTUNITIES
from sales.storage.pipeline import PIPELINES
from sales.storage.product import PRODUCTS
from sales.usecases.first_start import create_default_pipeline

SERVICE = Service(
    name="sales",
    migrations=Path(__file__).parent / "migrations",
    collections=[PRODUCTS, PIPELINES, OPPORTUNITIES],
    parts=[imports_and_exports, bulk_actions, attachments],
    servicers={"crm.sales.v1.OpportunityService": OpportunityService()},
    on_first_start=create_default_pipeline,
)
