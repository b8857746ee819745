"""Create tickets."""

from alembic import op

from crmkit.schema import create_platform_tables, drop_platform_tables
from support.storage import ticket  # noqa: F401 - defines the table
from support.storage.schema import SUPPORT

revision = "2026_11_24_0900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_platform_tables(op.get_bind())
    SUPPORT.create_all(op.get_bind())


def downgrade() -> None:
    SUPPORT.drop_all(op.get_bind())
    drop_platform_tables(op.get_bind())
