"""What other services' events change in identity: open pick lists take up the values that records have."""

from crm.options.v1 import options_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.service import EventHandler
from identity.storage.pick_list import learn


def bound_fields(resource: contract.ResourceContract) -> dict[str, str]:
    """The fields of a resource that are bound to pick lists: field → key."""
    fields = resource.message.DESCRIPTOR.fields
    bound = {f.name: f.GetOptions().Extensions[options_pb2.pick_list] for f in fields}
    return {name: key for name, key in bound.items() if key}


async def _values_used(event: Event, call: Call) -> None:
    declared = contract.events()[event.routing_key]
    record = getattr(event.message, declared.subject_field)
    for name, key in bound_fields(contract.resource_of(type(record))).items():
        value = getattr(record, name)
        known = call.home.rights.pick_lists.get(key)
        if value and (known is None or (known.open and value not in known.retired)):
            await learn(call, key, value)


HANDLERS: dict[str, EventHandler] = {
    f"{resource.service}.{resource.singular}.*": _values_used
    for resource in contract.resources().values()
    if bound_fields(resource)
}
