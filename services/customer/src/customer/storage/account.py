"""Where accounts are kept."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.customer.v1 import account_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import InvalidArgument
from crmkit.statements import TEXT, compile_statement, money_columns, record_table
from customer.domain.account import Account
from customer.domain.phones import normalise_phones
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
    sa.Column("emails", JSONB, nullable=False),
    sa.Column("phones", JSONB, nullable=False),
    sa.Column("addresses", JSONB, nullable=False),
    sa.Column("sort_name", TEXT),
    sa.Index("ix_accounts_sort_name", "sort_name", "id"),
    sa.Index("ix_accounts_display_name", "display_name", "id"),
    sa.Index("ix_accounts_parent_account", "parent_account"),
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
    """Numbers without a country are the organisation's; nothing belongs to itself."""
    if before is None or after.phones != before.phones:
        region = call.organization.region_code
        normalise_phones(after.phones, after.addresses, "account.phones", default_region=region)
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


ACCOUNTS = Collection(
    account_pb2.Account,
    Account,
    accounts,
    rule=settle_account,
    import_fields=["state"],
)
