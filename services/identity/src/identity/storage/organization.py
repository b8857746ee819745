"""Where the organisation's settings are kept: one row."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.identity.v1 import organization_pb2
from crmkit.collection import Collection
from crmkit.db import Executor
from crmkit.statements import TEXT, compile_statement, record_table
from identity.domain.organization import Organization
from identity.storage.schema import IDENTITY

organization = record_table(
    "organization",
    IDENTITY,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("legal_name", TEXT),
    sa.Column("base_currency_code", TEXT, nullable=False),
    sa.Column("fiscal_year_start_month", sa.Integer, nullable=False),
    sa.Column("time_zone", TEXT, nullable=False),
    sa.Column("first_day_of_week", TEXT, nullable=False),
    sa.Column("language_code", TEXT, nullable=False),
    sa.Column("format_locale", TEXT, nullable=False),
    sa.Column("brand_colors", JSONB),
    sa.Column("number_patterns", JSONB, nullable=False),
    sa.Column("trash_retention_days", sa.Integer, nullable=False),
    sa.Column("logo_uri", TEXT),
    sa.Column("source_precedence", JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("shared_email_policy", TEXT, nullable=False, server_default="ALLOWED"),
)

# What every record has and a singleton does not show.
_UNUSED = frozenset({"delete_time", "creator", "owner", "team", "external_id", "custom_fields"})

ORGANIZATION = Collection(
    organization_pb2.Organization, Organization, organization, private=_UNUSED
)

_READ = compile_statement(sa.select(*ORGANIZATION.codec.columns))


async def the_organization(executor: Executor) -> Organization:
    """The settings, whoever asks: everybody signed in may read them.

    Raises:
        NotFound: Before the first start has made them.
    """
    row = await executor.fetch_one(_READ)
    if row is None:
        raise ORGANIZATION.not_found(ORGANIZATION.name)
    return ORGANIZATION.codec.from_row(row)


async def has_organization(executor: Executor) -> bool:
    """False until the first start."""
    return await executor.fetch_one(_READ) is not None
