"""What other services' events change in identity.

Open pick lists take up the values that records have, the audit log the entries of every service, hand-overs
how far each has come.
"""

from collections.abc import Mapping
from functools import partial

from crm.common.v1 import audit_pb2
from crm.options.v1 import options_pb2
from crmkit import contract
from crmkit.audit import Entry
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from crmkit.service import EventHandler
from identity.storage.audit_entry import keep
from identity.storage.handover import note_part
from identity.storage.pick_list import learn
from identity.storage.session import address_of


def bound_fields(resource: contract.ResourceContract) -> dict[str, str]:
    """The fields of a resource that are bound to pick lists: field → key."""
    fields = resource.message.DESCRIPTOR.fields
    bound = {f.name: f.GetOptions().Extensions[options_pb2.pick_list] for f in fields}
    return {name: key for name, key in bound.items() if key}


async def _values_used(bound: Mapping[str, str], event: Event, call: Call) -> None:
    declared = contract.events()[event.routing_key]
    record = getattr(event.message, declared.subject_field)
    for name, key in bound.items():
        value = getattr(record, name)
        known = call.home.rights.pick_lists.get(key)
        if value and (known is None or (known.open and value not in known.retired)):
            await learn(call, key, value)


async def _audit_entry_recorded(event: Event, call: Call) -> None:
    record: audit_pb2.AuditRecord = event.message.record
    entry = Entry(
        id=parse_name(event.subject, collection="auditEntries", field="subject"),
        category=options_pb2.AuditCategory.Name(record.category),
        action=record.action,
        actor=record.actor,
        subject=record.subject or None,
        outcome=audit_pb2.AuditRecord.Outcome.Value.Name(record.outcome),
        reason=record.reason or None,
        session=record.session or None,
        client_address=await address_of(call.tx, record.session),
        correlation_id=event.correlation_id,
        occur_time=event.time,
    )
    await keep(call, entry)


async def _handover_progressed(event: Event, call: Call) -> None:
    await note_part(call, event.message.progress, event.source)


_USING: dict[str, EventHandler] = {
    f"{resource.service}.{resource.singular}.*": partial(_values_used, bound)
    for resource in contract.resources().values()
    if (bound := bound_fields(resource))
}
_AUDITED: dict[str, EventHandler] = {
    routing_key: _audit_entry_recorded
    for routing_key in contract.events()
    if routing_key.endswith(".audit_entry.recorded")
}
_HANDED_OVER: dict[str, EventHandler] = {
    routing_key: _handover_progressed
    for routing_key in contract.events()
    if routing_key.endswith(".handover.progressed")
}
HANDLERS = {**_USING, **_AUDITED, **_HANDED_OVER}
