"""Where interactions are kept."""

from collections.abc import Sequence

import sqlalchemy as sa

from crm.customer.v1 import interaction_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.following import recorded_index
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from customer.domain.interaction import Interaction
from customer.storage.schema import CUSTOMER
from customer.storage.touch import touch_by_interactions

interactions = record_table(
    "interactions",
    CUSTOMER,
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("direction", TEXT),
    sa.Column("channel", TEXT),
    sa.Column("subject", TEXT),
    sa.Column("body", TEXT),
    sa.Column("participants", sa.ARRAY(TEXT), nullable=False),
    sa.Column("participants_as_recorded", sa.ARRAY(TEXT)),
    sa.Column("participant_addresses", sa.ARRAY(TEXT), nullable=False),
    sa.Column("related", sa.ARRAY(TEXT), nullable=False),
    sa.Column("related_as_recorded", sa.ARRAY(TEXT)),
    sa.Column("duration_minutes", sa.Integer),
    sa.Column("occur_time", TIMESTAMP, nullable=False),
    sa.Column("message_id", TEXT),
    sa.Index("ix_interactions_occur_time", "occur_time", "id"),
    sa.Index("ix_interactions_owner_occur_time", "owner", "occur_time", "id"),
    sa.Index("ix_interactions_participants", "participants", postgresql_using="gin"),
    *recorded_index("interactions", "participants", "array_ops"),
    sa.Index("ix_interactions_related", "related", postgresql_using="gin"),
    *recorded_index("interactions", "related", "array_ops"),
    sa.Index(
        "uq_interactions_message_id",
        "message_id",
        unique=True,
        postgresql_where=sa.text("message_id IS NOT NULL"),
    ),
)


_RECORDED = compile_statement(
    sa.select(interactions.c.message_id).where(
        interactions.c.message_id == sa.any_(sa.bindparam("messages", type_=sa.ARRAY(sa.Text)))
    )
)


async def recorded_messages(call: Call, messages: Sequence[str]) -> set[str]:
    """Which of some messages are recorded already, by whomever."""
    rows = await call.reader.fetch_all(_RECORDED, {"messages": list(messages)})
    return {row[0] for row in rows}


async def happened(call: Call, after: Interaction, before: Interaction | None) -> None:
    """What is recorded has happened, also where it is corrected."""
    if before is None:
        after.happen(call.now)
    else:
        after.refuse_future(call.now)


class Interactions(Collection[Interaction]):
    """Interactions; the accounts that they are about were touched when they happened."""

    async def insert(self, call: Call, entity: Interaction) -> Interaction:
        """Stores a new interaction."""
        entity = await super().insert(call, entity)
        await touch_by_interactions(call, [entity])
        return entity

    async def insert_many(self, call: Call, entities: Sequence[Interaction]) -> None:
        """Stores many new interactions."""
        await super().insert_many(call, entities)
        await touch_by_interactions(call, entities)

    async def save(self, call: Call, entity: Interaction, kind: str = "updated") -> Interaction:
        """Stores a correction: perhaps of what it is about, or of when it happened."""
        entity = await super().save(call, entity, kind)
        await touch_by_interactions(call, [entity])
        return entity


INTERACTIONS = Interactions(
    interaction_pb2.Interaction,
    Interaction,
    interactions,
    natural_key="message_id",
    rule=happened,
)
