"""Create hand-overs: how far this service's parts are."""

from crmkit import platform_changes

revision = "2026_11_25_1520"
down_revision = "2026_11_25_1510"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.create_handovers()


def downgrade() -> None:
    platform_changes.drop_handovers()
