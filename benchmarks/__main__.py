"""`make bench`: every measurement of this folder, in one run on this machine."""

import asyncio
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from rich.console import Console

from benchmarks import customer_view, pair, whole
from benchmarks.results import Figure, report
from crmkit.testing import RabbitMQ

console = Console(stderr=True)


async def measure() -> dict[str, Figure]:
    """Runs everything; RabbitMQ only where it is installed."""
    console.print("The service against a hand-written handler …")
    figures = await pair.measure()
    console.print("The page of a customer …")
    figures |= await customer_view.measure()
    if shutil.which("rabbitmq-server") is None:
        console.print("The whole system (rabbitmq-server is not installed: pull bus only) …")
        return figures | await whole.measure()
    console.print("The whole system, on both buses …")
    with TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as folder:
        broker = RabbitMQ(Path(folder))
        await asyncio.to_thread(broker.start)
        try:
            return figures | await whole.measure(amqp_url=broker.url)
        finally:
            broker.stop()


if __name__ == "__main__":
    report(uvloop.run(measure()))
