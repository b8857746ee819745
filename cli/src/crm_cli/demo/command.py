"""`crm demo`: fills a running system with a company to try it with."""

import time
from typing import Annotated

import typer
from rich.markup import escape

from crm_cli.api import Api, ApiError
from crm_cli.demo.company import Company, Size
from crm_cli.demo.filling import fill, open_stages, schedule_campaigns
from crm_cli.runs import ERRORS, progress_bar
from crmkit import clock


def demo(
    seed: Annotated[int, typer.Option(min=0, help="Which company; each seed makes another.")] = 1,
    size: Annotated[Size, typer.Option(help="How much of it.")] = Size.SMALL,
) -> None:
    """Fills a running system with a company: teams, users, accounts, a year of sales, tickets.

    Run again, it leaves what is there as it is. Its users have no passwords: an administrator sets
    one for whoever should sign in.

    Finds the system by CRM_URL; signs in by CRM_API_KEY, or CRM_EMAIL and CRM_PASSWORD, as an
    administrator.

    Exit code: 0 when everything is there, 1 when something was refused.
    """
    started = time.monotonic()
    try:
        _demo(Api(), seed, size)
    except ApiError as error:
        ERRORS.print(f"crm demo: {escape(str(error))}")
        raise typer.Exit(1) from error
    print(f"ready in {time.monotonic() - started:.0f} s")


def _demo(api: Api, seed: int, size: Size) -> None:
    company = Company(seed, size, clock.now().date(), open_stages(api))
    with progress_bar() as progress:
        for collection, rows in company.rows.items():
            filled = fill(api, collection, rows, progress)
            there = f", {filled.skipped:,} there already" if filled.skipped else ""
            print(f"{collection}: {filled.created:,} created{there}")
    scheduled = schedule_campaigns(api, company.rows["campaigns"])
    if scheduled:
        print(f"campaigns: {scheduled} scheduled")
