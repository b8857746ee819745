"""Create timelines, and have the past of other services read for them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1655"
down_revision = "2026_11_25_1654"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "timeline_records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("collection", _TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("purged", sa.Boolean(), nullable=False),
        sa.Column("account", sa.Uuid(), nullable=True),
        sa.Column("account_as_recorded", sa.Uuid(), nullable=True),
        sa.Column("contact", sa.Uuid(), nullable=True),
        sa.Column("contact_as_recorded", sa.Uuid(), nullable=True),
        sa.Column("title", _TEXT, nullable=True),
        sa.Column("state", _TEXT, nullable=True),
        sa.Column("amount", sa.Numeric(19, 4), nullable=True),
        sa.Column("amount_currency", sa.String(3), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_timeline_records_account", "timeline_records", ["account", "collection", "state"]
    )
    op.create_index(
        "ix_timeline_records_contact", "timeline_records", ["contact", "collection", "state"]
    )
    op.create_table(
        "timeline_entries",
        sa.Column("party", sa.Uuid(), nullable=False),
        sa.Column("effective_time", _TIME, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("via", sa.Uuid(), nullable=False),
        sa.Column("party_as_recorded", sa.Uuid(), nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("collection", _TEXT, nullable=False),
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("guard", sa.Uuid(), nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("touch", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("party", "effective_time", "id", "via", "party_as_recorded"),
    )
    op.create_index("ix_timeline_entries_guard", "timeline_entries", ["guard"])
    op.create_index(
        "ix_timeline_entries_via",
        "timeline_entries",
        ["via"],
        postgresql_where=sa.text("via <> '00000000-0000-0000-0000-000000000000'"),
    )
    op.create_index(
        "ix_timeline_entries_merged",
        "timeline_entries",
        ["party_as_recorded"],
        postgresql_where=sa.text("party <> party_as_recorded"),
    )
    op.create_index(
        "ix_timeline_entries_touch",
        "timeline_entries",
        ["party", "effective_time", "id"],
        postgresql_where=sa.text("touch AND NOT deleted"),
    )
    op.create_table(
        "timeline_sources",
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("read_seq", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    # Unfinished ones only, of which a customer has few.
    op.create_index(
        "ix_appointments_related_planned",
        "appointments",
        ["related"],
        postgresql_using="gin",
        postgresql_where=sa.text("state = 'PLANNED'"),
    )
    op.create_index(
        "ix_appointments_participants_planned",
        "appointments",
        ["participants"],
        postgresql_using="gin",
        postgresql_where=sa.text("state = 'PLANNED'"),
    )
    op.create_index(
        "ix_tasks_related_unfinished",
        "tasks",
        ["related"],
        postgresql_using="gin",
        postgresql_where=sa.text("state IN ('OPEN', 'IN_PROGRESS')"),
    )
    # What was applied before there was a place for it is read again, by the job `read_past`.
    op.execute(
        "INSERT INTO timeline_sources (source, read_seq, complete)"
        " SELECT source, 0, false FROM consumer_cursor"
        " WHERE source IN ('sales', 'support') AND applied_seq > 0"
    )
    op.execute(
        "INSERT INTO job (id, kind, arguments, state, due_time, attempts, failures)"
        " SELECT '0197f000-0000-7000-8000-000000000002', 'read_past', '{}', 'QUEUED', now(), 0, 0"
        " WHERE EXISTS (SELECT FROM timeline_sources)"
    )


def downgrade() -> None:
    op.execute("DELETE FROM job WHERE kind = 'read_past'")
    op.execute(
        "DELETE FROM consumer_cursor WHERE source = 'customer'"
    )  # our own events were read for this only
    op.drop_index("ix_tasks_related_unfinished", "tasks")
    op.drop_index("ix_appointments_participants_planned", "appointments")
    op.drop_index("ix_appointments_related_planned", "appointments")
    op.drop_table("timeline_sources")
    op.drop_table("timeline_entries")
    op.drop_table("timeline_records")
