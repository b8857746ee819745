"""Where campaigns are kept."""

import sqlalchemy as sa

from crm.marketing.v1 import campaign_pb2
from crmkit.collection import Collection
from crmkit.statements import TEXT, TIMESTAMP, money_columns, record_table
from marketing.domain.campaign import Campaign
from marketing.storage.schema import MARKETING

campaigns = record_table(
    "campaigns",
    MARKETING,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("goal", TEXT),
    *money_columns("budget"),
    sa.Column("start_time", TIMESTAMP),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("rejection_reason", TEXT),
    sa.Index("ix_campaigns_display_name", "display_name", "id"),
    sa.Index("ix_campaigns_state", "state", "id"),
)

CAMPAIGNS = Collection(campaign_pb2.Campaign, Campaign, campaigns, import_fields=["state"])
