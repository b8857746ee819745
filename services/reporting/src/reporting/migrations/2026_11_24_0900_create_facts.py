"""Create the facts."""

import sqlalchemy as sa
from alembic import op

from crmkit import platform_tables

revision = "2026_11_24_0900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_tables.create_first()
    op.create_table(
        "dim_label",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "dim_team",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("parent", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "fact_opportunity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("pipeline", sa.Uuid(), nullable=True),
        sa.Column("stage", sa.Uuid(), nullable=True),
        sa.Column("account", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("close_owner", sa.Uuid(), nullable=True),
        sa.Column("close_team", sa.Uuid(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.Column("currency", sa.Text(collation="C"), nullable=True),
        sa.Column("probability", sa.Numeric(precision=7, scale=6), nullable=True),
        sa.Column("open_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("close_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_fact_opportunity_closed",
        "fact_opportunity",
        ["close_time"],
        unique=False,
        postgresql_include=[
            "state",
            "account",
            "owner",
            "team",
            "close_owner",
            "close_team",
            "amount",
            "currency",
            "open_time",
        ],
        postgresql_where=sa.text("state <> 'OPEN' AND NOT deleted"),
    )
    op.create_index(
        "ix_fact_opportunity_open",
        "fact_opportunity",
        ["pipeline", "stage"],
        unique=False,
        postgresql_include=[
            "state",
            "account",
            "owner",
            "team",
            "amount",
            "currency",
            "probability",
            "open_time",
        ],
        postgresql_where=sa.text("state = 'OPEN' AND NOT deleted"),
    )
    op.create_table(
        "fact_opportunity_product",
        sa.Column("opportunity", sa.Uuid(), nullable=False),
        sa.Column("product", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=19, scale=4), nullable=True),
        sa.PrimaryKeyConstraint("opportunity", "product"),
    )
    op.create_table(
        "fact_ticket",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("account", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("open_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_fact_ticket_open",
        "fact_ticket",
        ["open_time"],
        unique=False,
        postgresql_include=["state", "account", "owner", "team"],
        postgresql_where=sa.text("state NOT IN ('RESOLVED', 'CLOSED') AND NOT deleted"),
    )
    op.create_table(
        "rebuild_history",
        sa.Column("rebuild_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("rebuild_time"),
    )


def downgrade() -> None:
    op.drop_table("rebuild_history")
    op.drop_table("fact_ticket")
    op.drop_table("fact_opportunity_product")
    op.drop_table("fact_opportunity")
    op.drop_table("dim_team")
    op.drop_table("dim_label")
    platform_tables.drop_first()
