"""The audit log takes up what other services record, over their feeds."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from crm.common.v1 import export_pb2
from crm.customer.v1 import export_pb2_grpc
from crmkit.service_tokens import create_service_keys
from crmkit.statements import Statement
from crmkit.testing.harness import ServiceUnderTest, service_under_test
from crmkit.testing.polling import eventually
from crmkit.testing.postgres import TestServer
from customer.service import SERVICE as CUSTOMER
from identity.service import SERVICE as IDENTITY
from identity.settings import IdentitySettings

_ENTRIES = Statement(
    "SELECT subject, outcome, reason, actor FROM audit_entries"
    " WHERE action = 'customer.ExportService.CreateExport' ORDER BY id",
    {},
)


@pytest_asyncio.fixture
async def both(
    postgres: TestServer, tmp_path: Path
) -> AsyncIterator[tuple[ServiceUnderTest, ServiceUnderTest]]:
    """Customer and identity, each with a database of its own, that know one another."""
    create_service_keys(tmp_path, ["customer", "identity"])
    async with AsyncExitStack() as stack:
        customer = await stack.enter_async_context(
            service_under_test(CUSTOMER, postgres, keys_dir=tmp_path)
        )
        address = customer.running.settings.services["customer"]
        identity = await stack.enter_async_context(
            service_under_test(
                IDENTITY, postgres, roles=("serve", "relay"), keys_dir=tmp_path,
                addresses={"customer": address}, settings_type=IdentitySettings,
            )
        )  # fmt: skip
        yield customer, identity


async def test_an_entry_of_another_service_is_neither_lost_nor_doubled(both: Any) -> None:
    """INVARIANT: one for each export, done or refused, however often the log's keeper is cut off."""
    customer, identity = both
    ada = await customer.person("customer.*")
    bob = await customer.person("customer.accounts.*")
    stub: Any = export_pb2_grpc.ExportServiceStub(customer.channel)
    request = export_pb2.CreateExportRequest(export=export_pb2.Export(resource="accounts"))
    expected: list[tuple[str, str]] = []
    consumer = identity.running.consumer("customer")
    for round_ in range(5):
        made = await stub.CreateExport(request, metadata=ada.metadata)
        expected.append((made.name, "SUCCEEDED"))
        if round_ == 2:  # a consumer that dies and one that begins again where it stood
            consumer = identity.running.consumer("customer")
        await consumer.catch_up()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateExport(request, metadata=bob.metadata)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED

    async def all_there() -> bool:
        await identity.running.consumer("customer").catch_up()
        return len(await identity.database.fetch_all(_ENTRIES)) > len(expected)

    await eventually(all_there)
    found = await identity.database.fetch_all(_ENTRIES)
    assert sorted((s, o) for s, o, _, _ in found if s) == sorted(expected)
    assert [(r, actor) for s, _, r, actor in found if not s] == [("PERMISSION_DENIED", bob.name)]
    assert {actor for s, _, _, actor in found if s} == {ada.name}
