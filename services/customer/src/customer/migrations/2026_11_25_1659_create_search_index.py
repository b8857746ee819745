"""Create the index that accounts and contacts are searched by.

The running service fills it from existing records (`search_upkeep`): what an entry is follows from rules of
the code, and a table of any size must not hold up an upgrade.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1659"
down_revision = "2026_11_25_1658"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")


def upgrade() -> None:
    # A trusted extension: whoever owns the database may create it.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "search_entries",
        sa.Column("record", sa.Uuid(), primary_key=True),
        sa.Column("collection", _TEXT, nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("words", postgresql.ARRAY(_TEXT), nullable=False),
    )
    op.create_index("ix_search_entries_words", "search_entries", ["words"], postgresql_using="gin")
    op.create_index("ix_search_entries_owner", "search_entries", ["owner"])
    op.create_index("ix_search_entries_team", "search_entries", ["team"])
    op.create_table(
        "search_keys",
        sa.Column("record", sa.Uuid(), primary_key=True),
        sa.Column("field", _TEXT, primary_key=True),
        sa.Column("value", _TEXT, primary_key=True),
    )
    op.create_index("ix_search_keys_value", "search_keys", ["value"])
    op.create_table("search_words", sa.Column("word", _TEXT, nullable=False))
    op.create_index("ix_search_words_word", "search_words", ["word"])
    op.create_index(
        "ix_search_words_trigrams",
        "search_words",
        ["word"],
        postgresql_using="gin",
        postgresql_ops={"word": "gin_trgm_ops"},
    )
    op.create_table("search_lost_words", sa.Column("word", _TEXT, nullable=False))


def downgrade() -> None:
    # The extension stays: other things may use it by then.
    for table in ("search_lost_words", "search_words", "search_keys", "search_entries"):
        op.drop_table(table)
