"""Add absences: when users are away and who stands in for them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1650"
down_revision = "2026_11_25_1600"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("absence", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "absence")
