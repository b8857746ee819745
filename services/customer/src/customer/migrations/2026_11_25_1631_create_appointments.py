"""Create appointments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1631"
down_revision = "2026_11_25_1630"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "appointments",
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
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("title", _TEXT, nullable=False),
        sa.Column("description", _TEXT, nullable=True),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("start_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME, nullable=False),
        sa.Column("time_zone", _TEXT, nullable=True),
        sa.Column("recurrence", _TEXT, nullable=True),
        sa.Column("place", _TEXT, nullable=True),
        sa.Column("attendees", postgresql.JSONB(), nullable=False),
        sa.Column("participants", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("related", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("reminder_minutes", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("series_start_time", _TIME, nullable=True),
        sa.Column("next_appointment", sa.Uuid(), nullable=True),
        sa.Column("interaction", sa.Uuid(), nullable=True),
        sa.Column("close_time", _TIME, nullable=True),
        sa.Column("closer", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_appointments_owner", "appointments", ["owner", "id"])
    op.create_index("ix_appointments_team", "appointments", ["team", "id"])
    op.create_index("ix_appointments_start_time", "appointments", ["start_time", "id"])
    op.create_index(
        "ix_appointments_owner_start_time", "appointments", ["owner", "start_time", "id"]
    )
    for column in ("participants", "related"):
        op.create_index(
            f"ix_appointments_{column}", "appointments", [column], postgresql_using="gin"
        )
    op.create_index(
        "ix_appointments_delete_time",
        "appointments",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_appointments_external_id",
        "appointments",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("appointments")
