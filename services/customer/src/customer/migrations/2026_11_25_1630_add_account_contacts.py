"""Add contacts' places in several accounts, and the account that a private person is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1630"
down_revision = "2026_11_25_1620"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "contacts", sa.Column("accounts", postgresql.JSONB(), nullable=False, server_default="[]")
    )
    op.add_column("contacts", sa.Column("person_account", sa.Uuid(), nullable=True))
    op.execute(
        "UPDATE contacts SET accounts = jsonb_build_array("
        "jsonb_build_object('account', account, 'primary', true, 'active', true))"
        " WHERE account IS NOT NULL"
    )
    op.create_index(
        "ix_contacts_accounts",
        "contacts",
        ["accounts"],
        postgresql_using="gin",
        postgresql_ops={"accounts": "jsonb_path_ops"},
    )
    op.create_index(
        "uq_contacts_person_account",
        "contacts",
        ["person_account"],
        unique=True,
        postgresql_where=sa.text("person_account IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("uq_contacts_person_account", "contacts")
    op.drop_index("ix_contacts_accounts", "contacts")
    op.drop_column("contacts", "person_account")
    op.drop_column("contacts", "accounts")
