"""The kit's own tables in every service's database.

What migrations do to them stands in `platform_tables`.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.statements import TEXT, TIMESTAMP

PLATFORM = sa.MetaData()


def _event_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("routing_key", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("subject_version", sa.BigInteger, nullable=False),
        sa.Column("event_index", sa.SmallInteger, nullable=False),
        sa.Column("time", TIMESTAMP, nullable=False),
        sa.Column("effective_time", TIMESTAMP, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("owner", sa.Uuid),
        sa.Column("team", sa.Uuid),
        sa.Column("imported", sa.Boolean, nullable=False),
        sa.Column("correlation_id", TEXT, nullable=False),
        sa.Column("causation_id", TEXT, nullable=False),
        sa.Column("traceparent", TEXT, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    ]


EVENT_COLUMNS = tuple(column.name for column in _event_columns())

# Staging: normally empty. CACHE 1 keeps ids in the order in which they are drawn, on which the order of
# events per record rests.
OUTBOX = sa.Table(
    "outbox",
    PLATFORM,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True, cache=1), primary_key=True),
    *_event_columns(),
    postgresql_with={
        "fillfactor": 70,
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 1000,
    },
)

# Append-only, kept for ever: the truth that read models are built from.
EVENT_LOG = sa.Table(
    "event_log",
    PLATFORM,
    sa.Column("feed_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *_event_columns(),
    sa.Column("chain", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("event_id"),
    sa.UniqueConstraint("subject", "subject_version", "event_index"),
)

RELAY_STATE = sa.Table(
    "relay_state",
    PLATFORM,
    sa.Column("one", sa.Boolean, sa.CheckConstraint("one"), primary_key=True),
    sa.Column("feed_id", sa.Uuid, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("published_seq", sa.BigInteger, nullable=False),
    sa.Column("last_chain", sa.LargeBinary, nullable=False),
)

CONSUMER_CURSOR = sa.Table(
    "consumer_cursor",
    PLATFORM,
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("feed_id", sa.Uuid),
    sa.Column("applied_seq", sa.BigInteger, nullable=False),
    sa.Column("applied_chain", sa.LargeBinary, nullable=False),
    sa.Column("update_time", TIMESTAMP, nullable=False),
)

PARKED_EVENT = sa.Table(
    "parked_event",
    PLATFORM,
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("feed_seq", sa.BigInteger, primary_key=True),
    sa.Column("subject", TEXT, nullable=False, index=True),
    sa.Column("event", sa.LargeBinary, nullable=False),
    sa.Column("error", TEXT, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("park_time", TIMESTAMP, nullable=False),
)

IDEMPOTENCY = sa.Table(
    "idempotency",
    PLATFORM,
    sa.Column("principal", TEXT, primary_key=True),
    sa.Column("method", TEXT, primary_key=True),
    sa.Column("request_id", sa.Uuid, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("response", sa.LargeBinary, nullable=False),
    sa.Column("expire_time", TIMESTAMP, nullable=False, index=True),
)

# The history of every record: what each version changed. It goes with the record when that is purged.
REVISION = sa.Table(
    "revision",
    PLATFORM,
    sa.Column("record", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("correlation_id", TEXT, nullable=False),
    sa.Column("causation_id", TEXT, nullable=False),
    sa.Column("imported", sa.Boolean, nullable=False),
    sa.Column("changes", JSONB, nullable=False),
)

# With whom a record is shared: a user or a team; what it means stands in `sharing`.
COLLABORATOR = sa.Table(
    "collaborator",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("record", sa.Uuid, nullable=False),
    sa.Column("grantee_collection", TEXT, nullable=False),
    sa.Column("grantee", sa.Uuid, nullable=False),
    sa.Column("access", sa.SmallInteger, nullable=False),  # as in the contract: the higher the more
    sa.Column("creator", TEXT, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("update_time", TIMESTAMP, nullable=False),
    sa.Index("uq_collaborator_record", "record", "grantee", unique=True),
    sa.Index("ix_collaborator_grantee", "grantee", "record"),
)

# What this service knows of other services' records, for references (decision 11).
KNOWN_RECORD = sa.Table(
    "known_record",
    PLATFORM,
    sa.Column("collection", TEXT, primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("owner", sa.Uuid),
    sa.Column("team", sa.Uuid),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("merged_into", sa.Uuid),
    sa.Index(
        "ix_known_record_merged_into",
        "collection",
        "merged_into",
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    ),
)

# Rights, projected from identity's feed (decision 7).
KNOWN_USER = sa.Table(
    "known_user",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("team", sa.Uuid),
    sa.Column("roles", sa.ARRAY(sa.Uuid), nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
)
KNOWN_TEAM = sa.Table(
    "known_team",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("parent", sa.Uuid),
)
KNOWN_ROLE = sa.Table(
    "known_role",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("grants", JSONB, nullable=False),
)
REVOKED_SESSION = sa.Table(
    "revoked_session",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("revoke_time", TIMESTAMP, nullable=False),
)
# The organisation's settings and pick lists: resource name → the record as JSON.
KNOWN_SETTING = sa.Table(
    "known_setting",
    PLATFORM,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("value", JSONB, nullable=False),
)
SIGNING_KEY = sa.Table(
    "known_signing_key",
    PLATFORM,
    sa.Column("kid", TEXT, primary_key=True),
    sa.Column("jwk", JSONB, nullable=False),
)
