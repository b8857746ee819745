"""A running workspace service for each test module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from crmkit.testing.harness import ServiceUnderTest, service_under_test
from crmkit.testing.postgres import TestServer
from workspace.service import SERVICE


@pytest_asyncio.fixture(scope="module")
async def workspace(postgres: TestServer) -> AsyncIterator[ServiceUnderTest]:
    """The service with a database of its own."""
    async with service_under_test(SERVICE, postgres) as running:
        yield running
