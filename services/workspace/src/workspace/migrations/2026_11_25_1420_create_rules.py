"""Create automation rules and their runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crmkit import platform_changes

revision = "2026_11_25_1420"
down_revision = "2026_11_25_1400"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "rules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("update_time", _TIME, nullable=False),
        sa.Column("delete_time", _TIME, nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("labels", postgresql.JSONB(), nullable=False),
        sa.Column("external_id", _TEXT, nullable=True),
        sa.Column(
            "custom_fields", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("display_name", _TEXT, nullable=False),
        sa.Column("event_types", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("condition", _TEXT, nullable=True),
        sa.Column("actions", postgresql.JSONB(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("pause_reason", _TEXT, nullable=True),
        sa.Column("limits", sa.ARRAY(_TEXT), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rules_owner", "rules", ["owner", "id"], unique=False)
    op.create_index("ix_rules_team", "rules", ["team", "id"], unique=False)
    op.create_index(
        "uq_rules_external_id",
        "rules",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "ix_rules_active",
        "rules",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'ACTIVE' AND delete_time IS NULL"),
    )
    platform_changes.index_trash("rules")
    op.create_table(
        "rule_health",
        sa.Column("rule", sa.Uuid(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("paced_until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("rule"),
    )
    op.create_table(
        "rule_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("skip_reason", _TEXT, nullable=True),
        sa.Column("event_type", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("correlation_id", _TEXT, nullable=False),
        sa.Column("traceparent", _TEXT, nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("steps", postgresql.JSONB(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("due_time", _TIME, nullable=False),
        sa.Column("start_time", _TIME, nullable=True),
        sa.Column("end_time", _TIME, nullable=True),
        sa.Column("next_attempt_time", _TIME, nullable=True),
        sa.Column("retry_until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rule_runs_rule", "rule_runs", ["rule", "create_time", "id"])
    op.create_index("ix_rule_runs_event_id", "rule_runs", ["event_id"])
    op.create_index("ix_rule_runs_correlation_id", "rule_runs", ["correlation_id"])
    op.create_index("ix_rule_runs_create_time", "rule_runs", ["create_time"])
    op.create_index(
        "ix_rule_runs_pending",
        "rule_runs",
        ["rule", "id"],
        postgresql_where=sa.text("state = 'PENDING'"),
    )


def downgrade() -> None:
    op.drop_table("rule_runs")
    op.drop_table("rule_health")
    op.drop_table("rules")
