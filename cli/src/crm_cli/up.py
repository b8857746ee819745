"""`crm up`: the whole system in one terminal, with nothing installed beforehand."""

import asyncio
import json
import os
import signal
from pathlib import Path

import typer
import uvloop
from rich.console import Console

from crm_cli.system import StartFailedError, System, SystemOptions, running_system
from crmkit import logging
from crmkit.errors import Failure
from gateway.settings import SettingsError

console = Console(stderr=True, highlight=False)


def up() -> None:
    """Runs the whole system until Ctrl-C.

    Settings by environment: CRM_DATA_DIR, CRM_HOST, CRM_PORT, CRM_PUBLIC_URL, CRM_ADMIN_EMAIL,
    CRM_ADMIN_PASSWORD, CRM_AMQP_URL, CRM_CORS_ORIGINS, CRM_RATE_LIMIT, CRM_REFLECTION.
    """
    logging.configure(os.environ.get("CRM_LOG_LEVEL", "warning"))
    try:
        uvloop.run(_run(options_from_environment()))
    except (StartFailedError, Failure, SettingsError, OSError) as error:
        console.print(f"[red]crm up:[/red] {error}")
        raise typer.Exit(1) from error


def options_from_environment() -> SystemOptions:
    """Reads the settings of `crm up`; raises StartFailedError for a port that is no port."""
    environ = os.environ
    port = environ.get("CRM_PORT", "8080")
    if not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004 - the range of ports
        msg = f"CRM_PORT: {port!r} is not a port"
        raise StartFailedError(msg)
    rate_limit = environ.get("CRM_RATE_LIMIT", "6000")
    if not rate_limit.isdecimal():
        msg = f"CRM_RATE_LIMIT: {rate_limit!r} is not a number"
        raise StartFailedError(msg)
    origins = environ.get("CRM_CORS_ORIGINS", "")
    return SystemOptions(
        data_dir=Path(environ.get("CRM_DATA_DIR", "data")),
        host=environ.get("CRM_HOST", "127.0.0.1"),
        port=int(port),
        public_url=environ.get("CRM_PUBLIC_URL", ""),
        admin_email=environ.get("CRM_ADMIN_EMAIL", "admin@example.com"),
        admin_password=environ.get("CRM_ADMIN_PASSWORD", ""),
        amqp_url=environ.get("CRM_AMQP_URL", ""),
        rate_limit=int(rate_limit),
        reflection=environ.get("CRM_REFLECTION", "on") == "on",
        cors_origins=tuple(origin.strip() for origin in origins.split(",") if origin.strip()),
    )


async def _run(options: SystemOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with console.status("Starting …") as status:
        context = running_system(options, lambda step: status.update(f"Starting {step} …"))
        starting = asyncio.ensure_future(context.__aenter__())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        system = starting.result()
    try:
        _greet(system)
        broken = await _first(stop, system)
    finally:
        console.print("Stopping …")
        await context.__aexit__(None, None, None)
    if broken:
        msg = f"{broken} ended by itself; the log is above and in {options.data_dir}."
        raise StartFailedError(msg)


async def _first(stop: asyncio.Event, system: System) -> str:
    """Waits for Ctrl-C (answers nothing) or for a part that ends by itself (answers which)."""
    stopping = asyncio.create_task(stop.wait())
    failing = asyncio.create_task(system.failed())
    await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, failing):
        if not task.done():
            task.cancel()
    return failing.result() if failing.done() and not failing.cancelled() else ""


def _greet(system: System) -> None:
    console.print(f"The CRM runs at [bold]{system.url}[/bold]  (API: {system.url}/docs)")
    if system.first_start:
        email = json.loads((system.options.data_dir / "admin.json").read_text())["email"]
        console.print(f"  administrator  {email}\n  password       {system.admin_password}")
        system.password_shown()
    console.print("Ctrl-C stops it; the data stays.")
