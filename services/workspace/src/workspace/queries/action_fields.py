"""What actions of rules may set and what their texts may name, read from the contracts.

The service that owns a record is not asked: a rule can be saved while it is down. What it refuses then
shows in the run.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn
from uuid import UUID

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict, ParseError

from crm.options.v1 import options_pb2
from crmkit import contract
from crmkit.contract import Method, ResourceContract
from crmkit.errors import InvalidArgument
from crmkit.interceptors.validation import faults
from workspace.domain.merge_tags import has_merge_tags
from workspace.queries.event_types import matching, subject_of

# Users, roles and settings are not for rules.
SERVICES = frozenset({"customer", "sales", "marketing", "support"})
_OF_EVENT = frozenset({"type", "subject", "actor", "imported", "time", "effective_time"})
_OF_MONEY = frozenset({"currency_code", "units", "amount"})
_CUSTOM = "custom_fields"
_NOT_WRITTEN = {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER}


def refuse(path: str, problem: str) -> NoReturn:
    """Raises InvalidArgument `INVALID_ACTION`, naming the field."""
    msg = f"{path}: {problem}"
    raise InvalidArgument(msg, reason="INVALID_ACTION", field=path)


# -- what may be set


def check_update(patterns: Sequence[str], values: dict[str, Any], path: str) -> None:
    """Raises InvalidArgument `INVALID_ACTION` unless every record of these events can be changed so."""
    for resource in _subjects(patterns):
        _method(resource, "Update", path)
        _check_values(resource, values, path, whole=False)


def check_create(collection: str, values: dict[str, Any], path: str) -> None:
    """Raises InvalidArgument `INVALID_ACTION` unless such a record can be made so."""
    resource = contract.collections().get(collection)
    if resource is None:
        refuse(f"{path}.resource", f"there are no {collection}")
    _method(resource, "Create", f"{path}.resource")
    _check_values(resource, values, f"{path}.values", whole=True)


def _subjects(patterns: Sequence[str]) -> list[ResourceContract]:
    events = (event for pattern in patterns for event in matching(pattern))
    return list({event.subject_field: subject_of(event) for event in events}.values())


def _method(resource: ResourceContract, verb: str, path: str) -> Method:
    service = contract.services()[f"crm.{resource.service}.v1.{resource.noun}Service"]
    wanted = f"{verb}{resource.noun}"
    for method in contract.methods_of(service):
        if method.name == wanted and resource.service in SERVICES:
            return method
    refuse(path, f"{resource.collection} are not for rules to {verb.lower()}")


def _check_values(
    resource: ResourceContract, values: dict[str, Any], path: str, *, whole: bool
) -> None:
    message = resource.message()
    filled_later = set()
    for name, value in values.items():
        at = f"{path}.{name}"
        field = _writable(resource, name, at, whole=whole)
        if isinstance(value, str) and has_merge_tags(value) and _is_text(field):
            filled_later.add(name)
            continue
        try:
            ParseDict({name: value}, message)
        except (ParseError, TypeError, ValueError, RecursionError) as error:
            refuse(at, _first_line(error))
    for where, reason, sentence in faults(message):
        name = where.split(".")[0].split("[")[0]
        if name in filled_later or (name not in values and not whole):
            continue
        raise InvalidArgument(sentence, reason=reason, field=f"{path}.{where}")


def _writable(resource: ResourceContract, name: str, path: str, *, whole: bool) -> Any:
    field = resource.message.DESCRIPTOR.fields_by_name.get(name)
    refused = _NOT_WRITTEN if whole else _NOT_WRITTEN | {field_behavior_pb2.IMMUTABLE}
    if field is None or name == "etag" or _behaviors(field) & refused:
        refuse(path, f"{resource.collection} have no field {name} that can be set")
    return field


def _behaviors(field: Any) -> set[int]:
    return set(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def _is_text(field: Any) -> bool:
    return not field.is_repeated and (
        field.type == FieldDescriptor.TYPE_STRING or field.enum_type is not None
    )


def check_comment(patterns: Sequence[str], path: str) -> None:
    """Raises InvalidArgument `INVALID_ACTION` unless there are comments on every record of these events."""
    for resource in _subjects(patterns):
        _comment_method(resource, path)


def _comment_method(resource: ResourceContract, path: str) -> Method:
    service = contract.services().get(f"crm.{resource.service}.v1.CommentService")
    for method in contract.methods_of(service) if service is not None else ():
        if method.name == "CreateComment" and resource.service in SERVICES:
            return method
    refuse(path, f"there are no comments on {resource.collection}")


# -- what is sent


def update_request(subject: str, values: dict[str, Any], request_id: UUID) -> tuple[Method, Any]:
    """The method and the request that change a record; raises InvalidArgument `INVALID_ACTION`."""
    resource = contract.collections()[subject.split("/", 1)[0]]
    method = _method(resource, "Update", "values")
    record = _filled(resource, values)
    record.name = subject
    paths = [name for name in values if name != _CUSTOM]
    paths += [f"{_CUSTOM}.{id_}" for id_ in values.get(_CUSTOM) or ()]
    request: Any = method.input(request_id=str(request_id), update_mask=FieldMask(paths=paths))
    getattr(request, resource.singular).CopyFrom(record)
    return method, request


def create_request(collection: str, values: dict[str, Any], request_id: UUID) -> tuple[Method, Any]:
    """The method and the request that create a record; raises InvalidArgument `INVALID_ACTION`."""
    resource = contract.collections()[collection]
    method = _method(resource, "Create", "resource")
    request: Any = method.input(request_id=str(request_id))
    getattr(request, resource.singular).CopyFrom(_filled(resource, values))
    return method, request


def comment_request(subject: str, text: str, request_id: UUID) -> tuple[Method, Any]:
    """The method and the request that say something about a record."""
    resource = contract.collections()[subject.split("/", 1)[0]]
    method = _comment_method(resource, "text")
    request: Any = method.input(parent=subject, request_id=str(request_id))
    request.comment.text = text
    return method, request


def may_be_about(subject: str) -> bool:
    """Whether tasks can be about such a record."""
    tasks: Any = contract.collections()["tasks"].message.DESCRIPTOR
    return subject.split("/", 1)[0] in contract.collections_of(tasks.fields_by_name["related"])


def _filled(resource: ResourceContract, values: dict[str, Any]) -> Any:
    try:
        return ParseDict(values, resource.message())
    except (ParseError, TypeError, ValueError, RecursionError) as error:
        refuse("values", _first_line(error))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


# -- what texts may name


def known_tags(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether some of these events has a value of a path: `record.owner`, `event.type`."""
    events = [event for pattern in patterns for event in matching(pattern)]

    def known(path: str) -> bool:
        root, *parts = path.split(".")
        if root == "event" and parts[:1] == ["details"]:
            told = (e for e in events if parts[1:2] != [e.subject_field])
            return any(_has(e.message.DESCRIPTOR, parts[1:]) for e in told)
        if root == "event":
            return len(parts) == 1 and parts[0] in _OF_EVENT
        records = (e.message.DESCRIPTOR.fields_by_name[e.subject_field] for e in events)
        return root == "record" and any(_has(r.message_type, parts) for r in records)

    return known


def _has(message: Any, parts: list[str]) -> bool:
    field = message.fields_by_name.get(parts[0]) if parts else None
    if field is None or field.GetOptions().Extensions[options_pb2.personal]:
        return False  # events hold no personal data
    inner, rest = field.message_type, parts[1:]
    if inner is None or not rest:
        return not rest
    if inner.GetOptions().map_entry or inner.full_name == "google.protobuf.Struct":
        return len(rest) == 1
    if inner.full_name == "google.type.Money":
        return len(rest) == 1 and rest[0] in _OF_MONEY
    return not field.is_repeated and inner.full_name.startswith("crm.") and _has(inner, rest)
