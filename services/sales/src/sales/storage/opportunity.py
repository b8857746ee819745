"""Where opportunities are kept, and what they take from pipelines and products."""

from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.sales.v1 import opportunity_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition
from crmkit.following import recorded_index
from crmkit.statements import TEXT, TIMESTAMP, money_columns, record_table
from sales.domain.line import check_lines
from sales.domain.opportunity import Opportunity
from sales.domain.pipeline import Pipeline
from sales.storage.pipeline import default_pipeline_id, pipeline_to_enter
from sales.storage.product import PRODUCTS
from sales.storage.schema import SALES

opportunities = record_table(
    "opportunities",
    SALES,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("account", sa.Uuid),
    sa.Column("account_as_recorded", sa.Uuid),
    sa.Column("pipeline", sa.Uuid, nullable=False),
    sa.Column("stage", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    *money_columns("amount"),
    sa.Column("amount_source", TEXT),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("probability_source", TEXT, nullable=False),
    sa.Column("expected_close_date", sa.Date),
    sa.Column("open_time", TIMESTAMP),
    sa.Column("close_time", TIMESTAMP),
    sa.Column("lost_reason", TEXT),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("lines", JSONB, nullable=False),
    sa.Column("next_step", TEXT),
    sa.Column("last_open_stage", TEXT),
    sa.Column("last_open_probability", sa.Double),
    sa.Index("ix_opportunities_account", "account", "id"),
    *recorded_index("opportunities", "account"),
    sa.Index("ix_opportunities_pipeline_stage", "pipeline", "stage", "id"),
    sa.Index("ix_opportunities_expected_close_date", "expected_close_date", "id"),
)


async def follow_pipeline_and_lines(
    call: Call, after: Opportunity, before: Opportunity | None
) -> None:
    """A new opportunity enters its pipeline; amount and probability follow lines and stage."""
    if call.restoring:  # both come back with what they had followed
        return
    if before is None:
        await _begin(call, after)
    elif after.stage != before.stage or after.probability != before.probability:
        await _settle_probability(call, after, before)
    if before is None or after.lines != before.lines:
        await _price_lines(call, after)
    after.settle_amount(before)


async def _begin(call: Call, opportunity: Opportunity) -> None:
    if opportunity.pipeline is None:
        opportunity.pipeline = await default_pipeline_id(call)
    pipeline = await pipeline_of(call, opportunity)
    if call.imported:
        opportunity.begin_with_history(pipeline)
    else:
        opportunity.begin(pipeline)
    await _settle_probability(call, opportunity, None)


async def pipeline_of(call: Call, opportunity: Opportunity) -> Pipeline:
    """The pipeline an opportunity moves through, its stages held until this work is committed."""
    if opportunity.pipeline is None:
        msg = "There is no default pipeline; name one."
        raise FailedPrecondition(msg, reason="NO_DEFAULT_PIPELINE", field="opportunity.pipeline")
    return await pipeline_to_enter(call, opportunity.pipeline)


async def _settle_probability(call: Call, after: Opportunity, before: Opportunity | None) -> None:
    stage = (await pipeline_of(call, after)).stage(after.stage)
    if stage is not None:
        after.settle_probability(before, stage)


async def _price_lines(call: Call, opportunity: Opportunity) -> None:
    """Lines without a price take the product's list price.

    Not in an import: the file says what a deal was worth, an absent amount is not the list price.
    """
    wanted = [line.product for line in opportunity.lines if line.unit_price is None]
    if call.imported or not wanted:
        return
    prices = {p.id: p.unit_price for p in await PRODUCTS.get_many(call, wanted)}
    opportunity.lines = [
        replace(line, unit_price=line.unit_price or prices.get(line.product))
        for line in opportunity.lines
    ]
    check_lines(opportunity.lines)


OPPORTUNITIES = Collection(
    opportunity_pb2.Opportunity,
    Opportunity,
    opportunities,
    natural_key="",  # a customer may have the same need again
    rule=follow_pipeline_and_lines,
    import_fields=["state", "stage", "open_time", "close_time", "lost_reason"],
    private=frozenset({"last_open_stage", "last_open_probability"}),
)
