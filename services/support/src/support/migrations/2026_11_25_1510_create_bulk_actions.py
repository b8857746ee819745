"""Create bulk actions: the same change to many records, with what became of each."""

from crmkit import platform_changes

revision = "2026_11_25_1510"
down_revision = "2026_11_25_1500"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.create_bulk_actions()


def downgrade() -> None:
    platform_changes.drop_bulk_actions()
