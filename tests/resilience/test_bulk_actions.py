"""The worker of a bulk action dies by SIGKILL in the middle of it, at the worst moments.

INVARIANT: the next worker goes on; no record is left out, and none is changed twice.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from crm.common.v1 import bulk_action_pb2 as pb
from crm.sales.v1 import (
    bulk_action_pb2_grpc,
    product_pb2,
    product_pb2_grpc,
)
from crmkit.service_tokens import create_service_keys
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import ServiceUnderTest, service_under_test
from crmkit.testing.postgres import TestServer
from sales.service import SERVICE

from .host import READY
from .processes import Child

ROOT = Path(__file__).parents[2]
_PRODUCTS = 450
_FOUND = compile_statement(
    sa.text(
        "SELECT (SELECT count(*) FROM products WHERE version = 2 AND NOT active),"
        " (SELECT count(*) FROM revision WHERE causation_id = :cause),"
        " (SELECT count(*) FROM outbox WHERE causation_id = :cause)"
        " + (SELECT count(*) FROM event_log WHERE causation_id = :cause)"
    )
)


def worker(sales: ServiceUnderTest, keys: Path, log: Path, death: str = "") -> Child:
    """A process that works off the jobs of a service, and perhaps dies at a point of the code."""
    services = sales.running.settings.services
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")} | {
        "PYTHONPATH": str(ROOT),
        "CRM_DATABASE_URL": sales.database.url,
        "CRM_SERVICES": ",".join(f"{name}={address}" for name, address in services.items()),
        "CRM_KEYS_DIR": str(keys),
        "CRM_PUBLIC_URL": "http://crm.test",
    }
    command = [sys.executable, "-m", "tests.resilience.host", "sales:jobs", "--die-at", death]
    return Child(command, environment, log)


@pytest.mark.parametrize("point", ["service-before-commit:3", "service-after-commit:3"])
async def test_a_killed_worker_leaves_nothing_out_and_doubles_nothing(
    postgres: TestServer, tmp_path: Path, point: str
) -> None:
    """The third commit is that of the second hundred records: the first chooses all of them."""
    keys = tmp_path / "keys"
    create_service_keys(keys, ["sales"])
    async with service_under_test(SERVICE, postgres, roles=("serve",), keys_dir=keys) as sales:
        ada = await sales.person("sales.*")
        products = product_pb2_grpc.ProductServiceStub(sales.channel)
        runs = bulk_action_pb2_grpc.BulkActionServiceStub(sales.channel)
        for n in range(_PRODUCTS):
            made = product_pb2.Product(display_name=f"Product {n}", active=True)
            request = product_pb2.CreateProductRequest(product=made)
            await products.CreateProduct(request, metadata=ada.metadata)
        wanted = pb.BulkAction(
            resource="products", action=pb.BulkAction.UPDATE, filter="active = true"
        )
        wanted.values.update({"active": False})
        create = pb.CreateBulkActionRequest(bulk_action=wanted)
        run = await runs.CreateBulkAction(create, metadata=ada.metadata)

        async def now() -> pb.BulkAction:
            request = pb.GetBulkActionRequest(name=run.name)
            return await runs.GetBulkAction(request, metadata=ada.metadata)

        async def ended() -> bool:
            return (await now()).HasField("end_time")

        dying = worker(sales, keys, tmp_path / "dying.log", point)
        code = await asyncio.to_thread(dying.ends, 30)
        assert code == -signal.SIGKILL, dying.output()[-2000:]
        committed = 200 if "after" in point else 100
        assert (await now()).processed_rows == committed
        # Its lease would end by itself, in half a minute.
        lapse = sa.text("UPDATE job SET due_time = now()")
        await sales.database.execute(compile_statement(lapse))
        second = worker(sales, keys, tmp_path / "second.log")
        try:
            await asyncio.to_thread(second.wait_for, READY)
            await eventually(ended)
        finally:
            second.kill()
        run = await now()
        assert (run.state, run.total_rows) == (pb.BulkAction.SUCCEEDED, _PRODUCTS)
        assert (run.changed_count, run.failed_count) == (_PRODUCTS, 0)
        found = await sales.database.fetch_one(_FOUND, {"cause": run.name})
        assert found == (_PRODUCTS,) * 3
