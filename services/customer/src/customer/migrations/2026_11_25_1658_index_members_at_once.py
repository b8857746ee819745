"""Index the members of duplicate sets at once, not when enough of them wait."""

from alembic import op

revision = "2026_11_25_1658"
down_revision = "2026_11_25_1657"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER INDEX ix_duplicate_sets_members SET (fastupdate = off)")


def downgrade() -> None:
    op.execute("ALTER INDEX ix_duplicate_sets_members RESET (fastupdate)")
