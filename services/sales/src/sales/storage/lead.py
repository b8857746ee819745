"""Where leads are kept, and who of a team has how many of them."""

from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from crm.sales.v1 import lead_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.following import recorded_index
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, money_columns, record_table
from sales.domain.lead import Lead
from sales.storage.schema import SALES

leads = record_table(
    "leads",
    SALES,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("given_name", TEXT),
    sa.Column("family_name", TEXT),
    sa.Column("company", TEXT),
    sa.Column("job_title", TEXT),
    sa.Column("emails", JSONB, nullable=False),
    sa.Column("phones", JSONB, nullable=False),
    sa.Column("website", TEXT),
    sa.Column("region_code", TEXT),
    sa.Column("source", TEXT),
    sa.Column("campaign", sa.Uuid),
    sa.Column("utm", JSONB, nullable=False),
    sa.Column("rating", TEXT),
    sa.Column("products", ARRAY(sa.Uuid), nullable=False),
    sa.Column("need", TEXT),
    *money_columns("amount"),
    sa.Column("next_follow_up_time", TIMESTAMP),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("disqualify_reason", TEXT),
    sa.Column("account", sa.Uuid),
    sa.Column("account_as_recorded", sa.Uuid),
    sa.Column("contact", sa.Uuid),
    sa.Column("contact_as_recorded", sa.Uuid),
    sa.Column("opportunity", sa.Uuid),
    sa.Column("convert_time", TIMESTAMP),
    sa.Column("conversion_error", TEXT),
    sa.Column("conversion", sa.Uuid),
    sa.Index("ix_leads_state", "state", "id"),
    sa.Index("ix_leads_next_follow_up_time", "next_follow_up_time", "id"),
    sa.Index("ix_leads_campaign", "campaign", "id"),
    sa.Index("ix_leads_account", "account", "id"),
    sa.Index("ix_leads_contact", "contact", "id"),
    *recorded_index("leads", "account"),
    *recorded_index("leads", "contact"),
)
_LOADS = compile_statement(
    sa.select(leads.c.owner, sa.func.count())
    .where(
        leads.c.owner == sa.any_(sa.bindparam("owners", type_=ARRAY(sa.Uuid))),
        leads.c.state != "CONVERTED",
        leads.c.state != "DISQUALIFIED",
        leads.c.delete_time.is_(None),
    )
    .group_by(leads.c.owner)
)


async def begin_or_keep(call: Call, after: Lead, before: Lead | None) -> None:
    """A new lead has a state; one that is being converted stays as it is until that has ended."""
    if before is None:
        after.begin(imported=call.imported)
    elif before.state == after.state == "CONVERTING":
        after.refuse_changes()


async def least_loaded(call: Call, people: Iterable[UUID]) -> UUID | None:
    """Who of some people has the fewest open leads; None of nobody."""
    candidates = sorted(people)
    loads: dict[UUID, int] = dict(await call.reader.fetch_all(_LOADS, {"owners": candidates}))
    return min(candidates, key=lambda person: loads.get(person, 0), default=None)


LEADS = Collection(
    lead_pb2.Lead,
    Lead,
    leads,
    natural_key="",  # two people may have one name
    rule=begin_or_keep,
    import_fields=["state", "disqualify_reason"],
    private=frozenset({"conversion"}),
)
