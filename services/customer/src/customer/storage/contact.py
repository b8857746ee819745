"""Where contacts are kept."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.customer.v1 import contact_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.statements import TEXT, record_table
from customer.domain.contact import Contact
from customer.domain.phones import normalise_phones
from customer.storage.schema import CUSTOMER

contacts = record_table(
    "contacts",
    CUSTOMER,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("given_name", TEXT),
    sa.Column("family_name", TEXT),
    sa.Column("account", sa.Uuid),
    sa.Column("job_title", TEXT),
    sa.Column("emails", JSONB, nullable=False),
    sa.Column("phones", JSONB, nullable=False),
    sa.Column("addresses", JSONB, nullable=False),
    sa.Column("birthday", sa.Date),
    sa.Column("do_not_call", sa.Boolean),
    sa.Column("sort_name", TEXT),
    sa.Index("ix_contacts_sort_name", "sort_name", "id"),
    sa.Index("ix_contacts_display_name", "display_name", "id"),
    sa.Index("ix_contacts_account", "account", "id"),
)


async def follow_names_and_region(call: Call, after: Contact, before: Contact | None) -> None:
    """Numbers without a country are the organisation's; a name made from others is made anew."""
    if before is None or after.phones != before.phones:
        region = call.organization.region_code
        normalise_phones(after.phones, after.addresses, "contact.phones", default_region=region)
    if before is not None:
        after.follow(before)


CONTACTS = Collection(
    contact_pb2.Contact,
    Contact,
    contacts,
    rule=follow_names_and_region,
)
