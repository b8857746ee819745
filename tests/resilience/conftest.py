"""A system in several processes for each module that kills parts of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest_asyncio

from crmkit.testing import RabbitMQ

from .cluster import Cluster, running_cluster
from .ledger import signed_in


@pytest_asyncio.fixture(scope="module")
async def cluster(rabbitmq: RabbitMQ) -> AsyncIterator[Cluster]:
    """The system, as the last test of the module left it."""
    with TemporaryDirectory(prefix="crm-cluster-") as folder:
        async with running_cluster(Path(folder), rabbitmq.url) as running:
            yield running


@pytest_asyncio.fixture(scope="module")
async def http(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator of that system."""
    async with signed_in(cluster.url) as client:
        yield client
