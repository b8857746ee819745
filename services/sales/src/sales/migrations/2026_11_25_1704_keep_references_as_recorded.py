"""Keep references as recorded."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1704"
down_revision = "2026_11_25_1703"
branch_labels = None
depends_on = None

_REFERENCES = (("opportunities", "account"), ("leads", "account"), ("leads", "contact"))


def upgrade() -> None:
    for table, field in _REFERENCES:
        column = f"{field}_as_recorded"
        op.add_column(table, sa.Column(column, sa.Uuid(), nullable=True))
        op.create_index(
            f"ix_{table}_{column}",
            table,
            [column],
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.create_index("ix_leads_contact", "leads", ["contact", "id"])


def downgrade() -> None:
    op.drop_index("ix_leads_contact", "leads")
    for table, field in reversed(_REFERENCES):
        op.drop_column(table, f"{field}_as_recorded")
