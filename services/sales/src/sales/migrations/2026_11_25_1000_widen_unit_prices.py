"""Widen unit prices to six decimals (a cent is too coarse for a price per unit)."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1000"
down_revision = "2026_11_24_0900"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("products", "unit_price", type_=sa.Numeric(precision=19, scale=6))


def downgrade() -> None:
    op.alter_column("products", "unit_price", type_=sa.Numeric(precision=19, scale=4))
