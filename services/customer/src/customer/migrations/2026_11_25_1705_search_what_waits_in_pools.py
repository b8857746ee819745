"""Search accounts that wait in pools for those who may claim them."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1705"
down_revision = "2026_11_25_1704"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("search_entries", sa.Column("pool", sa.Uuid))
    op.execute(
        "UPDATE search_entries SET pool = accounts.pool FROM accounts"
        " WHERE accounts.id = search_entries.record AND accounts.pool IS NOT NULL"
    )
    op.create_index(
        "ix_search_entries_pool",
        "search_entries",
        ["pool"],
        postgresql_where=sa.text("pool IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_search_entries_pool", "search_entries")
    op.drop_column("search_entries", "pool")
