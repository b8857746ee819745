"""`crm up`: the whole system in one terminal, with nothing installed beforehand."""

import asyncio
import signal

import typer
import uvloop
from rich.console import Console

from crm_cli.system import StartFailedError, System, SystemOptions, running_system
from crm_cli.up_settings import from_environment
from crmkit import logging
from crmkit.errors import Failure
from crmkit.settings import SettingsError

console = Console(stderr=True, highlight=False)


def up() -> None:
    """Runs the whole system until Ctrl-C.

    Settings by environment: CRM_DATA_DIR, CRM_HOST, CRM_PORT, CRM_PUBLIC_URL, CRM_ADMIN_EMAIL,
    CRM_ADMIN_PASSWORD, CRM_AMQP_URL, CRM_CORS_ORIGINS, CRM_HOSTS, CRM_RATE_LIMIT, CRM_REFLECTION,
    CRM_LOG_LEVEL.
    """
    try:
        settings = from_environment()
        logging.configure(settings.log_level)
        uvloop.run(_run(settings.options()))
    except (StartFailedError, Failure, SettingsError, OSError) as error:
        console.print(f"[red]crm up:[/red] {error}")
        raise typer.Exit(1) from error


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
        console.print(
            f"  administrator  {system.admin_email}\n  password       {system.admin_password}"
        )
        system.password_shown()
    console.print("Ctrl-C stops it; the data stays.")
