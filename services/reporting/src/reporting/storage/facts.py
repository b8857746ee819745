"""The facts that metrics are computed from: one current row per record, folded from its events.

Every row follows from the events of its subject alone, in their order: no clock, no chance, no
floating point. The tables are named without a schema, so that a rebuild can fill copies of them
elsewhere.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.statements import TEXT, TIMESTAMP, Statement, compile_statement

FACTS = sa.MetaData()

# Amounts are as they stand; who owned it when it was closed stays in `close_owner`, `close_team`.
fact_opportunity = sa.Table(
    "fact_opportunity",
    FACTS,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("pipeline", sa.Uuid),
    sa.Column("stage", sa.Uuid),
    sa.Column("account", sa.Uuid),
    sa.Column("owner", sa.Uuid),
    sa.Column("team", sa.Uuid),
    sa.Column("close_owner", sa.Uuid),
    sa.Column("close_team", sa.Uuid),
    sa.Column("amount", sa.Numeric(19, 4)),
    sa.Column("currency", TEXT),
    sa.Column("probability", sa.Numeric(7, 6)),
    sa.Column("open_time", TIMESTAMP),
    sa.Column("close_time", TIMESTAMP),
    sa.Column("deleted", sa.Boolean, nullable=False),
    # Pipeline metrics read these alone: a few milliseconds where the table takes tens.
    sa.Index(
        "ix_fact_opportunity_open",
        "pipeline",
        "stage",
        postgresql_include=[
            "state", "account", "owner", "team", "amount", "currency", "probability", "open_time",
        ],
        postgresql_where=sa.text("state = 'OPEN' AND NOT deleted"),
    ),
    sa.Index(
        "ix_fact_opportunity_closed",
        "close_time",
        postgresql_include=[
            "state", "account", "owner", "team", "close_owner", "close_team", "amount",
            "currency", "open_time",
        ],
        postgresql_where=sa.text("state <> 'OPEN' AND NOT deleted"),
    ),
)  # fmt: skip

# One row per product of an opportunity; the amounts of its rows add up to the opportunity's.
fact_opportunity_product = sa.Table(
    "fact_opportunity_product",
    FACTS,
    sa.Column("opportunity", sa.Uuid, primary_key=True),
    sa.Column("product", sa.Uuid, primary_key=True),
    sa.Column("amount", sa.Numeric(19, 4)),
)

fact_ticket = sa.Table(
    "fact_ticket",
    FACTS,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("account", sa.Uuid),
    sa.Column("owner", sa.Uuid),
    sa.Column("team", sa.Uuid),
    sa.Column("open_time", TIMESTAMP),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Index(
        "ix_fact_ticket_open",
        "open_time",
        postgresql_include=["state", "account", "owner", "team"],
        postgresql_where=sa.text("state NOT IN ('RESOLVED', 'CLOSED') AND NOT deleted"),
    ),
)

dim_team = sa.Table(
    "dim_team",
    FACTS,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("parent", sa.Uuid),
)

# Account that was merged → what it was merged into, and which one stands for both now. Facts keep the account
# that their event named: queries join this.
dim_merge = sa.Table(
    "dim_merge",
    FACTS,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("merged_into", sa.Uuid, nullable=False),
    sa.Column("survivor", sa.Uuid, nullable=False),
    sa.Index("ix_dim_merge_merged_into", "merged_into"),
)

# Resource name → what people call it, where that is not personal; owner and team decide who may see it.
dim_label = sa.Table(
    "dim_label",
    FACTS,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("owner", sa.Uuid),
    sa.Column("team", sa.Uuid),
)

# When the facts were last built anew; not a fact itself.
HISTORY = sa.MetaData()
rebuild_history = sa.Table(
    "rebuild_history",
    HISTORY,
    sa.Column("rebuild_time", TIMESTAMP, primary_key=True),
)


def upsert_keeping(table: sa.Table, kept_while_same: Mapping[str, str]) -> Statement:
    """Writes a row or replaces it; takes a value for every column.

    Args:
        table: The table.
        kept_while_same: Column → another column; the first keeps its old value while the second
            stays.
    """
    statement = insert(table).values({c.name: sa.bindparam(c.name, type_=c.type) for c in table.c})
    new = statement.excluded
    changes: dict[str, Any] = {c.name: new[c.name] for c in table.c if not c.primary_key}
    for name, other in kept_while_same.items():
        same = table.c[other] == new[other]
        changes[name] = sa.case((same, table.c[name]), else_=new[name])
    return compile_statement(
        statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes)
    )
