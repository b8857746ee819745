"""Add comments and followers."""

from crmkit.children import migrations

revision = "2026_11_25_1405"
down_revision = "2026_11_25_1400"
branch_labels = None
depends_on = None


def upgrade() -> None:
    migrations.create_comments_and_followers()


def downgrade() -> None:
    migrations.drop_comments_and_followers()
