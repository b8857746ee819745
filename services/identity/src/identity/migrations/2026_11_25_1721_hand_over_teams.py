"""Hand over the records of teams."""

import sqlalchemy as sa
from alembic import op

from crmkit import platform_changes

revision = "2026_11_25_1721"
down_revision = "2026_11_25_1720"
branch_labels = None
depends_on = None


def upgrade() -> None:
    platform_changes.hand_over_teams()
    for name in ("user", "successor"):
        op.alter_column("handovers", name, existing_type=sa.Uuid(), nullable=True)
    for name in ("former_team", "successor_team"):
        op.add_column("handovers", sa.Column(name, sa.Uuid(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM handovers WHERE former_team IS NOT NULL")
    for name in ("former_team", "successor_team"):
        op.drop_column("handovers", name)
    for name in ("user", "successor"):
        op.alter_column("handovers", name, existing_type=sa.Uuid(), nullable=False)
    platform_changes.hand_over_persons_only()
