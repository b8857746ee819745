"""Keep references as recorded."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1723"
down_revision = "2026_11_25_1722"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tickets", sa.Column("account_as_recorded", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_tickets_account_as_recorded",
        "tickets",
        ["account_as_recorded"],
        postgresql_where=sa.text("account_as_recorded IS NOT NULL"),
    )
    op.add_column("tickets", sa.Column("contact_as_recorded", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_tickets_contact_as_recorded",
        "tickets",
        ["contact_as_recorded"],
        postgresql_where=sa.text("contact_as_recorded IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_column("tickets", "account_as_recorded")
    op.drop_column("tickets", "contact_as_recorded")
