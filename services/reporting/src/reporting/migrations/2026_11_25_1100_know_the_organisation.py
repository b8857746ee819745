"""Know the organisation's settings."""

from crmkit import platform_tables

revision = "2026_11_25_1100"
down_revision = "2026_11_24_0900"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_tables.create_known_settings()


def downgrade() -> None:
    platform_tables.drop_known_settings()
