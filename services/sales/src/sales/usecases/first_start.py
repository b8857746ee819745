"""What a new system starts with: the pipeline Sales."""

from crmkit.call import Call
from sales.domain.pipeline import default_pipeline
from sales.storage.pipeline import PIPELINES, default_pipeline_id


async def create_default_pipeline(call: Call) -> None:
    """Creates the default pipeline where there is none; repeatable."""
    if await default_pipeline_id(call) is None:
        await PIPELINES.insert(call, PIPELINES.new(call, default_pipeline()))
