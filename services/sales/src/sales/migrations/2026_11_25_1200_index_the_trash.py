"""Index the trash: deleted records by the time of their deletion."""

from crmkit import platform_changes

revision = "2026_11_25_1200"
down_revision = "2026_11_25_1120"
branch_labels = None
depends_on = None

TABLES = ("products", "pipelines", "opportunities")


def upgrade() -> None:
    platform_changes.index_trash(*TABLES)


def downgrade() -> None:
    platform_changes.unindex_trash(*TABLES)
