"""Create notifications."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crmkit import platform_changes

revision = "2026_11_25_1210"
down_revision = "2026_11_25_1200"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "notifications",
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
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("text_key", _TEXT, nullable=True),
        sa.Column("parameters", postgresql.JSONB(), nullable=False),
        sa.Column("subject", _TEXT, nullable=True),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("text", _TEXT, nullable=True),
        sa.Column("read_time", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_notifications_owner", "notifications", ["owner", "id"], unique=False)
    op.create_index("ix_notifications_team", "notifications", ["team", "id"], unique=False)
    op.create_index(
        "uq_notifications_external_id",
        "notifications",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "ix_notifications_unread",
        "notifications",
        ["owner", "id"],
        unique=False,
        postgresql_where=sa.text("read_time IS NULL AND delete_time IS NULL"),
    )
    platform_changes.index_trash("notifications")
    op.create_table(
        "notification_preferences",
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("in_app", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user", "kind"),
    )


def downgrade() -> None:
    op.drop_table("notification_preferences")
    op.drop_table("notifications")
