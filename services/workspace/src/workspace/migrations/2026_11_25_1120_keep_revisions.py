"""Keep revisions: what each version of a record changed."""

from crmkit import platform_changes

revision = "2026_11_25_1120"
down_revision = "2026_11_25_1110"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.create_revisions()


def downgrade() -> None:
    platform_changes.drop_revisions()
