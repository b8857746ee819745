"""What later migrations do to the kit's tables: pairs of functions, as in `platform_tables`.

Each is called by one migration of every service; one that has been released is never edited.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


def create_revisions() -> None:
    """Creates the table of the records' history."""
    op.create_table(
        "revision",
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("correlation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("causation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("record", "version"),
    )


def drop_revisions() -> None:
    """Drops it again."""
    op.drop_table("revision")


def index_trash(*tables: str) -> None:
    """Indexes the deleted records of tables, by the time of their deletion."""
    for table in tables:
        op.create_index(
            f"ix_{table}_delete_time",
            table,
            ["delete_time", "id"],
            postgresql_where=sa.text("delete_time IS NOT NULL"),
        )


def unindex_trash(*tables: str) -> None:
    """Drops these indexes again."""
    for table in tables:
        op.drop_index(f"ix_{table}_delete_time", table)
