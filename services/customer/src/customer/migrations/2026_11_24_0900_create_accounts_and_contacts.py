"""Create accounts and contacts."""

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
        "accounts",
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
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("partner", sa.Boolean(), nullable=True),
        sa.Column("parent_account", sa.Uuid(), nullable=True),
        sa.Column("industry", sa.Text(collation="C"), nullable=True),
        sa.Column("founded_year", sa.Integer(), nullable=True),
        sa.Column("employee_count", sa.Integer(), nullable=True),
        sa.Column("annual_revenue", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.Column("annual_revenue_currency", sa.String(length=3), nullable=True),
        sa.Column("website", sa.Text(collation="C"), nullable=True),
        sa.Column("tax_id", sa.Text(collation="C"), nullable=True),
        sa.Column("emails", postgresql.JSONB(), nullable=False),
        sa.Column("phones", postgresql.JSONB(), nullable=False),
        sa.Column("addresses", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_accounts_display_name", "accounts", ["display_name", "id"], unique=False)
    op.create_index("ix_accounts_owner", "accounts", ["owner", "id"], unique=False)
    op.create_index("ix_accounts_parent_account", "accounts", ["parent_account"], unique=False)
    op.create_index("ix_accounts_team", "accounts", ["team", "id"], unique=False)
    op.create_index(
        "uq_accounts_external_id",
        "accounts",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_table(
        "contacts",
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
        sa.Column("given_name", sa.Text(collation="C"), nullable=True),
        sa.Column("family_name", sa.Text(collation="C"), nullable=True),
        sa.Column("account", sa.Uuid(), nullable=True),
        sa.Column("job_title", sa.Text(collation="C"), nullable=True),
        sa.Column("emails", postgresql.JSONB(), nullable=False),
        sa.Column("phones", postgresql.JSONB(), nullable=False),
        sa.Column("addresses", postgresql.JSONB(), nullable=False),
        sa.Column("birthday", sa.Date(), nullable=True),
        sa.Column("do_not_call", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_contacts_account", "contacts", ["account", "id"], unique=False)
    op.create_index("ix_contacts_display_name", "contacts", ["display_name", "id"], unique=False)
    op.create_index("ix_contacts_owner", "contacts", ["owner", "id"], unique=False)
    op.create_index("ix_contacts_team", "contacts", ["team", "id"], unique=False)
    op.create_index(
        "uq_contacts_external_id",
        "contacts",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("contacts")
    op.drop_table("accounts")
    platform_tables.drop_first()
