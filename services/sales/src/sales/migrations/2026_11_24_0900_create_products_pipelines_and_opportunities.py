"""Create products, pipelines and opportunities."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crmkit import platform_tables

revision = "2026_11_24_0900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_tables.create_first()
    op.create_table(
        "opportunities",
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
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.Column("account", sa.Uuid(), nullable=True),
        sa.Column("pipeline", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(collation="C"), nullable=False),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("amount", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.Column("amount_currency", sa.String(length=3), nullable=True),
        sa.Column("amount_source", sa.Text(collation="C"), nullable=True),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("probability_source", sa.Text(collation="C"), nullable=False),
        sa.Column("expected_close_date", sa.Date(), nullable=True),
        sa.Column("open_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("close_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lost_reason", sa.Text(collation="C"), nullable=True),
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("next_step", sa.Text(collation="C"), nullable=True),
        sa.Column("last_open_stage", sa.Text(collation="C"), nullable=True),
        sa.Column("last_open_probability", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_opportunities_account", "opportunities", ["account", "id"], unique=False)
    op.create_index(
        "ix_opportunities_expected_close_date",
        "opportunities",
        ["expected_close_date", "id"],
        unique=False,
    )
    op.create_index("ix_opportunities_owner", "opportunities", ["owner", "id"], unique=False)
    op.create_index(
        "ix_opportunities_pipeline_stage",
        "opportunities",
        ["pipeline", "stage", "id"],
        unique=False,
    )
    op.create_index("ix_opportunities_team", "opportunities", ["team", "id"], unique=False)
    op.create_index(
        "uq_opportunities_external_id",
        "opportunities",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_table(
        "pipelines",
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
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.Column("stages", postgresql.JSONB(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_pipelines_owner", "pipelines", ["owner", "id"], unique=False)
    op.create_index("ix_pipelines_team", "pipelines", ["team", "id"], unique=False)
    op.create_index(
        "uq_pipelines_display_name",
        "pipelines",
        ["display_name"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL"),
    )
    op.create_index(
        "uq_pipelines_external_id",
        "pipelines",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "uq_pipelines_is_default",
        "pipelines",
        ["is_default"],
        unique=True,
        postgresql_where=sa.text("is_default AND delete_time IS NULL"),
    )
    op.create_table(
        "products",
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
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.Column("sku", sa.Text(collation="C"), nullable=True),
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("category", sa.Text(collation="C"), nullable=True),
        sa.Column("unit_price", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.Column("unit_price_currency", sa.String(length=3), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_products_owner", "products", ["owner", "id"], unique=False)
    op.create_index("ix_products_team", "products", ["team", "id"], unique=False)
    op.create_index(
        "uq_products_display_name",
        "products",
        ["display_name"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL"),
    )
    op.create_index(
        "uq_products_external_id",
        "products",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "uq_products_sku",
        "products",
        ["sku"],
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("products")
    op.drop_table("pipelines")
    op.drop_table("opportunities")
    platform_tables.drop_first()
