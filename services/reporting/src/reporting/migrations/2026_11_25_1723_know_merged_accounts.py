"""Know merged accounts."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1723"
down_revision = "2026_11_25_1722"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dim_merge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("merged_into", sa.Uuid(), nullable=False),
        sa.Column("survivor", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_dim_merge_merged_into", "dim_merge", ["merged_into"])


def downgrade() -> None:
    op.drop_table("dim_merge")
