"""Create products, pipelines and opportunities."""

from alembic import op

from crmkit.schema import create_platform_tables, drop_platform_tables
from sales.storage import opportunity, pipeline, product  # noqa: F401 - define the tables
from sales.storage.schema import SALES

revision = "2026_11_24_0900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_platform_tables(op.get_bind())
    SALES.create_all(op.get_bind())


def downgrade() -> None:
    SALES.drop_all(op.get_bind())
    drop_platform_tables(op.get_bind())
