"""`python -m tests.resilience.host sales:relay …`: parts of services in a process of its own.

Reads the services' CRM_ settings. `--die-at POINT:COUNT` lets it end by SIGKILL when it comes to a
point of the code for the COUNTth time: what a power cut there would do, without waiting for luck.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import psycopg

import crmattachments.rows
import crmkit.feed.consumer
import sales.usecases.convert_lead
import workspace.usecases.run_rule
from crm_cli.services import service
from crmattachments.store import Folder
from crmkit import logging
from crmkit.db import Transaction
from crmkit.feed.consumer import Consumer
from crmkit.feed.publisher import Publisher
from crmkit.runner import ROLES, RunningService
from crmkit.settings import load
from sales.usecases.converted_customer import CustomerSide

READY = "ready to die"


async def _to_the_server(connection: Any, *_: Any) -> None:
    """Statements of a pipeline leave only when somebody waits: make sure that they have left."""
    cursor = await _execute(connection, "SELECT 1")
    await cursor.fetchone()


_execute = psycopg.AsyncConnection.execute
# Point → whose function, its name, whether we die after it, and with which first argument only.
POINTS: dict[str, tuple[Any, str, bool, Any]] = {
    "service-before-commit": (Transaction, "commit", False, None),
    "service-after-commit": (Transaction, "commit", True, None),
    "sequencer-before-commit": (psycopg.AsyncConnection, "execute", False, "COMMIT"),
    "publisher-after-confirm": (Publisher, "_publish", True, None),
    "consumer-before-commit": (crmkit.feed.consumer, "move_cursor", True, None),
    "consumer-before-ack": (Consumer, "receive", True, None),
    "attachment-after-bytes": (Folder, "put", True, None),
    "attachment-before-commit": (crmattachments.rows, "tell", True, None),
    "conversion-before-start": (sales.usecases.convert_lead, "insert_conversion", True, None),
    "conversion-before-customer": (CustomerSide, "make", False, None),
    "conversion-after-customer": (CustomerSide, "make", True, None),
    "conversion-before-commit": (sales.usecases.convert_lead, "save_conversion", True, None),
    "conversion-after-commit": (sales.usecases.convert_lead, "_complete", True, None),
    "rule-before-note": (workspace.usecases.run_rule, "lock_run", False, None),
}


def die_at(point: str, count: int) -> None:
    """Arms a point."""
    owner, name, afterwards, only = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    left = count

    async def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        if only is not None and arguments[1] != only:
            return await original(*arguments, **named)
        left -= 1
        if left > 0:
            return await original(*arguments, **named)
        if only is not None:
            await _to_the_server(*arguments)
        if afterwards:
            await original(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(owner, name, deadly)


async def run(parts: list[str], death: str) -> None:
    """Starts the parts, says so, and stops them on SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    running = []
    for part in parts:
        name, _, roles = part.partition(":")
        declared = service(name)
        settings = load(declared.settings)
        running.append(RunningService(declared, settings, roles.split(",") if roles else ROLES))
    for one in running:
        await one.start()
    for one in running:
        await one.work()
    for one in running:
        await one.ready()
    if death:
        point, _, count = death.partition(":")
        die_at(point, int(count))
    sys.stdout.write(READY + "\n")
    sys.stdout.flush()
    await stop.wait()
    await asyncio.gather(*(one.stop() for one in running))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="+")
    parser.add_argument("--die-at", default="")
    given = parser.parse_args()
    logging.configure("warning")
    asyncio.run(run(given.parts, given.die_at))
