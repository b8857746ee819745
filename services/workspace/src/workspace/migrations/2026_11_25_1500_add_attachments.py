"""Add attachments."""

from crmkit.children import migrations

revision = "2026_11_25_1500"
down_revision = "2026_11_25_1425"
branch_labels = None
depends_on = None


def upgrade() -> None:
    migrations.create_attachments()


def downgrade() -> None:
    migrations.drop_attachments()
