"""Create hand-overs: how far this service's parts are."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crmkit import platform_changes

revision = "2026_11_25_1520"
down_revision = "2026_11_25_1510"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    platform_changes.create_handovers()
    op.create_table(
        "handovers",
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
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("successor", sa.Uuid(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("parts", postgresql.JSONB(), nullable=False),
        sa.Column("end_time", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_handovers_owner", "handovers", ["owner", "id"])
    op.create_index("ix_handovers_team", "handovers", ["team", "id"])
    op.create_index("ix_handovers_user", "handovers", ["user", "id"])
    op.create_index(
        "ix_handovers_delete_time",
        "handovers",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_handovers_external_id",
        "handovers",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("handovers")
    platform_changes.drop_handovers()
