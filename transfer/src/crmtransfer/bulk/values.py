"""The new values of a bulk action, which come as JSON: as an update request of its collection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf import json_format, struct_pb2

from crm.common.v1 import bulk_action_pb2
from crmkit import references
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.errors import Failure, InvalidArgument, Violation
from crmkit.interceptors.validation import validator
from crmkit.resources import changes_of, references_of

_CUSTOM = "custom_fields"
_PATH = "bulk_action.values"
_MASK = "bulk_action.update_mask"


def normalised(
    collection: Collection[Any], call: Call, wanted: bulk_action_pb2.BulkAction
) -> struct_pb2.Struct:
    """The values with a null for every field that is to be cleared: they need no mask any more.

    Raises:
        InvalidArgument: Nothing would change, or a field may not be changed.
    """
    given = _given(wanted.values)
    mask = list(wanted.update_mask.paths)
    values = _masked(collection, call, given, mask) if mask else given
    if not values:
        msg = f"{_PATH}: say what to change."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=_PATH)
    for name in values:
        if name not in collection.codec.writable:
            path = f"{_PATH}.{name[:100]}" if name in given else _MASK
            msg = f"{path}: {collection.contract.singular} has no {name[:100]} that can be changed."
            raise InvalidArgument(msg, field=path)
    found = struct_pb2.Struct()
    found.update(values)
    return found


def _given(values: struct_pb2.Struct) -> dict[str, Any]:
    try:
        given: dict[str, Any] = json_format.MessageToDict(values)
    except (json_format.Error, ValueError):
        msg = f"{_PATH} must be JSON: a number is finite."
        raise InvalidArgument(msg, field=_PATH) from None
    if not isinstance(given.get(_CUSTOM, {}), dict):
        msg = f"{_PATH}.{_CUSTOM} must be an object."
        raise InvalidArgument(msg, field=f"{_PATH}.{_CUSTOM}")
    return given


def _masked(
    collection: Collection[Any], call: Call, given: dict[str, Any], mask: list[str]
) -> dict[str, Any]:
    """What of the values the mask names; null for what is named and not given."""
    values: dict[str, Any] = {}
    custom = given.get(_CUSTOM, {})
    for path in mask:
        field, _, part = path.partition(".")
        if path == _CUSTOM:
            every = dict.fromkeys(call.home.custom_fields.of(collection.name).by_id)
            values[_CUSTOM] = {**every, **custom}
        elif field == _CUSTOM and part:
            values.setdefault(_CUSTOM, {})[part] = custom.get(part)
        else:
            values[path] = given.get(path)
    return values


def update_request(collection: Collection[Any], method: Method, values: struct_pb2.Struct) -> Any:
    """The update request that normalised values mean, without a record; its shape is valid.

    Raises:
        InvalidArgument: A value cannot be what its field means; paths as in an update request.
    """
    singular = collection.contract.singular
    request: Any = method.input()
    message = getattr(request, singular)
    message.SetInParent()
    for name, value in json_format.MessageToDict(values).items():
        if name == _CUSTOM:
            request.update_mask.paths.extend(f"{_CUSTOM}.{field_id}" for field_id in value)
        else:
            request.update_mask.paths.append(name)
        if value is None:
            continue
        try:
            json_format.ParseDict({name: value}, message)
        except json_format.ParseError as error:
            msg = f"{singular}.{name}: {error}"[:500]
            raise InvalidArgument(msg, field=f"{singular}.{name}") from None
    validator(method)(request)
    return request


async def check(
    collection: Collection[Any], call: Call, method: Method, values: struct_pb2.Struct
) -> None:
    """Raises a Failure, naming the place in the bulk action, where no record could get the values."""
    singular = collection.contract.singular
    with _placed(singular):
        found = await changes_of(collection, call, update_request(collection, method, values))
        for name, value in found.items():
            _refuse_for_all(collection, name, value)
        await references.check(call, references_of(collection, call, found))


def _refuse_for_all(collection: Collection[Any], name: str, value: Any) -> None:
    field = collection.codec.fields[name]
    path = f"{collection.contract.singular}.{name}"
    if field.required and value in (None, "", []):
        msg = f"{path} is required and cannot be cleared."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=path)
    if field.immutable:
        msg = f"{path} cannot be changed after creation."
        raise InvalidArgument(msg, reason="IMMUTABLE_FIELD", field=path)


@contextmanager
def _placed(singular: str) -> Iterator[None]:
    """Turns the paths of an update request into those of a bulk action."""
    try:
        yield
    except Failure as failure:
        failure.violations = tuple(
            Violation(_place(v.field, singular), _place(v.description, singular))
            for v in failure.violations
        )
        failure.message = _place(failure.message, singular)
        raise


def _place(text: str, singular: str) -> str:
    """A path, or a sentence that begins with one."""
    for begin in (f"{singular}.", "update_mask"):
        if text.startswith(begin):
            rest = text.removeprefix(begin)
            return f"{_PATH}.{rest}" if begin != "update_mask" else f"{_PATH}{rest}"
    return text
