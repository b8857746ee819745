"""Where contacts are kept."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.customer.v1 import contact_pb2
from crmkit.collection import Collection
from crmkit.statements import TEXT, record_table
from customer.domain.contact import Contact
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
    sa.Index("ix_contacts_display_name", "display_name", "id"),
    sa.Index("ix_contacts_account", "account", "id"),
)

CONTACTS = Collection(contact_pb2.Contact, Contact, contacts)
