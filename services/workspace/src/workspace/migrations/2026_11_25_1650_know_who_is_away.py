"""Know who is away, and whose deputies notifications are for."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1650"
down_revision = "2026_11_25_1600"
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "known_absences",
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("start_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME, nullable=False),
        sa.Column("deputy", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("user"),
    )
    for table in ("notifications", "notification_mails"):
        op.add_column(table, sa.Column("deputy_for", sa.Uuid(), nullable=True))


def downgrade() -> None:
    for table in ("notification_mails", "notifications"):
        op.drop_column(table, "deputy_for")
    op.drop_table("known_absences")
