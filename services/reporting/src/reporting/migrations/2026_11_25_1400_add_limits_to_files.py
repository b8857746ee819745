"""Add the limits of whoever began an import or export."""

from crmkit import platform_changes

revision = "2026_11_25_1400"
down_revision = "2026_11_25_1300"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.add_limits_to_files()


def downgrade() -> None:
    platform_changes.drop_limits_of_files()
