"""Create interactions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1550"
down_revision = "2026_11_25_1545"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "interactions",
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
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("direction", _TEXT, nullable=True),
        sa.Column("channel", _TEXT, nullable=True),
        sa.Column("subject", _TEXT, nullable=True),
        sa.Column("body", _TEXT, nullable=True),
        sa.Column("participants", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("participant_addresses", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("related", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("duration_minutes", sa.Integer(), nullable=True),
        sa.Column("occur_time", _TIME, nullable=False),
        sa.Column("message_id", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_interactions_owner", "interactions", ["owner", "id"])
    op.create_index("ix_interactions_team", "interactions", ["team", "id"])
    op.create_index("ix_interactions_occur_time", "interactions", ["occur_time", "id"])
    op.create_index(
        "ix_interactions_owner_occur_time", "interactions", ["owner", "occur_time", "id"]
    )
    for column in ("participants", "related"):
        op.create_index(
            f"ix_interactions_{column}", "interactions", [column], postgresql_using="gin"
        )
    op.create_index(
        "ix_interactions_delete_time",
        "interactions",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    for column in ("external_id", "message_id"):
        op.create_index(
            f"uq_interactions_{column}",
            "interactions",
            [column],
            unique=True,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )


def downgrade() -> None:
    op.drop_table("interactions")
