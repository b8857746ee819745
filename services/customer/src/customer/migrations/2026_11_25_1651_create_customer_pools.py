"""Create customer pools."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1651"
down_revision = "2026_11_25_1650"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)
_LIVING = sa.text("delete_time IS NULL")
_ACCOUNT_COLUMNS = ("pool", "pool_time", "claim_pool", "reclaim_pool", "reclaim_time")

# What has happened before counts: interactions with accounts, and with the contacts of accounts.
_TOUCH_BY_HISTORY = """
    INSERT INTO account_touches (account, interaction_time)
    SELECT account, max(occur_time) FROM (
      SELECT CAST(split_part(name, '/', 2) AS uuid) AS account, occur_time
      FROM interactions, unnest(related) AS name WHERE name LIKE 'accounts/%'
      UNION ALL
      SELECT c.account, i.occur_time
      FROM interactions i, unnest(i.related || i.participants) AS name
      JOIN contacts c ON c.id = CAST(split_part(name, '/', 2) AS uuid)
      WHERE name LIKE 'contacts/%' AND c.account IS NOT NULL
    ) AS touched GROUP BY account
"""


def upgrade() -> None:
    op.create_table(
        "customer_pools",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("update_time", _TIME, nullable=False),
        sa.Column("delete_time", _TIME, nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("labels", postgresql.JSONB(), nullable=False),
        sa.Column("external_id", _TEXT, nullable=True),
        sa.Column(
            "custom_fields", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("display_name", _TEXT, nullable=False),
        sa.Column("teams", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("days_without_interaction", sa.Integer(), nullable=True),
        sa.Column("days_without_opportunity", sa.Integer(), nullable=True),
        sa.Column("warning_days", sa.Integer(), nullable=False),
        sa.Column("exempt_grades", postgresql.ARRAY(_TEXT), nullable=False),
        sa.Column("claim_limit", sa.Integer(), nullable=True),
        sa.Column("claim_limit_per_day", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_customer_pools_owner", "customer_pools", ["owner", "id"])
    op.create_index("ix_customer_pools_team", "customer_pools", ["team", "id"])
    op.create_index(
        "ix_customer_pools_delete_time",
        "customer_pools",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_customer_pools_external_id",
        "customer_pools",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "uq_customer_pools_display_name",
        "customer_pools",
        ["display_name"],
        unique=True,
        postgresql_where=_LIVING,
    )
    _create_what_counts()
    _add_to_accounts()


def _create_what_counts() -> None:
    op.create_table(
        "account_claims",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("pool", sa.Uuid(), nullable=False),
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("account", sa.Uuid(), nullable=False),
        sa.Column("claim_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_account_claims_user", "account_claims", ["user", "pool", "claim_time"])
    op.create_table(
        "account_touches",
        sa.Column("account", sa.Uuid(), nullable=False),
        sa.Column("owner_time", _TIME, nullable=True),
        sa.Column("interaction_time", _TIME, nullable=True),
        sa.Column("opportunity_time", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("account"),
    )
    op.execute(sa.text(_TOUCH_BY_HISTORY))


def _add_to_accounts() -> None:
    for name in _ACCOUNT_COLUMNS:
        kind = _TIME if name.endswith("_time") else sa.Uuid()
        op.add_column("accounts", sa.Column(name, kind, nullable=True))
    op.create_index(
        "ix_accounts_pool",
        "accounts",
        ["pool", "id"],
        postgresql_where=sa.text("pool IS NOT NULL"),
    )
    op.create_index(
        "ix_accounts_claim_pool",
        "accounts",
        ["claim_pool", "owner"],
        postgresql_where=sa.text("claim_pool IS NOT NULL"),
    )
    op.create_index(
        "ix_accounts_reclaim_time",
        "accounts",
        ["reclaim_time", "id"],
        postgresql_where=sa.text("reclaim_time IS NOT NULL"),
    )


def downgrade() -> None:
    for name in reversed(_ACCOUNT_COLUMNS):  # and their indexes
        op.drop_column("accounts", name)
    op.drop_table("account_touches")
    op.drop_table("account_claims")
    op.drop_table("customer_pools")
