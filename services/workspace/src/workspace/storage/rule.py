"""Where automation rules are kept, and how they do."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from crm.workspace.v1 import rule_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.db import Executor
from crmkit.errors import InvalidArgument, PermissionDenied
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from workspace.domain.condition import check_condition
from workspace.domain.rule import SECONDS_A_RUN, Rule
from workspace.queries.event_types import check_event_types, record_fields
from workspace.queries.visibility import may_read_some
from workspace.storage.rule_actions import check_action
from workspace.storage.schema import WORKSPACE

rules = record_table(
    "rules",
    WORKSPACE,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("event_types", sa.ARRAY(TEXT), nullable=False),
    sa.Column("condition", TEXT),
    sa.Column("actions", JSONB, nullable=False),
    sa.Column("position", sa.Integer),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("pause_reason", TEXT),
    sa.Column("limits", sa.ARRAY(TEXT)),
    sa.Index(
        "ix_rules_active",
        "id",
        postgresql_where=sa.text("state = 'ACTIVE' AND delete_time IS NULL"),
    ),
)

# Beside the record: it changes with every run, which is no version of the rule.
rule_health = sa.Table(
    "rule_health",
    WORKSPACE,
    sa.Column("rule", sa.Uuid, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),  # runs in a row
    sa.Column("runs", sa.BigInteger, nullable=False),  # ever
    sa.Column("paced_until", TIMESTAMP, nullable=False),
)

# What others than the owner may do with a rule: pause, resume, delete and restore it.
_NOT_THE_OWNERS_ALONE = frozenset(
    {"state", "pause_reason", "delete_time", "update_time", "version"}
)


async def _is_sound(call: Call, after: Rule, before: Rule | None) -> None:
    """Only the owner says what is done in their name; what is to be done makes sense.

    With a limited API key they have done only what that key may do.
    """
    by = call.principal
    if before is None and (after.owner is None or after.owner != by.user):
        msg = "A rule acts as its owner and cannot be made for another."
        raise InvalidArgument(msg, reason="OWNER_MUST_BE_CALLER", field="rule.owner")
    if before is not None and by.user is not None and by.user != before.owner:
        unchanged = {n: getattr(before, n) for n in _NOT_THE_OWNERS_ALONE}
        if replace(after, events=[], **unchanged) != replace(before, events=[]):
            msg = "Only the owner of a rule decides what it does."
            raise PermissionDenied(msg, reason="OWNER_ONLY")
    if before is not None and after.deed == before.deed:
        return
    if by.user is not None:
        after.limits = list(by.limits) if by.limits is not None else None
    check_event_types(after.event_types, "rule.event_types")
    if not may_read_some(by, after.event_types):
        msg = "You may not read the events that would start this rule."
        raise PermissionDenied(msg, reason="EVENTS_NOT_READABLE")
    fields = record_fields(after.event_types)
    check_condition(after.condition or "", "rule.condition", fields)
    for index, action in enumerate(after.actions):
        await check_action(call, after, action, f"rule.actions[{index}]")


class Rules(Collection[Rule]):
    """Rules; who changes one looks anew for those that run."""

    async def save(self, call: Call, entity: Rule, kind: str = "updated") -> Rule:
        """Stores a rule's next version."""
        call.tx.known.pop(_KNOWN, None)
        return await super().save(call, entity, kind)


RULES = Rules(
    rule_pb2.Rule,
    Rule,
    rules,
    rule=_is_sound,
    private=frozenset({"limits"}),
)

_RULE = sa.bindparam("rule", type_=sa.Uuid)
_ACTIVE = compile_statement(
    sa.select(*RULES.codec.columns).where(
        rules.c.state == "ACTIVE",
        rules.c.delete_time.is_(None),
    )
)
_KNOWN = "active_rules"
_ACTIVE_OF = compile_statement(
    sa.select(rules.c.id)
    .where(
        rules.c.owner == sa.bindparam("owner", type_=sa.Uuid),
        rules.c.state == "ACTIVE",
        rules.c.delete_time.is_(None),
    )
    .order_by(rules.c.id)
)
_BY_ID = compile_statement(sa.select(*RULES.codec.columns).where(rules.c.id == _RULE))
_NOW = sa.bindparam("now", type_=TIMESTAMP)
_A_RUN = sa.text(f"interval '{SECONDS_A_RUN} seconds'")
_paced = insert(rule_health).values(rule=_RULE, failures=0, runs=1, paced_until=_NOW)
_PACE = compile_statement(
    _paced.on_conflict_do_update(
        index_elements=["rule"],
        set_={
            "runs": rule_health.c.runs + 1,
            "paced_until": sa.func.greatest(rule_health.c.paced_until, _paced.excluded.paced_until)
            + _A_RUN,
        },
    ).returning(rule_health.c.runs, rule_health.c.paced_until)
)
_FAILED = compile_statement(
    sa.update(rule_health)
    .where(rule_health.c.rule == sa.bindparam("of", type_=sa.Uuid))
    .values(failures=rule_health.c.failures + 1)
    .returning(rule_health.c.failures)
)
_WELL = compile_statement(
    sa.update(rule_health)
    .where(rule_health.c.rule == sa.bindparam("of", type_=sa.Uuid), rule_health.c.failures > 0)
    .values(failures=0)
)


async def active_rules(call: Call, event_time: datetime) -> list[Rule]:
    """The rules that run, and were there when the event happened."""
    known = call.tx.known
    if _KNOWN not in known:  # once for the events of a batch
        rows = await call.tx.fetch_all(_ACTIVE)
        known[_KNOWN] = [RULES.codec.from_row(row) for row in rows]
    return [rule for rule in known[_KNOWN] if rule.create_time <= event_time]


async def active_rules_of(call: Call, owner: UUID) -> list[UUID]:
    """The rules of a user that run."""
    return [row[0] for row in await call.tx.fetch_all(_ACTIVE_OF, {"owner": owner})]


async def rule_by_id(executor: Executor, rule: UUID) -> Rule | None:
    """A rule, deleted or not, whoever asks."""
    row = await executor.fetch_one(_BY_ID, {"rule": rule})
    return RULES.codec.from_row(row) if row is not None else None


async def pace(call: Call, rule: UUID) -> tuple[int, datetime]:
    """Counts a run; answers how many came before it and when all would be through at an even pace."""
    row = await call.tx.fetch_one(_PACE, {"rule": rule, "now": call.now})
    assert row is not None
    return row[0] - 1, row[1]


async def note_failed_run(call: Call, rule: UUID) -> int:
    """Counts a run that failed; answers how many there were in a row."""
    row = await call.tx.fetch_one(_FAILED, {"of": rule})
    return int(row[0]) if row is not None else 0


async def note_good_run(call: Call, rule: UUID) -> None:
    """The rule does well (again)."""
    await call.tx.execute(_WELL, {"of": rule})
