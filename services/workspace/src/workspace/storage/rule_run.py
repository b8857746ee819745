"""Where runs of rules are kept: rows, not records; the log of what rules did."""

from dataclasses import fields
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, insert

from crmkit.call import Call
from crmkit.db import Executor
from crmkit.filters import FilterField, compile_filter
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import TEXT, TIMESTAMP, Row, compile_statement
from workspace.domain.rule_run import RuleRun, Step
from workspace.storage.schema import WORKSPACE

_KEPT_FOR = timedelta(days=30)

rule_runs = sa.Table(
    "rule_runs",
    WORKSPACE,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("rule", sa.Uuid, nullable=False),
    sa.Column("event_id", sa.Uuid, nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("depth", sa.Integer, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("skip_reason", TEXT),
    sa.Column("event_type", TEXT, nullable=False),
    sa.Column("subject", TEXT, nullable=False),
    sa.Column("correlation_id", TEXT, nullable=False),
    sa.Column("traceparent", TEXT, nullable=False),
    sa.Column("event", sa.LargeBinary, nullable=False),
    sa.Column("steps", JSONB, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("retry_count", sa.Integer, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("due_time", TIMESTAMP, nullable=False),
    sa.Column("start_time", TIMESTAMP),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("next_attempt_time", TIMESTAMP),
    sa.Column("retry_until", TIMESTAMP, nullable=False),
    sa.Index("ix_rule_runs_rule", "rule", "create_time", "id"),
    sa.Index("ix_rule_runs_event_id", "event_id"),
    sa.Index("ix_rule_runs_correlation_id", "correlation_id"),
    sa.Index("ix_rule_runs_create_time", "create_time"),
    sa.Index("ix_rule_runs_pending", "rule", "id", postgresql_where=sa.text("state = 'PENDING'")),
)
_T = rule_runs.c
_COLUMNS = tuple(_T[f.name] for f in fields(RuleRun))
_NEWEST_FIRST = [
    Order("create_time", _T.create_time, descending=True),
    Order("id", _T.id, descending=True),
]
_FILTER_FIELDS = {
    "state": FilterField(_T.state, "enum", ("PENDING", "SUCCEEDED", "FAILED", "SKIPPED")),
    "skip_reason": FilterField(_T.skip_reason, "enum", ("LOOP", "TOO_MANY_RUNS", "RULE_DELETED")),
    "event_type": FilterField(_T.event_type, "text"),
    "subject": FilterField(_T.subject, "text"),
    "depth": FilterField(_T.depth, "integer"),
    "create_time": FilterField(_T.create_time, "timestamp"),
    "end_time": FilterField(_T.end_time, "timestamp"),
}

_RUN = sa.bindparam("run", type_=sa.Uuid)
_RULE = sa.bindparam("rule", type_=sa.Uuid)
_EVENT = sa.bindparam("event_id", type_=sa.Uuid)
_INSERT = compile_statement(
    insert(rule_runs)
    .values({c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["id"])
)
_by_id = sa.select(*_COLUMNS).where(_T.id == _RUN)
_GET, _LOCK = compile_statement(_by_id), compile_statement(_by_id.with_for_update())
_CHANGING = (
    "state", "skip_reason", "steps", "position", "retry_count", "start_time", "end_time",
    "next_attempt_time", "retry_until",
)  # fmt: skip
_SAVE = compile_statement(
    sa.update(rule_runs)
    .where(_T.id == _RUN)
    .values({name: sa.bindparam(name, type_=_T[name].type) for name in _CHANGING})
)
_next = (
    sa.select(_T.id)
    .where(_T.event_id == _EVENT, _T.start_time.is_(None), _T.state == "PENDING")
    .order_by(_T.turn)
    .limit(1)
    .scalar_subquery()
)
_START_NEXT = compile_statement(
    sa.update(rule_runs)
    .where(_T.id == _next)
    .values(start_time=sa.bindparam("now", type_=TIMESTAMP))
    .returning(*_COLUMNS)
)
_WAITING = compile_statement(
    sa.select(*_COLUMNS)
    .where(_T.rule == _RULE, _T.state == "PENDING", _T.start_time.is_not(None))
    .order_by(_T.create_time, _T.id)
)
_DEPTH = compile_statement(sa.select(sa.func.max(_T.depth)).where(_T.event_id == _EVENT))
_DEPTH_BEFORE = compile_statement(
    sa.select(sa.func.max(_T.depth)).where(
        _T.correlation_id == sa.bindparam("correlation_id", type_=TEXT),
        _T.rule == _RULE,
        _T.subject == sa.bindparam("subject", type_=TEXT),
    )
)
_PURGE = compile_statement(
    sa.delete(rule_runs).where(_T.create_time < sa.bindparam("before", type_=TIMESTAMP))
)


def _row(run: RuleRun) -> dict[str, Any]:
    return {**vars(run), "steps": Jsonb([vars(step) for step in run.steps])}


def _run(row: Row) -> RuleRun:
    values = dict(zip((c.name for c in _COLUMNS), row, strict=True))
    values["steps"] = [Step(**step) for step in values["steps"]]
    values["event"] = bytes(values["event"])
    return RuleRun(**values)


async def insert_run(call: Call, run: RuleRun) -> None:
    """Stores a run; one that is there already stays as it is."""
    await call.tx.execute(_INSERT, _row(run))


async def find_run(executor: Executor, run: UUID) -> RuleRun | None:
    """A run by its id."""
    row = await executor.fetch_one(_GET, {"run": run})
    return _run(row) if row is not None else None


async def lock_run(call: Call, run: UUID) -> RuleRun | None:
    """A run, locked for a change."""
    row = await call.tx.fetch_one(_LOCK, {"run": run})
    return _run(row) if row is not None else None


async def save_run(call: Call, run: RuleRun) -> None:
    """Stores what has changed of a run."""
    row = _row(run)
    await call.tx.execute(_SAVE, {**{name: row[name] for name in _CHANGING}, "run": run.id})


async def start_next_run(call: Call, event_id: UUID) -> RuleRun | None:
    """The first run of an event that waits for its turn, which it then has."""
    row = await call.tx.fetch_one(_START_NEXT, {"event_id": event_id, "now": call.now})
    return _run(row) if row is not None else None


async def waiting_runs(call: Call, rule: UUID) -> list[RuleRun]:
    """What a rule has begun and not ended, oldest first."""
    return [_run(row) for row in await call.tx.fetch_all(_WAITING, {"rule": rule})]


async def depth_of_causes(call: Call, cause: UUID) -> int:
    """How deep in a chain the runs of an event were; -1 if it had none."""
    row = await call.tx.fetch_one(_DEPTH, {"event_id": cause})
    return int(row[0]) if row is not None and row[0] is not None else -1


async def depth_before(call: Call, rule: UUID, correlation_id: str, subject: str) -> int:
    """How deep a rule's runs were for the same record and in the same course of things; -1 for none.

    It finds a chain that goes by way of a service that reacts to events, which leaves no run behind.
    """
    parameters = {"rule": rule, "correlation_id": correlation_id, "subject": subject}
    row = await call.tx.fetch_one(_DEPTH_BEFORE, parameters)
    return int(row[0]) if row is not None and row[0] is not None else -1


async def list_runs(call: Call, rule: UUID, request: Any) -> tuple[list[RuleRun], str]:
    """A page of a rule's runs, newest first, and the token of the next page.

    Raises:
        InvalidArgument: `INVALID_FILTER` or `INVALID_PAGE_TOKEN`.
    """
    query = sa.select(*_COLUMNS).where(_T.rule == rule)
    condition = compile_filter(request.filter, _FILTER_FIELDS, zone=call.organization.zone)
    if condition is not None:
        query = query.where(condition)
    bound_to = f"rule_runs/{rule}/{request.filter}"
    rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, bound_to)
    return [_run(row) for row in rows], token


async def purge_runs(call: Call) -> None:
    """Forgets runs after 30 days."""
    await call.tx.execute(_PURGE, {"before": call.now - _KEPT_FOR})
