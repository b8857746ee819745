"""Index e-mail addresses and phone numbers, which imports look people up by."""

from alembic import op

revision = "2026_11_25_1650"
down_revision = "2026_11_25_1640"
branch_labels = None
depends_on = None

_TABLES = ("accounts", "contacts")
_POINTS = ("emails", "phones")


def upgrade() -> None:
    for table in _TABLES:
        for points in _POINTS:
            op.create_index(
                f"ix_{table}_{points}",
                table,
                [points],
                postgresql_using="gin",
                postgresql_ops={points: "jsonb_path_ops"},
            )


def downgrade() -> None:
    for table in _TABLES:
        for points in _POINTS:
            op.drop_index(f"ix_{table}_{points}", table_name=table)
