"""Add customer numbers, external ids, grades, credit, preferences and how complete records are."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1620"
down_revision = "2026_11_25_1610"
branch_labels = None
depends_on = None

_TEXTS = postgresql.ARRAY(sa.Text(collation="C"))
_PARTY = ("preferred_channel", "quiet_hours_start", "quiet_hours_end", "time_zone", "language_code")
_ACCOUNT = (
    "customer_number", "grade", "grade_source", "grade_reason", "credit_class", "credit_state",
    "credit_reason",
)  # fmt: skip
_MONEY = ("credit_limit", "credit_used")
# As the rules say on this day: the field, and when it is missing.
_POINTS = {
    "emails": "emails = '[]'",
    "phones": "NOT jsonb_path_exists(phones, '$[*].number ? (@ like_regex \"^[+][1-9][0-9]{6,14}$\")')",
    "addresses": "addresses = '[]'",
}
_ORGANISATION = _POINTS | {
    "owner": "owner IS NULL",
    "industry": "coalesce(industry, '') = ''",
    "employee_count": "employee_count IS NULL",
    "website": "coalesce(website, '') = ''",
}
_PERSON = _POINTS | {"owner": "owner IS NULL", "language_code": "true"}
_CONTACT = _POINTS | {
    "account": "account IS NULL",
    "job_title": "coalesce(job_title, '') = ''",
    "language_code": "true",
    "owner": "owner IS NULL",
}


def upgrade() -> None:
    for table in ("accounts", "contacts"):
        _add_party(table)
    for name in _ACCOUNT:
        op.add_column("accounts", sa.Column(name, sa.Text(collation="C"), nullable=True))
    for name in _MONEY:
        op.add_column("accounts", sa.Column(name, sa.Numeric(19, 4), nullable=True))
        op.add_column("accounts", sa.Column(f"{name}_currency", sa.String(3), nullable=True))
    op.add_column("accounts", sa.Column("credit_review_date", sa.Date(), nullable=True))
    op.add_column("accounts", sa.Column("domains", _TEXTS, nullable=False, server_default="{}"))
    op.create_index("ix_accounts_domains", "accounts", ["domains"], postgresql_using="gin")
    op.execute("CREATE SEQUENCE customer_numbers")
    op.execute(
        "UPDATE accounts SET customer_number = 'C-' || lpad(n::text, greatest(6, length(n::text)), '0')"
        " FROM (SELECT id, nextval('customer_numbers') AS n"
        "         FROM (SELECT id FROM accounts ORDER BY create_time, id) AS oldest_first) AS numbered"
        " WHERE numbered.id = accounts.id"
    )
    op.create_index(
        "uq_accounts_customer_number",
        "accounts",
        ["customer_number"],
        unique=True,
        postgresql_where=sa.text("customer_number IS NOT NULL"),
    )
    _rate("accounts", _ORGANISATION, " WHERE kind <> 'PERSON'")
    _rate("accounts", _PERSON, " WHERE kind = 'PERSON'")
    _rate("contacts", _CONTACT, "")


def _add_party(table: str) -> None:
    one = table.removesuffix("s")
    for name in _PARTY:
        op.add_column(table, sa.Column(name, sa.Text(collation="C"), nullable=True))
    for name in ("interests", "missing_fields"):
        op.add_column(table, sa.Column(name, _TEXTS, nullable=False, server_default="{}"))
    for name, empty in (("external_ids", "{}"), ("important_dates", "[]")):
        column = sa.Column(name, postgresql.JSONB(), nullable=False, server_default=empty)
        op.add_column(table, column)
    op.add_column(table, sa.Column("completeness", sa.Integer(), nullable=True))
    op.create_index(f"ix_{table}_completeness", table, ["completeness", "id"])
    op.create_table(
        f"{one}_external_ids",
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("system", sa.Text(collation="C"), nullable=False),
        sa.Column("value", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("record", "system"),
        sa.ForeignKeyConstraint(["record"], [f"{table}.id"], ondelete="CASCADE"),
        sa.UniqueConstraint("system", "value", name=f"uq_{one}_external_ids_external_ids"),
    )


def _rate(table: str, expected: dict[str, str], where: str) -> None:
    missing = ", ".join(f"CASE WHEN {when} THEN '{name}' END" for name, when in expected.items())
    op.execute(f"UPDATE {table} SET missing_fields = array_remove(ARRAY[{missing}], NULL){where}")  # noqa: S608
    share = f"round(100.0 * ({len(expected)} - cardinality(missing_fields)) / {len(expected)})"
    op.execute(f"UPDATE {table} SET completeness = {share}{where}")  # noqa: S608


def downgrade() -> None:
    for table in ("accounts", "contacts"):
        op.drop_table(f"{table.removesuffix('s')}_external_ids")
        op.drop_index(f"ix_{table}_completeness", table)
        for name in (
            *_PARTY, "interests", "missing_fields", "external_ids", "important_dates", "completeness"
        ):  # fmt: skip
            op.drop_column(table, name)
    op.drop_index("uq_accounts_customer_number", "accounts")
    op.drop_index("ix_accounts_domains", "accounts")
    op.execute("DROP SEQUENCE customer_numbers")
    for name in (
        *_ACCOUNT,
        *_MONEY,
        *(f"{m}_currency" for m in _MONEY),
        "domains",
        "credit_review_date",
    ):
        op.drop_column("accounts", name)
