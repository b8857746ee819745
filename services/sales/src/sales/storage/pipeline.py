"""Where pipelines are kept, and what they owe to opportunities and to one another."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.sales.v1 import pipeline_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition
from crmkit.statements import TEXT, compile_statement, record_table
from sales.domain.pipeline import Pipeline
from sales.storage.schema import SALES

_NOT_DELETED = sa.text("delete_time IS NULL")

pipelines = record_table(
    "pipelines",
    SALES,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("stages", JSONB, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Index(
        "uq_pipelines_display_name", "display_name", unique=True, postgresql_where=_NOT_DELETED
    ),
    sa.Index(
        "uq_pipelines_is_default",
        "is_default",
        unique=True,
        postgresql_where=sa.text("is_default AND delete_time IS NULL"),
    ),
)

_DEFAULT = compile_statement(
    sa.select(pipelines.c.id).where(pipelines.c.is_default, pipelines.c.delete_time.is_(None))
)
_IN_USE = compile_statement(
    sa.text(
        """
        SELECT stage FROM opportunities
        WHERE pipeline = :pipeline AND stage = ANY(:stages) AND delete_time IS NULL LIMIT 1
        """
    ).bindparams(
        sa.bindparam("pipeline", type_=sa.Uuid), sa.bindparam("stages", type_=sa.ARRAY(sa.Text))
    )
)
# Opportunities enter stages under the shared lock, stages go under the exclusive one: nobody enters
# a stage while it is being removed.
_LOCK_TO_ENTER = compile_statement(sa.text("SELECT pg_advisory_xact_lock_shared(1)"))
_LOCK_TO_REMOVE = compile_statement(sa.text("SELECT pg_advisory_xact_lock(1)"))
_HANDOVER = "default pipeline is handed over"


async def keep_order(call: Call, after: Pipeline, before: Pipeline | None) -> None:
    """Stages keep their names, stages in use stay, and one pipeline is the default."""
    after.name_stages(before.stages if before else ())
    if before is not None:
        await _refuse_removal_in_use(call, after, before)
        if not call.state.get(_HANDOVER):
            after.refuse_losing_default(before)
    if after.is_default and not (before and before.is_default):
        await _hand_over_default(call, after)


async def _refuse_removal_in_use(call: Call, after: Pipeline, before: Pipeline) -> None:
    deleted = after.delete_time is not None and before.delete_time is None
    removed = [s.name for s in before.stages] if deleted else after.removed_stages(before.stages)
    if not removed:
        return
    await call.tx.execute(_LOCK_TO_REMOVE)
    row = await call.tx.fetch_one(_IN_USE, {"pipeline": after.id, "stages": removed})
    if row is not None:
        stage = before.stage(row[0])
        msg = f"Opportunities stand in {stage.display_name if stage else row[0]}; move them first."
        raise FailedPrecondition(
            msg, reason="STAGE_IN_USE", field="pipeline.stages", metadata={"stage": row[0]}
        )


async def _hand_over_default(call: Call, after: Pipeline) -> None:
    row = await call.tx.fetch_one(_DEFAULT)
    if row is None or row[0] == after.id:
        return
    call.state[_HANDOVER] = True
    try:
        former = await PIPELINES.for_change(call, row[0])
        former.is_default = False
        await PIPELINES.save(call, former)
    finally:
        del call.state[_HANDOVER]


async def default_pipeline_id(call: Call) -> UUID | None:
    """The id of the default pipeline, read once; None only before the first start has ended."""
    found: UUID | None = call.state.get("default pipeline")
    if found is None:
        row = await call.reader.fetch_one(_DEFAULT)
        found = call.state["default pipeline"] = row[0] if row else None
    return found


async def pipeline_to_enter(call: Call, pipeline_id: UUID) -> Pipeline:
    """A pipeline whose stages stay until this work is committed; it is read once.

    Raises:
        NotFound: There is none.
    """
    key = ("pipeline", pipeline_id)
    found: Pipeline | None = call.state.get(key)
    if found is None:
        await call.tx.execute(_LOCK_TO_ENTER)
        found = await PIPELINES.get(call, pipeline_id, field="opportunity.pipeline")
        call.state[key] = found
    return found


PIPELINES = Collection(pipeline_pb2.Pipeline, Pipeline, pipelines, rule=keep_order)
