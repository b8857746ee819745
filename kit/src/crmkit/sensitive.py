"""Fields marked `sensitive`: who may see them, and how they are kept from everyone else.

The right is `<service>.<collection>.read_sensitive`, with a record scope as every right has one. Whatever a
method answers, what its caller may not see is cleared, and named in the record's `hidden_fields`; filters and
orders know no such field, and to write it is refused. Services see everything.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from crmkit import contract
from crmkit.access import Principal, RecordScope
from crmkit.contract import ResourceContract
from crmkit.errors import PermissionDenied

T = TypeVar("T")
M = TypeVar("M", bound=Message)
_Conceal = Callable[[Principal, Any], None]
_NOTHING: frozenset[str] = frozenset()


def _scope(principal: Principal, resource: ResourceContract) -> RecordScope:
    scope = principal.grants.scope(resource.read_sensitive)
    return RecordScope.ALL if resource.shared and scope else scope


def hidden(
    principal: Principal, resource: ResourceContract, owner: UUID | None, team: UUID | None
) -> frozenset[str]:
    """The fields of a record of this owner and team that are hidden from a caller."""
    if not resource.sensitive or principal.covers(_scope(principal, resource), owner, team):
        return _NOTHING
    return resource.sensitive


def hidden_in(
    principal: Principal, resource: ResourceContract, scope: RecordScope
) -> frozenset[str]:
    """The fields that are hidden in some record within a scope: no list can be cut by them."""
    if not resource.sensitive or _scope(principal, resource) >= scope:
        return _NOTHING
    return resource.sensitive


def without(fields: Mapping[str, T], names: Collection[str]) -> Mapping[str, T]:
    """The fields that are not among some names."""
    return {n: f for n, f in fields.items() if n not in names} if names else fields


def refuse_hidden(
    resource: ResourceContract, named: Collection[str], unseen: Collection[str], *, at: str = ""
) -> None:
    """Raises PermissionDenied `FIELD_HIDDEN` for the first field that is hidden; `at`: where it is named."""
    for name in sorted(set(named) & set(unseen)):
        path = at or f"{resource.singular}.{name}"
        msg = f"{path} is hidden from you; the permission {resource.read_sensitive} is needed."
        metadata = {"permission": resource.read_sensitive}
        raise PermissionDenied(msg, reason="FIELD_HIDDEN", field=path, metadata=metadata)


# -- answers and events


def conceal(principal: Principal, message: Message) -> None:
    """Clears what a caller may not see in a message and all that is in it; says what was cleared."""
    concealing = _concealing(message.DESCRIPTOR)
    if concealing is not None:
        concealing(principal, message)


def concealed(principal: Principal, message: M) -> M:
    """The message as a caller may see it, where others see it too: a copy if it can hold anything hidden."""
    concealing = _concealing(message.DESCRIPTOR)
    if concealing is None:
        return message
    copy = type(message)()
    copy.CopyFrom(message)
    concealing(principal, copy)
    return copy


@cache
def _concealing(descriptor: Descriptor) -> _Conceal | None:
    """What clears messages of a type; None where they cannot hold a sensitive field."""
    return _compile(descriptor, frozenset())


def _compile(descriptor: Descriptor, above: frozenset[str]) -> _Conceal | None:
    resource = _sensitive_resources().get(descriptor.full_name)
    if resource is not None:
        return _concealing_record(resource)
    if descriptor.full_name in above:
        return None
    parts = []
    for field in descriptor.fields:
        nested = field.message_type
        if nested is None or nested.GetOptions().map_entry:
            continue
        inner = _compile(nested, above | {descriptor.full_name})
        if inner is not None:
            parts.append((field.name, field.is_repeated, inner))
    return _concealing_parts(parts) if parts else None


@cache
def _sensitive_resources() -> dict[str, ResourceContract]:
    every = contract.resources().values()
    return {r.message.DESCRIPTOR.full_name: r for r in every if r.sensitive}


def _concealing_record(resource: ResourceContract) -> _Conceal:
    names = sorted(resource.sensitive)

    def conceal_record(principal: Principal, record: Any) -> None:
        if _scope(principal, resource) is RecordScope.ALL:
            return
        if hidden(principal, resource, _id(record.owner), _id(record.team)):
            for name in names:
                record.ClearField(name)
            record.hidden_fields[:] = names

    return conceal_record


def _concealing_parts(parts: list[tuple[str, bool, _Conceal]]) -> _Conceal:
    def conceal_parts(principal: Principal, message: Any) -> None:
        for name, repeated, inner in parts:
            if repeated:
                for item in getattr(message, name):
                    inner(principal, item)
            elif message.HasField(name):
                inner(principal, getattr(message, name))

    return conceal_parts


def _id(name: str) -> UUID | None:
    return UUID(name.rpartition("/")[2]) if name else None
