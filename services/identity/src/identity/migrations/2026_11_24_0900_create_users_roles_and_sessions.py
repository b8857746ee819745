"""Create users, teams, roles, API keys and sessions."""

from alembic import op

from crmkit.schema import create_platform_tables, drop_platform_tables
from identity.storage import (  # noqa: F401 - define the tables
    api_key,
    role,
    session,
    sign_in_attempts,
    signing_key,
    team,
    user,
)
from identity.storage.schema import IDENTITY

revision = "2026_11_24_0900"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_platform_tables(op.get_bind())
    IDENTITY.create_all(op.get_bind())


def downgrade() -> None:
    IDENTITY.drop_all(op.get_bind())
    drop_platform_tables(op.get_bind())
