"""Find what timelines know of other services' records by whom these were recorded with."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1703"
down_revision = "2026_11_25_1702"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for party in ("account", "contact"):
        op.create_index(
            f"ix_timeline_records_{party}_merged",
            "timeline_records",
            [f"{party}_as_recorded"],
            postgresql_where=sa.text(f"{party} <> {party}_as_recorded"),
        )


def downgrade() -> None:
    op.drop_index("ix_timeline_records_contact_merged", "timeline_records")
    op.drop_index("ix_timeline_records_account_merged", "timeline_records")
