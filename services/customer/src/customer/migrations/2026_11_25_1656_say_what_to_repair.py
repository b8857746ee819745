"""Say what is to be repaired in accounts and contacts, and where their values come from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1656"
down_revision = "2026_11_25_1655"
branch_labels = None
depends_on = None

_TABLES = ("accounts", "contacts")
_TEXTS = postgresql.ARRAY(sa.Text(collation="C"))
# As the rules say on this day; no address was known to bounce.
_ISSUES = {
    "NO_EMAIL_OR_PHONE": "emails = '[]' AND phones = '[]'",
    "UNVERIFIABLE_PHONE": "jsonb_path_exists(phones,"
    " '$[*].number ? (!(@ like_regex \"^[+][1-9][0-9]{6,14}$\"))')",
    "ADDRESS_WITHOUT_COUNTRY": "jsonb_path_exists(addresses,"
    " '$[*] ? (!(exists(@.region_code)) || @.region_code == \"\")')",
    "NO_OWNER": "owner IS NULL",
}


def upgrade() -> None:
    for table in _TABLES:
        known = _ISSUES | (
            {"NO_OWNER": "owner IS NULL AND pool IS NULL"} if table == "accounts" else {}
        )
        issues = ", ".join(f"CASE WHEN {when} THEN '{name}' END" for name, when in known.items())
        op.add_column(
            table, sa.Column("quality_issues", _TEXTS, nullable=False, server_default="{}")
        )
        op.add_column(
            table,
            sa.Column("field_sources", postgresql.JSONB(), nullable=False, server_default="{}"),
        )
        op.execute(f"UPDATE {table} SET quality_issues = array_remove(ARRAY[{issues}], NULL)")  # noqa: S608
        op.create_index(
            f"ix_{table}_quality_issues", table, ["quality_issues"], postgresql_using="gin"
        )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_index(f"ix_{table}_quality_issues", table)
        op.drop_column(table, "field_sources")
        op.drop_column(table, "quality_issues")
