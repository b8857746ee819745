"""Create tasks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1545"
down_revision = "2026_11_25_1540"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "tasks",
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
        sa.Column("title", _TEXT, nullable=False),
        sa.Column("description", _TEXT, nullable=True),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("priority", _TEXT, nullable=False),
        sa.Column("due_time", _TIME, nullable=True),
        sa.Column("remind_time", _TIME, nullable=True),
        sa.Column("related", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("recurrence", _TEXT, nullable=True),
        sa.Column("time_zone", _TEXT, nullable=True),
        sa.Column("series_start_time", _TIME, nullable=True),
        sa.Column("next_task", sa.Uuid(), nullable=True),
        sa.Column("close_time", _TIME, nullable=True),
        sa.Column("closer", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tasks_owner", "tasks", ["owner", "id"])
    op.create_index("ix_tasks_team", "tasks", ["team", "id"])
    op.create_index("ix_tasks_owner_due_time", "tasks", ["owner", "due_time", "id"])
    op.create_index("ix_tasks_due_time", "tasks", ["due_time", "id"])
    op.create_index("ix_tasks_related", "tasks", ["related"], postgresql_using="gin")
    op.create_index(
        "ix_tasks_delete_time",
        "tasks",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_tasks_external_id",
        "tasks",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("tasks")
