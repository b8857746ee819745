"""Event types of other services, as people subscribe to them."""

from collections.abc import Iterable, Sequence

from google.api import resource_pb2

from crmkit import contract
from crmkit.errors import InvalidArgument

OWN = "workspace"


def check_event_types(patterns: Sequence[str], field: str) -> None:
    """Raises InvalidArgument `UNKNOWN_EVENT_TYPE` for the first pattern that no event has."""
    for index, pattern in enumerate(patterns):
        if not matching(pattern):
            path = f"{field}[{index}]"
            msg = f"{path}: there is no event {pattern}."
            raise InvalidArgument(msg, reason="UNKNOWN_EVENT_TYPE", field=path)


def matching(pattern: str) -> list[contract.EventContract]:
    """The events of other services' records that a pattern stands for."""
    prefix = pattern.removesuffix("*")
    if "*" in prefix or (prefix != pattern and prefix and not prefix.endswith(".")):
        return []
    return [
        event
        for key, event in contract.events().items()
        if event.service != OWN
        and event.subject_field
        and (key == pattern or (prefix != pattern and key.startswith(prefix)))
    ]


def subject_of(event: contract.EventContract) -> contract.ResourceContract:
    """The resource whose records such an event is about."""
    record = event.message.DESCRIPTOR.fields_by_name[event.subject_field].message_type
    assert record is not None
    return contract.resources()[record.GetOptions().Extensions[resource_pb2.resource].type]


def record_fields(patterns: Iterable[str]) -> set[str]:
    """Every field of some record that these events hold."""
    found: set[str] = set()
    for pattern in patterns:
        for event in matching(pattern):
            found |= {f.name for f in subject_of(event).message.DESCRIPTOR.fields}
    return found
