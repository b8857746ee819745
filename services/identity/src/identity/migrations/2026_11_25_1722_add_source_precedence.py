"""Add whose value of a field stands, and what is made of shared e-mail addresses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1722"
down_revision = "2026_11_25_1721"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "organization",
        sa.Column("source_precedence", postgresql.JSONB(), nullable=False, server_default="{}"),
    )
    op.add_column(
        "organization",
        sa.Column(
            "shared_email_policy", sa.Text(collation="C"), nullable=False, server_default="ALLOWED"
        ),
    )


def downgrade() -> None:
    op.drop_column("organization", "shared_email_policy")
    op.drop_column("organization", "source_precedence")
