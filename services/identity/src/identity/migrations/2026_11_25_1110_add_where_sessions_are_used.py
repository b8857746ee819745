"""Sessions: when and from where each was last used."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1110"
down_revision = "2026_11_25_1100"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("last_used_time", sa.TIMESTAMP(timezone=True)))
    op.add_column("sessions", sa.Column("client_address", sa.Text(collation="C")))
    op.add_column("sessions", sa.Column("user_agent", sa.Text(collation="C")))


def downgrade() -> None:
    op.drop_column("sessions", "user_agent")
    op.drop_column("sessions", "client_address")
    op.drop_column("sessions", "last_used_time")
