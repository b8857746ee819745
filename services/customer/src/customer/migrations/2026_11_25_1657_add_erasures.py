"""Add erasures, archives of personal data, and when a person was erased."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1657"
down_revision = "2026_11_25_1656"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    for table in ("accounts", "contacts"):
        op.add_column(table, sa.Column("erase_time", _TIME, nullable=True))
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact", sa.Uuid(), nullable=False),
        sa.Column("names", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("texts", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("parts", sa.dialects.postgresql.JSONB(), nullable=False),
        sa.Column("end_time", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_erasures_contact", "erasures", ["contact"])
    op.create_index("ix_erasures_creator", "erasures", ["creator", "id"])
    op.create_table(
        "personal_data_exports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contact", sa.Uuid(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("services", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("waits_for", _TEXT, nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("error_message", _TEXT, nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME, nullable=True),
        sa.Column("expire_time", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_personal_data_exports_contact", "personal_data_exports", ["contact"])
    op.create_index("ix_personal_data_exports_creator", "personal_data_exports", ["creator", "id"])


def downgrade() -> None:
    op.drop_table("personal_data_exports")
    op.drop_table("erasures")
    for table in ("contacts", "accounts"):
        op.drop_column(table, "erase_time")
