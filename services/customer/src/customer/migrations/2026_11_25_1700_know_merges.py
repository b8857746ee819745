"""Know merges."""

from crmkit import platform_changes

revision = "2026_11_25_1700"
down_revision = "2026_11_25_1659"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.know_merges()


def downgrade() -> None:
    platform_changes.forget_merges()
