"""Find duplicates: blocks, sets, what was dismissed, scans, and how far changes were looked at."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1653"
down_revision = "2026_11_25_1652"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    _create_sets()
    op.create_table(
        "duplicate_keys",
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("block", "record"),
    )
    op.create_index("ix_duplicate_keys_record", "duplicate_keys", ["record"])
    op.create_table(
        "duplicate_dismissals",
        sa.Column("first", _TEXT, nullable=False),
        sa.Column("second", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("first", "second"),
    )
    watch = op.create_table(
        "duplicate_watch",
        sa.Column("one", sa.Boolean(), nullable=False),
        sa.Column("feed_seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one"),
        sa.PrimaryKeyConstraint("one"),
    )
    # From the first event on: what lies in the database already is looked at, too.
    op.bulk_insert(watch, [{"one": True, "feed_seq": 0}])
    op.create_table(
        "duplicate_scans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("position", sa.Uuid(), nullable=True),
        sa.Column("total_rows", sa.BigInteger(), nullable=True),
        sa.Column("processed_rows", sa.BigInteger(), nullable=False),
        sa.Column("found_count", sa.BigInteger(), nullable=False),
        sa.Column("error_message", _TEXT, nullable=True),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("end_time", _TIME, nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "uq_duplicate_scans_resource",
        "duplicate_scans",
        ["resource"],
        unique=True,
        postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
    )


def _create_sets() -> None:
    op.create_table(
        "duplicate_sets",
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
        sa.Column("resource", _TEXT, nullable=False),
        sa.Column("members", postgresql.ARRAY(_TEXT), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("pairs", postgresql.JSONB(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_duplicate_sets_owner", "duplicate_sets", ["owner", "id"])
    op.create_index("ix_duplicate_sets_team", "duplicate_sets", ["team", "id"])
    op.create_index(
        "ix_duplicate_sets_members", "duplicate_sets", ["members"], postgresql_using="gin"
    )
    op.create_index("ix_duplicate_sets_state", "duplicate_sets", ["state", "id"])
    op.create_index("ix_duplicate_sets_score", "duplicate_sets", ["score", "id"])
    op.create_index(
        "ix_duplicate_sets_delete_time",
        "duplicate_sets",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_duplicate_sets_external_id",
        "duplicate_sets",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    for table in ("scans", "watch", "dismissals", "keys", "sets"):
        op.drop_table(f"duplicate_{table}")
