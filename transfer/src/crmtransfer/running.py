"""What imports, exports and bulk actions have in common: whose rights they run with, and how they end."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
import structlog
from psycopg import errors as pg

from crmkit import contract
from crmkit.access import Principal, service_principal
from crmkit.call import Call, Home
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.db import Transaction
from crmkit.interceptors.errors import failure_of
from crmkit.jobs import is_transient
from crmtransfer.ended import Ended, tell_that_it_ended

ACTIVE = ("QUEUED", "RUNNING")
# What the database refuses because of a row, not because of its own state.
REFUSALS = (
    psycopg.IntegrityError,
    psycopg.DataError,
    pg.PipelineAborted,
    pg.InFailedSqlTransaction,
)
# Takes the state, and a sentence and a reason where it failed. Answers how many rows were dealt with and
# how many of them failed; None if the run had ended before.
End = Callable[[Transaction, Any, str, str, str], Awaitable[tuple[int, int] | None]]
_OURS = ("Something went wrong on our side.", "INTERNAL")
_log = structlog.get_logger("crm.runs")


class Stopped(Exception):  # noqa: N818 - somebody cancelled the run, or another worker took it over
    """The run is no longer ours to continue."""


def creator(home: Home, run: Mapping[str, Any]) -> Principal:
    """Whoever asked for a run, with today's rights and the limits of the key that began it.

    Args:
        home: The service.
        run: The run's row, with `creator` and `limits`.

    Raises:
        Unauthenticated: They may not sign in any more.
    """
    if run["creator"] is None:
        return service_principal(home.name)
    return home.rights.principal(run["creator"]).limited_to(run["limits"])


def standard_rpc(collection: Collection[Any], verb: str) -> Method | None:
    """The Create, Update … method of a collection; None if it has none."""
    noun = collection.contract.noun
    service = contract.services()[f"crm.{collection.contract.service}.v1.{noun}Service"]
    wanted = f"{verb}{noun}"
    return next((m for m in contract.methods_of(service) if m.name == wanted), None)


async def finish(call: Call, kind: str, run: Ended, work: Awaitable[None], end: End) -> None:
    """Does a run's work, stores how it ended and tells of it.

    Args:
        call: The job's; what it writes commits with the job's end.
        kind: What the run is: `import`, `export`.
        run: The run.
        work: All that is left to do.
        end: Stores the state and, where it failed, why.

    Raises:
        Exception: Only what a later attempt may not meet again; all else ends the run.
    """
    state, why = "SUCCEEDED", ("", "")
    try:
        await work
    except Stopped:
        return
    except Exception as error:
        if is_transient(error):
            raise
        failure = failure_of(error)
        if failure is None:
            _log.exception("run failed", run=run.name)
        why = (failure.message, failure.reason) if failure else _OURS
        state = "FAILED"
    counts = await end(call.tx, run, state, *why)
    if counts is not None:
        await tell_that_it_ended(call, kind, run, state, counts)
