"""Rows that imports refuse are kept, so that they can be mended and imported again."""

from crmkit import platform_changes

revision = "2026_11_25_1550"
down_revision = "2026_11_25_1540"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.create_rejected_rows()


def downgrade() -> None:
    platform_changes.drop_rejected_rows()
