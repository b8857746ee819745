"""Create the organisation's settings, and know them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crmkit import platform_tables

revision = "2026_11_25_1100"
down_revision = "2026_11_24_0900"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_tables.create_known_settings()
    op.create_table(
        "organization",
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
        sa.Column("legal_name", sa.Text(collation="C"), nullable=True),
        sa.Column("base_currency_code", sa.Text(collation="C"), nullable=False),
        sa.Column("fiscal_year_start_month", sa.Integer(), nullable=False),
        sa.Column("time_zone", sa.Text(collation="C"), nullable=False),
        sa.Column("first_day_of_week", sa.Text(collation="C"), nullable=False),
        sa.Column("language_code", sa.Text(collation="C"), nullable=False),
        sa.Column("format_locale", sa.Text(collation="C"), nullable=False),
        sa.Column("brand_colors", postgresql.JSONB(), nullable=True),
        sa.Column("number_patterns", postgresql.JSONB(), nullable=False),
        sa.Column("trash_retention_days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_organization_owner", "organization", ["owner", "id"], unique=False)
    op.create_index("ix_organization_team", "organization", ["team", "id"], unique=False)
    op.create_index(
        "uq_organization_external_id",
        "organization",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("organization")
    platform_tables.drop_known_settings()
