"""Create pick lists."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1201"
down_revision = "2026_11_25_1200"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pick_lists",
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
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("entries", postgresql.JSONB(), nullable=False),
        sa.Column("built_in", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_pick_lists_owner", "pick_lists", ["owner", "id"], unique=False)
    op.create_index("ix_pick_lists_team", "pick_lists", ["team", "id"], unique=False)
    op.create_index(
        "uq_pick_lists_external_id",
        "pick_lists",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "ix_pick_lists_delete_time",
        "pick_lists",
        ["delete_time", "id"],
        unique=False,
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index("uq_pick_lists_key", "pick_lists", ["key"], unique=True)


def downgrade() -> None:
    op.drop_table("pick_lists")
