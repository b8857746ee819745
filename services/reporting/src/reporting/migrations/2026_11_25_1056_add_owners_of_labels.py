"""Add owners and teams of named records: a name is shown to those who may see the record."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1056"
down_revision = "2026_11_25_1120"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Empty until the record's next event or a rebuild; until then only those who see all see the name.
    op.add_column("dim_label", sa.Column("owner", sa.Uuid()))
    op.add_column("dim_label", sa.Column("team", sa.Uuid()))


def downgrade() -> None:
    op.drop_column("dim_label", "team")
    op.drop_column("dim_label", "owner")
