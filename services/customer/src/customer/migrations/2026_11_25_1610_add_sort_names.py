"""Add what names are sorted by, and mark what comes first of a list."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

from customer.domain.names import firm_key, person_key

revision = "2026_11_25_1610"
down_revision = "2026_11_25_1600"
branch_labels = None
depends_on = None

_AT_ONCE = 5000


def upgrade() -> None:
    for table in ("accounts", "contacts"):
        op.add_column(table, sa.Column("sort_name", sa.Text(collation="C"), nullable=True))
        for points in ("emails", "phones", "addresses"):
            op.execute(  # the names are those above
                f"UPDATE {table} SET {points} = jsonb_set({points}, '{{0,primary}}', 'true')"  # noqa: S608
                f" WHERE jsonb_array_length({points}) > 0"
            )
    _fill(
        "SELECT id, display_name, kind FROM accounts",
        "accounts",
        lambda row: person_key(row[1], None, None) if row[2] == "PERSON" else firm_key(row[1]),
    )
    _fill(
        "SELECT id, display_name, given_name, family_name FROM contacts",
        "contacts",
        lambda row: person_key(row[1], row[2], row[3]),
    )
    for table in ("accounts", "contacts"):
        op.create_index(f"ix_{table}_sort_name", table, ["sort_name", "id"])


def _fill(select: str, table: str, key: Callable[[Any], str | None]) -> None:
    connection = op.get_bind()
    update = sa.text(f"UPDATE {table} SET sort_name = :key WHERE id = :id")  # noqa: S608
    last = None
    while True:
        position = " WHERE id > :last" if last else ""
        page = sa.text(f"{select}{position} ORDER BY id LIMIT {_AT_ONCE}")
        rows = connection.execute(page, {"last": last} if last else {}).all()
        if not rows:
            return
        connection.execute(update, [{"id": row[0], "key": key(row)} for row in rows])
        last = rows[-1][0]


def downgrade() -> None:
    for table in ("accounts", "contacts"):
        op.drop_index(f"ix_{table}_sort_name", table)
        op.drop_column(table, "sort_name")
