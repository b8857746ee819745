"""Pipelines over gRPC: stages in use stay, and one pipeline is the default."""

import asyncio
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from crm.sales.v1 import (
    opportunity_pb2,
    opportunity_pb2_grpc,
    pipeline_pb2,
    pipeline_pb2_grpc,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from sales.usecases.first_start import create_default_pipeline

Pipeline = pipeline_pb2.Pipeline
Stage = pipeline_pb2.Pipeline.Stage


def stub(sales: ServiceUnderTest) -> pipeline_pb2_grpc.PipelineServiceStub:
    return pipeline_pb2_grpc.PipelineServiceStub(sales.channel)


async def create(
    sales: ServiceUnderTest, person: Person, **fields: object
) -> pipeline_pb2.Pipeline:
    stages = [
        Stage(display_name="First", category=Stage.OPEN, default_probability=0.2),
        Stage(display_name="Second", category=Stage.OPEN, default_probability=0.4),
        Stage(display_name="Won", category=Stage.WON),
        Stage(display_name="Lost", category=Stage.LOST),
    ]
    pipeline = Pipeline(**{"display_name": f"P {uuid4()}", "stages": stages, **fields})  # type: ignore[arg-type]
    return await stub(sales).CreatePipeline(
        pipeline_pb2.CreatePipelineRequest(pipeline=pipeline), metadata=person.metadata
    )


async def update(
    sales: ServiceUnderTest, person: Person, pipeline: pipeline_pb2.Pipeline, *paths: str
) -> pipeline_pb2.Pipeline:
    return await stub(sales).UpdatePipeline(
        pipeline_pb2.UpdatePipelineRequest(pipeline=pipeline, update_mask=FieldMask(paths=paths)),
        metadata=person.metadata,
    )


async def default_pipelines(sales: ServiceUnderTest, person: Person) -> list[pipeline_pb2.Pipeline]:
    page = await stub(sales).ListPipelines(
        pipeline_pb2.ListPipelinesRequest(filter="is_default = true"), metadata=person.metadata
    )
    return list(page.pipelines)


async def opportunity_in(
    sales: ServiceUnderTest, person: Person, pipeline: pipeline_pb2.Pipeline
) -> opportunity_pb2.Opportunity:
    return await opportunity_pb2_grpc.OpportunityServiceStub(sales.channel).CreateOpportunity(
        opportunity_pb2.CreateOpportunityRequest(
            opportunity=opportunity_pb2.Opportunity(display_name="O", pipeline=pipeline.name)
        ),
        metadata=person.metadata,
    )


async def test_a_new_system_has_one_pipeline_and_starting_again_adds_none(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: the first start is repeatable."""
    ada = await sales.person("sales.*")
    (pipeline,) = await default_pipelines(sales, ada)
    assert pipeline.stages[0].name.startswith(f"{pipeline.name}/stages/")
    async with sales.database.transaction() as tx:
        await create_default_pipeline(new_call(sales.running.home, service_principal("sales"), tx))
    assert [p.name for p in await default_pipelines(sales, ada)] == [pipeline.name]


async def test_making_one_pipeline_the_default_unsets_the_other(sales: ServiceUnderTest) -> None:
    """INVARIANT: there is exactly one, and both changes are published."""
    ada = await sales.person("sales.*")
    (former,) = await default_pipelines(sales, ada)
    created = await create(sales, ada, is_default=True)
    assert [p.name for p in await default_pipelines(sales, ada)] == [created.name]
    handed_over = await sales.events(former.name, count=2)
    assert list(handed_over[-1].message.changed_fields) == ["is_default"]
    await update(sales, ada, Pipeline(name=former.name, is_default=True), "is_default")
    assert [p.name for p in await default_pipelines(sales, ada)] == [former.name]


async def test_the_default_pipeline_is_neither_unset_nor_deleted(sales: ServiceUnderTest) -> None:
    """INVARIANT: there is always a default one."""
    ada = await sales.person("sales.*")
    (default,) = await default_pipelines(sales, ada)
    changes = [
        update(sales, ada, Pipeline(name=default.name, is_default=False), "is_default"),
        stub(sales).DeletePipeline(
            pipeline_pb2.DeletePipelineRequest(name=default.name), metadata=ada.metadata
        ),
    ]
    for change in changes:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await change
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert details_of(refused.value)["reason"] == "DEFAULT_PIPELINE_REQUIRED"


async def test_a_stage_keeps_its_name_when_the_pipeline_changes(sales: ServiceUnderTest) -> None:
    """Renaming and reordering are not removing."""
    ada = await sales.person("sales.*")
    pipeline = await create(sales, ada)
    names = [s.name for s in pipeline.stages]
    await opportunity_in(sales, ada, pipeline)
    pipeline.stages[0].display_name = "Renamed"
    stages = [pipeline.stages[i] for i in (1, 0, 2, 3)]
    changed = await update(sales, ada, Pipeline(name=pipeline.name, stages=stages), "stages")
    assert [s.name for s in changed.stages] == [names[i] for i in (1, 0, 2, 3)]
    assert changed.stages[1].display_name == "Renamed"


async def test_a_stage_in_use_is_not_removed(sales: ServiceUnderTest) -> None:
    """INVARIANT: no opportunity stands in a stage that is not there."""
    ada = await sales.person("sales.*")
    pipeline = await create(sales, ada)
    opportunity = await opportunity_in(sales, ada, pipeline)
    without_first = Pipeline(name=pipeline.name, stages=pipeline.stages[1:])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await update(sales, ada, without_first, "stages")
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert details_of(refused.value)["reason"] == "STAGE_IN_USE"
    assert details_of(refused.value)["metadata"]["stage"] == opportunity.stage
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(sales).DeletePipeline(
            pipeline_pb2.DeletePipelineRequest(name=pipeline.name), metadata=ada.metadata
        )
    assert details_of(refused.value)["reason"] == "STAGE_IN_USE"
    without_second = Pipeline(name=pipeline.name, stages=[pipeline.stages[i] for i in (0, 2, 3)])
    changed = await update(sales, ada, without_second, "stages")
    assert len(changed.stages) == 3


async def test_a_stage_is_not_removed_while_opportunities_enter_it(sales: ServiceUnderTest) -> None:
    """INVARIANT: whoever comes first, no opportunity stands in a stage that is not there."""
    ada = await sales.person("sales.*")
    for _ in range(5):
        pipeline = await create(sales, ada)
        rest = Pipeline(name=pipeline.name, stages=pipeline.stages[1:])
        results = await asyncio.gather(
            *[opportunity_in(sales, ada, pipeline) for _ in range(4)],
            update(sales, ada, rest, "stages"),
            return_exceptions=True,
        )
        now = await stub(sales).GetPipeline(
            pipeline_pb2.GetPipelineRequest(name=pipeline.name), metadata=ada.metadata
        )
        stages = {s.name for s in now.stages}
        entered = [r for r in results if isinstance(r, opportunity_pb2.Opportunity)]
        assert len(entered) == 4
        assert {o.stage for o in entered} <= stages


async def test_a_pipeline_without_a_lost_stage_is_refused(sales: ServiceUnderTest) -> None:
    """The field at fault is named."""
    ada = await sales.person("sales.*")
    stages = [
        Stage(display_name="A", category=Stage.OPEN),
        Stage(display_name="B", category=Stage.OPEN),
        Stage(display_name="Won", category=Stage.WON),
    ]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(sales, ada, stages=stages)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == ["pipeline.stages"]
