"""Signing keys: from when on each signs."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1210"
down_revision = "2026_11_25_1201"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("signing_keys", sa.Column("active_time", sa.TIMESTAMP(timezone=True)))


def downgrade() -> None:
    op.drop_column("signing_keys", "active_time")
