"""Service accounts, and API keys that are limited to some permissions."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1220"
down_revision = "2026_11_25_1210"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("kind", sa.Text(collation="C"), nullable=False, server_default="PERSON"),
    )
    op.add_column(
        "api_keys",
        sa.Column(
            "permissions", sa.ARRAY(sa.Text(collation="C")), nullable=False, server_default="{}"
        ),
    )


def downgrade() -> None:
    op.drop_column("api_keys", "permissions")
    op.drop_column("users", "kind")
