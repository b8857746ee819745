"""Create saved views."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crmkit import platform_tables

revision = "2026_11_25_1100"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_tables.create_first()
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("delete_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("labels", postgresql.JSONB(), nullable=False),
        sa.Column("external_id", sa.Text(collation="C"), nullable=True),
        sa.Column("resource", sa.Text(collation="C"), nullable=False),
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.Column("filter", sa.Text(collation="C"), nullable=True),
        sa.Column("order_by", sa.Text(collation="C"), nullable=True),
        sa.Column("columns", sa.ARRAY(sa.Text(collation="C")), nullable=False),
        sa.Column("layout", sa.Text(collation="C"), nullable=False),
        sa.Column("density", sa.Text(collation="C"), nullable=False),
        sa.Column("visibility", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_saved_views_owner", "saved_views", ["owner", "id"], unique=False)
    op.create_index("ix_saved_views_resource", "saved_views", ["resource", "id"], unique=False)
    op.create_index("ix_saved_views_team", "saved_views", ["team", "id"], unique=False)
    op.create_index(
        "uq_saved_views_external_id",
        "saved_views",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_table(
        "default_views",
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("resource", sa.Text(collation="C"), nullable=False),
        sa.Column("saved_view", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("user", "resource"),
    )


def downgrade() -> None:
    op.drop_table("default_views")
    op.drop_table("saved_views")
    platform_tables.drop_first()
