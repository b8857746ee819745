"""Add collaborators."""

from crmkit.children import migrations

revision = "2026_11_25_1600"
down_revision = "2026_11_25_1540"
branch_labels = None
depends_on = None


def upgrade() -> None:
    migrations.create_collaborators()


def downgrade() -> None:
    migrations.drop_collaborators()
