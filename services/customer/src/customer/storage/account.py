"""Where accounts are kept."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crm.customer.v1 import account_pb2
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.numbers import Numbers
from crmkit.statements import TEXT, compile_statement, money_columns, record_table
from customer.domain.account import Account
from customer.storage.party import Parties, external_id_table, party_columns
from customer.storage.schema import CUSTOMER

accounts = record_table(
    "accounts",
    CUSTOMER,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("legal_name", TEXT),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("partner", sa.Boolean),
    sa.Column("parent_account", sa.Uuid),
    sa.Column("industry", TEXT),
    sa.Column("founded_year", sa.Integer),
    sa.Column("employee_count", sa.Integer),
    *money_columns("annual_revenue"),
    sa.Column("website", TEXT),
    sa.Column("tax_id", TEXT),
    sa.Column("customer_number", TEXT),
    sa.Column("domains", ARRAY(TEXT), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("grade", TEXT),
    sa.Column("grade_source", TEXT),
    sa.Column("grade_reason", TEXT),
    sa.Column("credit_class", TEXT),
    sa.Column("credit_state", TEXT),
    *money_columns("credit_limit"),
    *money_columns("credit_used"),
    sa.Column("credit_reason", TEXT),
    sa.Column("credit_review_date", sa.Date),
    *party_columns("accounts"),
    sa.Index("ix_accounts_display_name", "display_name", "id"),
    sa.Index("ix_accounts_parent_account", "parent_account"),
    sa.Index("ix_accounts_domains", "domains", postgresql_using="gin"),
    sa.Index(
        "uq_accounts_customer_number",
        "customer_number",
        unique=True,
        postgresql_where=sa.text("customer_number IS NOT NULL"),
    ),
)
account_external_ids = external_id_table("accounts")

_NUMBERS = Numbers(
    "customer",
    "C-{number:6}",
    sa.Sequence("customer_numbers", metadata=CUSTOMER),
    accounts.c.customer_number,
)
_ANCESTORS = compile_statement(
    sa.text(
        """
        WITH RECURSIVE above AS (
          SELECT id, parent_account FROM accounts WHERE id = :id
          UNION SELECT a.id, a.parent_account FROM accounts a JOIN above ON a.id = above.parent_account
        ) SELECT id FROM above
        """
    ).bindparams(sa.bindparam("id", type_=sa.Uuid))
)
_HOLD_HIERARCHY = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('accounts.parent_account', 0))")
)


async def settle_account(call: Call, after: Account, before: Account | None) -> None:
    """A new account gets its number; numbers to dial without a country are the organisation's."""
    if before is None or after.phones != before.phones:
        after.settle_points(call.organization.region_code)
        after.rate_as_account()
    if not after.customer_number:
        after.customer_number = await _NUMBERS.draw(call)
    await _refuse_circles(call, after, before)


async def _refuse_circles(call: Call, after: Account, before: Account | None) -> None:
    """An account does not belong, over however many steps, to itself."""
    if before is None or after.parent_account in {None, before.parent_account}:
        return
    await call.tx.fetch_one(_HOLD_HIERARCHY)  # two changes at a time could make a circle together
    above = await call.tx.fetch_all(_ANCESTORS, {"id": after.parent_account})
    if any(row[0] == after.id for row in above):
        msg = "The account would belong to itself."
        raise InvalidArgument(msg, reason="CIRCLE", field="account.parent_account")


ACCOUNTS: Parties[Account] = Parties(
    account_pb2.Account,
    Account,
    accounts,
    rule=settle_account,
    import_fields=[
        "state",
        "customer_number",
        "grade",
        "grade_source",
        "grade_reason",
        "credit_class",
        "credit_state",
        "credit_limit",
        "credit_used",
        "credit_reason",
        "credit_review_date",
    ],
    external_ids=account_external_ids,
)
