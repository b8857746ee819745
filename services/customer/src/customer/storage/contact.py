"""Where contacts are kept."""

import sqlalchemy as sa

from crm.customer.v1 import contact_pb2
from crmkit.call import Call
from crmkit.statements import TEXT, record_table
from customer.domain.contact import Contact
from customer.storage.party import Parties, external_id_table, party_columns
from customer.storage.schema import CUSTOMER

contacts = record_table(
    "contacts",
    CUSTOMER,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("given_name", TEXT),
    sa.Column("family_name", TEXT),
    sa.Column("account", sa.Uuid),
    sa.Column("job_title", TEXT),
    sa.Column("birthday", sa.Date),
    sa.Column("do_not_call", sa.Boolean),
    *party_columns("contacts"),
    sa.Index("ix_contacts_display_name", "display_name", "id"),
    sa.Index("ix_contacts_account", "account", "id"),
)
contact_external_ids = external_id_table("contacts")


async def settle_contact(call: Call, after: Contact, before: Contact | None) -> None:
    """Numbers without a country are the organisation's; a name made from others is made anew."""
    if before is None or after.phones != before.phones:
        after.settle_points(call.organization.region_code)
        after.rate_as_person()
    if before is not None:
        after.follow(before)


CONTACTS: Parties[Contact] = Parties(
    contact_pb2.Contact,
    Contact,
    contacts,
    rule=settle_contact,
    external_ids=contact_external_ids,
)
