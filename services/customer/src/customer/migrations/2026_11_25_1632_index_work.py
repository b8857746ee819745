"""Index who did what."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1632"
down_revision = "2026_11_25_1631"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_tasks_closer",
        "tasks",
        ["closer", "close_time"],
        postgresql_where=sa.text("state = 'DONE'"),
    )
    op.create_index(
        "ix_appointments_interaction",
        "appointments",
        ["interaction"],
        postgresql_where=sa.text("interaction IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_appointments_interaction", "appointments")
    op.drop_index("ix_tasks_closer", "tasks")
