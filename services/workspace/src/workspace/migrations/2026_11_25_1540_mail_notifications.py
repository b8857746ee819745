"""Mail notifications: what waits, and how people want it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1540"
down_revision = "2026_11_25_1520"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column("notification_preferences", sa.Column("email", _TEXT, nullable=True))
    op.create_table(
        "mail_settings",
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("digest_hour", sa.Integer(), nullable=True),
        sa.Column("time_zone", _TEXT, nullable=True),
        sa.Column("language_code", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("user"),
    )
    op.create_table(
        "notification_mails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=True),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("text", _TEXT, nullable=True),
        sa.Column("parameters", postgresql.JSONB(), nullable=False),
        sa.Column("notification", sa.Uuid(), nullable=True),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("due_time", _TIME, nullable=False),
        sa.Column("claimed", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_notification_mails_due",
        "notification_mails",
        ["user", "due_time"],
        postgresql_where=sa.text("NOT claimed"),
    )
    op.create_index("ix_notification_mails_create_time", "notification_mails", ["create_time"])


def downgrade() -> None:
    op.drop_table("notification_mails")
    op.drop_table("mail_settings")
    op.drop_column("notification_preferences", "email")
