"""Create the facts."""

from alembic import op

from crmkit.schema import create_platform_tables, drop_platform_tables
from reporting.storage.facts import FACTS, HISTORY

revision = "2026_11_24_0900_create_facts"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_platform_tables(op.get_bind())
    FACTS.create_all(op.get_bind())
    HISTORY.create_all(op.get_bind())


def downgrade() -> None:
    HISTORY.drop_all(op.get_bind())
    FACTS.drop_all(op.get_bind())
    drop_platform_tables(op.get_bind())
