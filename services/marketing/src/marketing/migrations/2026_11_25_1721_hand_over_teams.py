"""Hand over the records of teams."""

from crmkit import platform_changes

revision = "2026_11_25_1721"
down_revision = "2026_11_25_1720"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.hand_over_teams()


def downgrade() -> None:
    platform_changes.hand_over_persons_only()
