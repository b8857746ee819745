"""Create campaigns."""

from alembic import op

from crmkit.schema import create_platform_tables, drop_platform_tables
from marketing.storage import campaign  # noqa: F401 - defines the table
from marketing.storage.schema import MARKETING

revision = "2026_11_24_0900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_platform_tables(op.get_bind())
    MARKETING.create_all(op.get_bind())


def downgrade() -> None:
    MARKETING.drop_all(op.get_bind())
    drop_platform_tables(op.get_bind())
