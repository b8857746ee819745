"""The kit's tables as migrations create them.

A service's first migration calls `create_first`. What changes later comes as a further pair of functions,
called by a further migration of each service; a function that has been released is never edited. That
migrations and `crmkit.schema` agree is tested.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


def create_first() -> None:
    """Creates feed, rights, jobs and imports."""
    op.create_table(
        "consumer_cursor",
        sa.Column("source", sa.Text(collation="C"), nullable=False),
        sa.Column("feed_id", sa.Uuid(), nullable=True),
        sa.Column("applied_seq", sa.BigInteger(), nullable=False),
        sa.Column("applied_chain", sa.LargeBinary(), nullable=False),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "event_log",
        sa.Column("feed_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(collation="C"), nullable=False),
        sa.Column("routing_key", sa.Text(collation="C"), nullable=False),
        sa.Column("subject", sa.Text(collation="C"), nullable=False),
        sa.Column("subject_version", sa.BigInteger(), nullable=False),
        sa.Column("event_index", sa.SmallInteger(), nullable=False),
        sa.Column("time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("effective_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(collation="C"), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.Column("correlation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("causation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("traceparent", sa.Text(collation="C"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("feed_seq"),
        sa.UniqueConstraint("event_id"),
        sa.UniqueConstraint("subject", "subject_version", "event_index"),
    )
    op.create_table(
        "export",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("end_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("specification", sa.LargeBinary(), nullable=False),
        sa.Column("page_token", sa.Text(collation="C"), nullable=True),
        sa.Column("total_rows", sa.BigInteger(), nullable=True),
        sa.Column("processed_rows", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("error_message", sa.Text(collation="C"), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_export_creator", "export", ["creator", "id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.Text(collation="C"), nullable=False),
        sa.Column("method", sa.Text(collation="C"), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("expire_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("principal", "method", "request_id"),
    )
    op.create_index(
        op.f("ix_idempotency_expire_time"), "idempotency", ["expire_time"], unique=False
    )
    op.create_table(
        "import",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("end_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("upload", sa.Uuid(), nullable=False),
        sa.Column("specification", sa.LargeBinary(), nullable=False),
        sa.Column("total_rows", sa.BigInteger(), nullable=False),
        sa.Column("processed_rows", sa.BigInteger(), nullable=False),
        sa.Column("created_count", sa.BigInteger(), nullable=False),
        sa.Column("updated_count", sa.BigInteger(), nullable=False),
        sa.Column("skipped_count", sa.BigInteger(), nullable=False),
        sa.Column("failed_count", sa.BigInteger(), nullable=False),
        sa.Column("warning_count", sa.BigInteger(), nullable=False),
        sa.Column("error_message", sa.Text(collation="C"), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_import_creator", "import", ["creator", "id"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("due_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(collation="C"), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_job_due",
        "job",
        ["due_time"],
        unique=False,
        postgresql_where=sa.text("state = 'QUEUED'"),
    )
    op.create_table(
        "known_record",
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("collection", "id"),
    )
    op.create_table(
        "known_role",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("grants", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "known_signing_key",
        sa.Column("kid", sa.Text(collation="C"), nullable=False),
        sa.Column("jwk", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("kid"),
    )
    op.create_table(
        "known_team",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("parent", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "known_user",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("roles", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True, cache=1), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(collation="C"), nullable=False),
        sa.Column("routing_key", sa.Text(collation="C"), nullable=False),
        sa.Column("subject", sa.Text(collation="C"), nullable=False),
        sa.Column("subject_version", sa.BigInteger(), nullable=False),
        sa.Column("event_index", sa.SmallInteger(), nullable=False),
        sa.Column("time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("effective_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(collation="C"), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.Column("correlation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("causation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("traceparent", sa.Text(collation="C"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0,
            "autovacuum_vacuum_threshold": 1000,
        },
    )
    op.create_table(
        "parked_event",
        sa.Column("source", sa.Text(collation="C"), nullable=False),
        sa.Column("feed_seq", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(collation="C"), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(collation="C"), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("park_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "feed_seq"),
    )
    op.create_index(op.f("ix_parked_event_subject"), "parked_event", ["subject"], unique=False)
    op.create_table(
        "relay_state",
        sa.Column("one", sa.Boolean(), nullable=False),
        sa.Column("feed_id", sa.Uuid(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("published_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_chain", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("one"),
    )
    op.create_table(
        "revoked_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("revoke_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "export_chunk",
        sa.Column("export", sa.Uuid(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["export"], ["export.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("export", "index"),
    )
    op.create_table(
        "import_issue",
        sa.Column("import", sa.Uuid(), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("index", sa.SmallInteger(), nullable=False),
        sa.Column("field", sa.Text(collation="C"), nullable=False),
        sa.Column("reason", sa.Text(collation="C"), nullable=False),
        sa.Column("message", sa.Text(collation="C"), nullable=False),
        sa.Column("severity", sa.Text(collation="C"), nullable=False),
        sa.ForeignKeyConstraint(["import"], ["import.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("import", "row", "index"),
    )
    op.create_table(
        "upload_chunk",
        sa.Column("upload", sa.Uuid(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["upload"], ["upload.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("upload", "index"),
    )
    op.execute("INSERT INTO relay_state VALUES (true, gen_random_uuid(), 0, 0, ''::bytea)")


def drop_first() -> None:
    """Drops them again."""
    op.drop_table("upload_chunk")
    op.drop_table("import_issue")
    op.drop_table("export_chunk")
    op.drop_table("upload")
    op.drop_table("revoked_session")
    op.drop_table("relay_state")
    op.drop_table("parked_event")
    op.drop_table("outbox")
    op.drop_table("known_user")
    op.drop_table("known_team")
    op.drop_table("known_signing_key")
    op.drop_table("known_role")
    op.drop_table("known_record")
    op.drop_table("job")
    op.drop_table("import")
    op.drop_table("idempotency")
    op.drop_table("export")
    op.drop_table("event_log")
    op.drop_table("consumer_cursor")


def create_known_settings() -> None:
    """Creates what a service knows of the organisation's settings."""
    op.create_table(
        "known_setting",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def drop_known_settings() -> None:
    """Drops it again."""
    op.drop_table("known_setting")
