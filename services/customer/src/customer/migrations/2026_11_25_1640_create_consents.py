"""Create consents."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1640"
down_revision = "2026_11_25_1632"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("update_time", _TIME, nullable=False),
        sa.Column("delete_time", _TIME, nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("labels", postgresql.JSONB(), nullable=False),
        sa.Column("external_id", _TEXT, nullable=True),
        sa.Column(
            "custom_fields", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("contact", sa.Uuid(), nullable=False),
        sa.Column("channel", _TEXT, nullable=False),
        sa.Column("purpose", _TEXT, nullable=False),
        sa.Column("decision", _TEXT, nullable=False),
        sa.Column("basis", _TEXT, nullable=False),
        sa.Column("method", _TEXT, nullable=True),
        sa.Column("place", _TEXT, nullable=True),
        sa.Column("text_version", _TEXT, nullable=True),
        sa.Column("source", _TEXT, nullable=True),
        sa.Column("evidence", _TEXT, nullable=True),
        sa.Column("effective_time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_consents_owner", "consents", ["owner", "id"])
    op.create_index("ix_consents_team", "consents", ["team", "id"])
    op.create_index(
        "ix_consents_contact", "consents", ["contact", "channel", "purpose", "effective_time"]
    )
    op.create_index("ix_consents_effective_time", "consents", ["effective_time", "id"])
    op.create_index(
        "ix_consents_delete_time",
        "consents",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_consents_external_id",
        "consents",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("consents")
