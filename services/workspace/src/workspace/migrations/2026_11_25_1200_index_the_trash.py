"""Index the trash: deleted records by the time of their deletion."""

from crmkit import platform_changes

revision = "2026_11_25_1200"
down_revision = "2026_11_25_1130"
branch_labels = None
depends_on = None

TABLES = ("saved_views", "webhooks")


def upgrade() -> None:
    platform_changes.index_trash(*TABLES)


def downgrade() -> None:
    platform_changes.unindex_trash(*TABLES)
