"""Create accounts and contacts."""

from alembic import op

from crmkit.schema import create_platform_tables, drop_platform_tables
from customer.storage import account, contact  # noqa: F401 - define the tables
from customer.storage.schema import CUSTOMER

revision = "2026_11_24_0900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_platform_tables(op.get_bind())
    CUSTOMER.create_all(op.get_bind())


def downgrade() -> None:
    CUSTOMER.drop_all(op.get_bind())
    drop_platform_tables(op.get_bind())
