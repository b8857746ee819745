"""What the descriptors say: methods with their rights, resources with their collections, events.

Read once when a process starts. A method, resource or event that breaks a rule of contracts.md does not
start: ContractError names it.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from google.api import annotations_pb2, field_behavior_pb2, resource_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

import crm
from crm.options.v1 import options_pb2
from crmkit.errors import ContractError


@dataclass(frozen=True, slots=True)
class Method:
    """An RPC and what its options say about it."""

    name: str
    path: str
    service: str
    access: int
    permission: str
    callers: frozenset[str]
    saga: bool
    idempotent: bool
    audit: "options_pb2.AuditCategory.ValueType"
    reads_only: bool
    input: type[Message]
    output: type[Message]
    client_streaming: bool
    server_streaming: bool


@dataclass(frozen=True, slots=True)
class ResourceContract:
    """A resource: `service` owns `collection`, whose records are `message`s.

    A `singleton` is there once, and named like its collection: `organization`. Its `sensitive` fields are
    seen with a right of their own.
    """

    service: str
    type_name: str
    collection: str
    singular: str
    noun: str
    shared: bool
    singleton: bool
    sensitive: frozenset[str]
    message: type[Message]

    @property
    def read_sensitive(self) -> str:
        """The permission to see the sensitive fields."""
        return f"{self.service}.{self.collection}.read_sensitive"


@dataclass(frozen=True, slots=True)
class EventContract:
    """A domain event; `subject_field` holds the record, empty where the event has none."""

    service: str
    routing_key: str
    type_name: str
    subject_field: str
    message: type[Message]


@cache
def _modules() -> tuple[ModuleType, ...]:
    found = pkgutil.walk_packages(crm.__path__, "crm.")
    return tuple(importlib.import_module(m.name) for m in found if m.name.endswith("_pb2"))


def _descriptors() -> Iterable[Descriptor]:
    for module in _modules():
        yield from module.DESCRIPTOR.message_types_by_name.values()


def service_of(package: str) -> str:
    """The service that owns a proto package: `crm.sales.v1` → `sales`."""
    return package.split(".")[1]


@cache
def resources() -> dict[str, ResourceContract]:
    """Every resource, by resource type (`sales.crm/Opportunity`)."""
    found: dict[str, ResourceContract] = {}
    for descriptor in _descriptors():
        options = descriptor.GetOptions()
        if not options.HasExtension(resource_pb2.resource):
            continue
        resource = options.Extensions[resource_pb2.resource]
        scope = options.Extensions[options_pb2.scope]
        if scope == options_pb2.SCOPE_UNSPECIFIED:
            msg = f"{descriptor.full_name}: the option scope is missing"
            raise ContractError(msg)
        found[resource.type] = ResourceContract(
            service=service_of(descriptor.file.package),
            type_name=resource.type,
            collection=resource.plural,
            singular=resource.pattern[0].rpartition("{")[2].rstrip("}"),
            noun=descriptor.name,
            shared=scope == options_pb2.SHARED,
            singleton="{" not in resource.pattern[0],
            sensitive=_sensitive(descriptor),
            message=message_factory.GetMessageClass(descriptor),
        )
    return found


def _sensitive(resource: Descriptor) -> frozenset[str]:
    """The sensitive fields of a resource; raises ContractError for some that could not be hidden."""
    found = {f.name for f in resource.fields if f.GetOptions().Extensions[options_pb2.sensitive]}
    for field in resource.fields:
        behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field.name in found and field_behavior_pb2.REQUIRED in behaviors:
            msg = f"{field.full_name}: who cannot see a required field could not create the record"
            raise ContractError(msg)
    inner = [f for part in resource.nested_types for f in part.fields]
    if any(f.GetOptions().Extensions[options_pb2.sensitive] for f in inner):
        msg = f"{resource.full_name}: only whole fields of a resource can be sensitive"
        raise ContractError(msg)
    if found and "hidden_fields" not in resource.fields_by_name:
        msg = (
            f"{resource.full_name}: the field hidden_fields is missing, which tells what is hidden"
        )
        raise ContractError(msg)
    return frozenset(found)


def resource_type(message: type[Message]) -> str:
    """The resource type of a message (`sales.crm/Opportunity`); empty if it is no resource."""
    resource_type: str = message.DESCRIPTOR.GetOptions().Extensions[resource_pb2.resource].type
    return resource_type


def resource_of(message: type[Message]) -> ResourceContract:
    """The resource whose records are of this message."""
    return resources()[resource_type(message)]


def referred_collections(message: type[Message]) -> set[str]:
    """The collections that a resource's records refer to, also from within nested messages."""
    return _referred(message.DESCRIPTOR)


def _referred(message: Any) -> set[str]:
    found: set[str] = set()
    for field in message.fields:
        found |= set(collections_of(field))
        nested = field.message_type
        if nested is not None and nested.containing_type is message:
            found |= _referred(nested)
    return found


def collections_of(field: Any) -> tuple[str, ...]:
    """The collections that a field may refer to; none where it refers to nothing, or to a child."""
    options = field.GetOptions()
    kinds = [options.Extensions[resource_pb2.resource_reference].type]
    if kinds == ["*"]:
        kinds = list(options.Extensions[options_pb2.refers_to])
    return tuple(resources()[kind].collection for kind in kinds if kind in resources())


@cache
def collections() -> dict[str, ResourceContract]:
    """Every resource, by collection (`opportunities`)."""
    return {resource.collection: resource for resource in resources().values()}


@cache
def events() -> dict[str, EventContract]:
    """Every domain event, by routing key (`sales.opportunity.won`)."""
    found: dict[str, EventContract] = {}
    for descriptor in _descriptors():
        routing_key = descriptor.GetOptions().Extensions[options_pb2.event]
        if not routing_key:
            continue
        subject = descriptor.fields[0]
        has_record = (
            subject.message_type is not None
            and subject.message_type.GetOptions().HasExtension(resource_pb2.resource)
        )
        found[routing_key] = EventContract(
            service=service_of(descriptor.file.package),
            routing_key=routing_key,
            type_name=descriptor.full_name,
            subject_field=subject.name if has_record else "",
            message=message_factory.GetMessageClass(descriptor),
        )
    return found


@cache
def services() -> dict[str, ServiceDescriptor]:
    """Every gRPC service, by full name."""
    return {
        service.full_name: service
        for module in _modules()
        for service in module.DESCRIPTOR.services_by_name.values()
    }


def methods_of(service: ServiceDescriptor) -> list[Method]:
    """A gRPC service's methods; raises ContractError where access is not said."""
    return [_method(service, method) for method in service.methods]


def _method(service: ServiceDescriptor, method: MethodDescriptor) -> Method:
    options = method.GetOptions()
    access = options.Extensions[options_pb2.access]
    permission = options.Extensions[options_pb2.permission]
    if access == options_pb2.ACCESS_UNSPECIFIED:
        msg = f"{method.full_name}: the option access is missing"
        raise ContractError(msg)
    if (access == options_pb2.PERMISSION) != bool(permission):
        msg = f"{method.full_name}: access PERMISSION and a permission go together"
        raise ContractError(msg)
    http = options.Extensions[annotations_pb2.http]
    audit, saga = options.Extensions[options_pb2.audit], options.Extensions[options_pb2.saga]
    if audit and not method.server_streaming and (http.get or method.client_streaming):
        msg = f"{method.full_name}: reading a record and sending a file up are not audited"
        raise ContractError(msg)
    return Method(
        name=method.name,
        path=f"/{service.full_name}/{method.name}",
        service=service_of(service.file.package),
        access=access,
        permission=permission,
        callers=frozenset(options.Extensions[options_pb2.callers]),
        saga=saga,
        idempotent=options.Extensions[options_pb2.idempotent],
        audit=audit,
        reads_only=bool(http.get),
        input=message_factory.GetMessageClass(method.input_type),
        output=message_factory.GetMessageClass(method.output_type),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
    )


@cache
def permissions() -> tuple[str, ...]:
    """Every permission that some method needs, and those to see sensitive fields, sorted."""
    needed = {m.permission for s in services().values() for m in methods_of(s) if m.permission}
    return tuple(sorted(needed | {r.read_sensitive for r in resources().values() if r.sensitive}))
