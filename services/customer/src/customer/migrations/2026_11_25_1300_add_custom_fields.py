"""Add custom fields: definitions, values, and their place in records."""

from crmkit import platform_changes

revision = "2026_11_25_1300"
down_revision = "2026_11_25_1200"
branch_labels = None
depends_on = None

TABLES = ("accounts", "contacts")


def upgrade() -> None:
    platform_changes.create_custom_fields(*TABLES)


def downgrade() -> None:
    platform_changes.drop_custom_fields(*TABLES)
