"""Where the audit log is kept; the database itself refuses to change or delete an entry."""

import sqlalchemy as sa

from crm.identity.v1 import audit_entry_pb2
from crmkit.audit import Entry
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.names import parse_name
from crmkit.statements import TEXT, TIMESTAMP, record_table
from identity.domain.audit_entry import AuditEntry
from identity.storage.schema import IDENTITY

audit_entries = record_table(
    "audit_entries",
    IDENTITY,
    sa.Column("category", TEXT, nullable=False),
    sa.Column("action", TEXT, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("subject", TEXT),
    sa.Column("outcome", TEXT, nullable=False),
    sa.Column("reason", TEXT),
    sa.Column("session", TEXT),
    sa.Column("client_address", TEXT),
    sa.Column("correlation_id", TEXT),
    sa.Column("occur_time", TIMESTAMP, nullable=False),
    sa.Index("ix_audit_entries_actor", "actor", "id"),
    sa.Index("ix_audit_entries_subject", "subject", "id"),
    sa.Index("ix_audit_entries_occur_time", "occur_time", "id"),
)

AUDIT_ENTRIES = Collection(
    audit_entry_pb2.AuditEntry, AuditEntry, audit_entries, natural_key="action"
)
AUDIT_ENTRIES.holds_on = False


async def keep(call: Call, entry: Entry) -> None:
    """Keeps an entry, in the transaction of what it tells of."""
    values = {name: getattr(entry, name) for name in Entry.__dataclass_fields__ if name != "id"}
    is_user = entry.actor.startswith("users/")
    user = parse_name(entry.actor, collection="users", field="actor") if is_user else None
    values["creator"] = user
    await AUDIT_ENTRIES.insert(call, AUDIT_ENTRIES.new(call, values, record_id=entry.id))
