"""Know in timelines who is invited to appointments."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1702"
down_revision = "2026_11_25_1701"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "timeline_entries",
        sa.Column("invited", sa.ARRAY(sa.Uuid()), nullable=False, server_default=sa.text("'{}'")),
    )
    op.execute(
        "UPDATE timeline_entries e SET invited = ARRAY("
        " SELECT CAST(split_part(p.name, '/', 2) AS uuid) FROM unnest(a.participants) AS p (name)"
        " WHERE p.name LIKE 'users/%') FROM appointments a WHERE a.id = e.record"
    )


def downgrade() -> None:
    op.drop_column("timeline_entries", "invited")
