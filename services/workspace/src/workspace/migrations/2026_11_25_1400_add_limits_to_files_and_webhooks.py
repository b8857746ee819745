"""Add the limits of whoever began an import or export, or made a webhook."""

import sqlalchemy as sa
from alembic import op

from crmkit import platform_changes

revision = "2026_11_25_1400"
down_revision = "2026_11_25_1300"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.add_limits_to_files()
    op.add_column("webhooks", sa.Column("limits", sa.ARRAY(sa.Text(collation="C")), nullable=True))


def downgrade() -> None:
    op.drop_column("webhooks", "limits")
    platform_changes.drop_limits_of_files()
