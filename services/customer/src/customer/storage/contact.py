"""Where contacts are kept."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.customer.v1 import contact_pb2
from crmkit.call import Call
from crmkit.following import recorded_index
from crmkit.statements import TEXT, compile_statement, record_table
from customer.domain.contact import Contact
from customer.domain.erasure import refuse_erased
from customer.storage.erasure import running_erasure
from customer.storage.party import Parties, external_id_table, party_columns
from customer.storage.schema import CUSTOMER

contacts = record_table(
    "contacts",
    CUSTOMER,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("given_name", TEXT),
    sa.Column("family_name", TEXT),
    sa.Column("account", sa.Uuid),
    sa.Column("account_as_recorded", sa.Uuid),
    sa.Column("job_title", TEXT),
    sa.Column("birthday", sa.Date),
    sa.Column("do_not_call", sa.Boolean),
    *party_columns("contacts"),
    sa.Index("ix_contacts_display_name", "display_name", "id"),
    sa.Column("accounts", JSONB, nullable=False, server_default=sa.text("'[]'")),
    sa.Column("accounts_as_recorded", JSONB),
    sa.Column("person_account", sa.Uuid),
    sa.Index("ix_contacts_account", "account", "id"),
    *recorded_index("contacts", "account"),
    *recorded_index("contacts", "accounts", "jsonb_path_ops"),
    sa.Index(
        "ix_contacts_accounts",
        "accounts",
        postgresql_using="gin",
        postgresql_ops={"accounts": "jsonb_path_ops"},
    ),
    sa.Index(
        "uq_contacts_person_account",
        "person_account",
        unique=True,
        postgresql_where=sa.text("person_account IS NOT NULL"),
    ),
)
contact_external_ids = external_id_table("contacts")


_OF_OWNER = compile_statement(
    sa.select(contacts.c.id)
    .where(
        contacts.c.account == sa.bindparam("account", type_=sa.Uuid),
        contacts.c.owner.is_not_distinct_from(sa.bindparam("owner", type_=sa.Uuid)),
        contacts.c.delete_time.is_(None),
    )
    .order_by(contacts.c.id)
)
_OF_PERSON = compile_statement(
    sa.select(contacts.c.id).where(
        contacts.c.person_account == sa.bindparam("account", type_=sa.Uuid)
    )
)


async def settle_contact(call: Call, after: Contact, before: Contact | None) -> None:
    """Numbers without a country are the organisation's; what was made from other fields follows them."""
    if after.phones and (before is None or after.phones != before.phones):
        after.settle_points(call.organization.region_code)
    if before is not None:
        after.follow(before)
        if before.delete_time is not None and after.delete_time is None:
            refuse_erased(after.erase_time, await running_erasure(call.tx, after.id))
    after.settle_accounts(before)
    after.rate_as_person()
    await CONTACTS.hint_at_shared_emails(call, after)


async def keep_erased(call: Call, contact: Contact) -> None:
    """Refuses to purge whom an erasure still has to find, and the shell with the proof of their consents."""
    refuse_erased(contact.erase_time, await running_erasure(call.tx, contact.id))


class Contacts(Parties[Contact]):
    """Contacts; a private person's is kept in step with their account."""

    async def save(self, call: Call, entity: Contact, kind: str = "updated") -> Contact:
        """Stores a contact's next version, and what it changes of the person's account."""
        entity = await super().save(call, entity, kind)
        if entity.person_account is not None:
            accounts = call.home.collections["accounts"]
            await accounts.follow_person(call, entity.person_account, entity, kind)
        return entity

    async def of_person(self, call: Call, account: UUID) -> Contact | None:
        """The contact that an account of a private person is, locked for a change; None without one."""
        row = await call.tx.fetch_one(_OF_PERSON, {"account": account})
        return await self.for_change(call, row[0], deleted=True) if row is not None else None

    async def person_of(self, call: Call, account: UUID) -> Contact | None:
        """The contact that an account of a private person is, to be read; None without one."""
        row = await call.reader.fetch_one(_OF_PERSON, {"account": account})
        permission = self.permission("get")
        found = await self.get_many(call, [row[0]], permission=permission) if row else []
        return found[0] if found else None

    async def of_owner(self, call: Call, account: UUID, owner: UUID | None) -> list[UUID]:
        """The contacts of an owner, or of nobody, whose primary account this is."""
        rows = await call.tx.fetch_all(_OF_OWNER, {"account": account, "owner": owner})
        return [row[0] for row in rows]


CONTACTS = Contacts(
    contact_pb2.Contact,
    Contact,
    contacts,
    natural_key="",  # two people may have one name
    rule=settle_contact,
    external_ids=contact_external_ids,
)
CONTACTS.before_purge = keep_erased
