"""Create webhooks and their deliveries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1130"
down_revision = "2026_11_25_1120"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhooks",
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
        sa.Column("display_name", _TEXT, nullable=False),
        sa.Column("url", _TEXT, nullable=False),
        sa.Column("event_types", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("condition", _TEXT, nullable=True),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("pause_reason", _TEXT, nullable=True),
        sa.Column("previous_secret_expire_time", _TIME, nullable=True),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_previous_secret", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_webhooks_owner", "webhooks", ["owner", "id"], unique=False)
    op.create_index("ix_webhooks_team", "webhooks", ["team", "id"], unique=False)
    op.create_index(
        "uq_webhooks_external_id",
        "webhooks",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_table(
        "webhook_health",
        sa.Column("webhook", sa.Uuid(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("hold_until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("webhook"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("webhook", sa.Uuid(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("event_type", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("retry_until", _TIME, nullable=False),
        sa.Column("next_attempt_time", _TIME, nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("attempts", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_webhook_deliveries_webhook", "webhook_deliveries", ["webhook", "id"], unique=False
    )
    op.create_index(
        "ix_webhook_deliveries_create_time", "webhook_deliveries", ["create_time"], unique=False
    )


def downgrade() -> None:
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_health")
    op.drop_table("webhooks")
