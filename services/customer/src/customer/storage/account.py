"""Where accounts are kept."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crm.customer.v1 import account_pb2
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.following import recorded_index
from crmkit.numbers import Numbers
from crmkit.preparing import prepare
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, money_columns, record_table
from customer.domain.account import Account
from customer.domain.contact import Contact
from customer.domain.party import Party
from customer.storage.contact import CONTACTS
from customer.storage.party import Parties, external_id_table, party_columns
from customer.storage.pooled import InPools
from customer.storage.schema import CUSTOMER
from customer.storage.touch import note_new_owner

accounts = record_table(
    "accounts",
    CUSTOMER,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("legal_name", TEXT),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("partner", sa.Boolean),
    sa.Column("parent_account", sa.Uuid),
    sa.Column("parent_account_as_recorded", sa.Uuid),
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
    sa.Column("pool", sa.Uuid),
    sa.Column("pool_time", TIMESTAMP),
    sa.Column("claim_pool", sa.Uuid),
    sa.Column("reclaim_pool", sa.Uuid),
    sa.Column("reclaim_time", TIMESTAMP),
    sa.Index("ix_accounts_pool", "pool", "id", postgresql_where=sa.text("pool IS NOT NULL")),
    sa.Index(
        "ix_accounts_claim_pool",
        "claim_pool",
        "owner",
        postgresql_where=sa.text("claim_pool IS NOT NULL"),
    ),
    sa.Index(
        "ix_accounts_reclaim_time",
        "reclaim_time",
        "id",
        postgresql_where=sa.text("reclaim_time IS NOT NULL"),
    ),
    sa.Index("ix_accounts_display_name", "display_name", "id"),
    sa.Index("ix_accounts_parent_account", "parent_account"),
    *recorded_index("accounts", "parent_account"),
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
_PARENTS = compile_statement(
    sa.select(accounts.c.parent_account).where(
        accounts.c.id == sa.any_(sa.bindparam("ids", type_=ARRAY(sa.Uuid))),
        accounts.c.parent_account.is_not(None),
    )
)
_BY_NUMBER = compile_statement(
    sa.select(accounts.c.id).where(accounts.c.customer_number == sa.bindparam("number"))
)
_HOLD_HIERARCHY = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('accounts.parent_account', 0))")
)


async def settle_account(call: Call, after: Account, before: Account | None) -> None:
    """A new account gets its number; numbers to dial without a country are the organisation's."""
    if after.phones and (before is None or after.phones != before.phones):
        after.settle_points(call.organization.region_code)
        after.rate_as_account()
    await ACCOUNTS.hint_at_shared_emails(call, after)
    if before is None and after.has_credit:  # an import brings it along
        call.principal.require(ACCOUNTS.permission("setCredit"))
    if not after.customer_number:
        after.customer_number = await _NUMBERS.draw(call)
    await _refuse_circles(call, after, before)
    if before is not None:
        after.follow_owner(before)
        if after.owner not in {None, before.owner}:
            await note_new_owner(call, after.id)
    if before is None and after.is_person:
        await _prepare_person(call, after)


async def _prepare_person(call: Call, account: Account) -> None:
    """What stands against a person's contact stands against the account: an import tells of it in its row."""
    contact: Contact | None = call.state.get(person_key(account.id))
    if contact is None:
        contact = CONTACTS.new(call, account.in_step())
        call.state[person_key(account.id)] = contact
    for name, value in account.in_step().items():
        setattr(contact, name, value)
    contact.account = contact.person_account = account.id
    await prepare(CONTACTS, call, contact, None, ())  # its account is not stored yet: no references


def person_key(account: UUID) -> tuple[str, UUID]:
    """Where a piece of work keeps the contact that belongs to a private person's new account."""
    return "contact of", account


async def _refuse_circles(call: Call, after: Account, before: Account | None) -> None:
    """An account does not belong, over however many steps, to itself."""
    if before is None or after.parent_account in {None, before.parent_account}:
        return
    await call.tx.fetch_one(_HOLD_HIERARCHY)  # two changes at a time could make a circle together
    above = await call.tx.fetch_all(_ANCESTORS, {"id": after.parent_account})
    if any(row[0] == after.id for row in above):
        msg = "The account would belong to itself."
        raise InvalidArgument(msg, reason="CIRCLE", field="account.parent_account")


class Accounts(InPools[Account]):
    """Accounts; a private person's is kept in step with their contact."""

    async def above(self, call: Call, account: UUID) -> set[UUID]:
        """The accounts that one belongs to, over however many steps; nobody changes that before the end."""
        await call.tx.fetch_one(_HOLD_HIERARCHY)
        above = await call.tx.fetch_all(_ANCESTORS, {"id": account})
        parents = await call.tx.fetch_all(_PARENTS, {"ids": [row[0] for row in above]})
        return {row[0] for row in parents}

    async def by_number(self, call: Call, number: str) -> Account:
        """The account with a customer number, within the caller's scope; raises NotFound."""
        row = await call.reader.fetch_one(_BY_NUMBER, {"number": number})
        found = await self.get_many(call, [row[0]]) if row is not None else []
        if not found:
            wanted = f"account with the number {number}"
            raise self.not_found(wanted)
        return found[0]

    async def insert(self, call: Call, entity: Account) -> Account:
        """Stores a new account, and a private person's contact."""
        entity = await super().insert(call, entity)
        if entity.is_person:
            await CONTACTS.insert(call, call.state[person_key(entity.id)])
        return entity

    async def insert_many(self, call: Call, entities: Sequence[Account]) -> None:
        """Stores many new accounts, and the contacts of private persons."""
        await super().insert_many(call, entities)
        persons = [call.state[person_key(entity.id)] for entity in entities if entity.is_person]
        if persons:
            await CONTACTS.insert_many(call, persons)

    async def save(self, call: Call, entity: Account, kind: str = "updated") -> Account:
        """Stores an account's next version, and what it changes of the person's contact."""
        was_person = call.state[entity.id][0].is_person
        entity = await super().save(call, entity, kind)
        if not (entity.is_person or was_person):
            return entity
        contact = await CONTACTS.of_person(call, entity.id)
        if contact is None:
            contact = CONTACTS.new(call, {**entity.in_step(), "account": entity.id})
            contact.person_account = entity.id
            await CONTACTS.insert(call, contact)
        elif not entity.is_person:
            contact.person_account = None
            await CONTACTS.save(call, contact)
        elif contact.in_step() != entity.in_step():
            await _put(CONTACTS, call, contact, entity, kind)
        return entity

    async def follow_person(self, call: Call, account: UUID, contact: Contact, kind: str) -> None:
        """Makes a private person's account what their contact has become."""
        entity = await self.for_change(call, account, deleted=True)
        if entity.in_step() != contact.in_step():
            await _put(self, call, entity, contact, kind)


async def _put(parties: Parties[Any], call: Call, after: Party, source: Party, kind: str) -> None:
    moved = after.delete_time != source.delete_time
    for name, value in source.in_step().items():
        setattr(after, name, value)
    await parties.save(call, after, kind if moved else "updated")


ACCOUNTS = Accounts(
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
