"""The standard methods of AIP-131 to 135, 164 and 231 over a collection, and its records' history.

A servicer defines only what its resource does differently; every other standard method comes from here.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from crmkit import custom_values, merges, references, revisions
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.field_codecs import Reference
from crmkit.fieldmask import masked_fields
from crmkit.names import parse_name
from crmkit.paging import page_size
from crmkit.sensitive import hidden, refuse_hidden
from crmkit.sources import refuse_outranked
from crmkit.trash import purge

_CUSTOM = "custom_fields"
Handler = Callable[[Any, Call], Awaitable[Any]]


def standard_method(collection: Collection[Any], method: Method) -> Handler | None:
    """The kit's implementation of a method, if it is a standard one of this collection."""
    noun = collection.contract.noun
    plural = method.name.removeprefix("List").removeprefix("BatchGet")
    makers = {
        f"Get{noun}": _get,
        f"Create{noun}": _create,
        f"Update{noun}": _update,
        f"Delete{noun}": _delete,
        f"Undelete{noun}": _undelete,
        f"List{plural}": _list,
        f"BatchGet{plural}": _batch_get,
        f"Purge{noun}": _purge,
        "ListRevisions": _list_revisions,
    }
    maker = makers.get(method.name)
    return maker(collection, method) if maker else None


def _get(collection: Collection[Any], _method: Method) -> Handler:
    async def get(request: Any, call: Call) -> Any:
        return collection.message(await collection.get(call, request.name))

    return get


def records_field(method: Method) -> str:
    """The field of a method's answer that holds its records."""
    return next(f.name for f in method.output.DESCRIPTOR.fields if f.message_type is not None)


def _list(collection: Collection[Any], method: Method) -> Handler:
    field = records_field(method)

    async def list_(request: Any, call: Call) -> Any:
        size = page_size(request.page_size)
        entities, token = await collection.list_page(call, request, size)
        return answer(collection, method, field, entities, token)

    return list_


def answer(
    collection: Collection[Any], method: Method, field: str, entities: list[Any], token: str = ""
) -> Any:
    """Some records as a method's answer."""
    response: Any = method.output()
    records, write = getattr(response, field), collection.codec.write_message
    for entity in entities:
        write(entity, records.add())
    if token:
        response.next_page_token = token
    return response


def _batch_get(collection: Collection[Any], method: Method) -> Handler:
    field = records_field(method)

    async def batch_get(request: Any, call: Call) -> Any:
        ids = [parse_name(n, collection=collection.name, field="names") for n in request.names]
        found = {e.id: e for e in await collection.get_many(call, ids)}
        roots = await merges.survivors(call, collection.name, [i for i in ids if i not in found])
        found |= {old: found[root] for old, root in roots.items() if root in found}
        for record_id in ids:
            if record_id not in found:
                raise collection.not_found(collection.codec.name_of(record_id))
        return answer(collection, method, field, [found[i] for i in ids])

    return batch_get


def _list_revisions(collection: Collection[Any], _method: Method) -> Handler:
    async def list_revisions(request: Any, call: Call) -> Any:
        entity = await collection.get(call, request.parent, field="parent")
        unseen = hidden(call.principal, collection.contract, entity.owner, entity.team)
        return await revisions.page(call, collection.codec, entity.id, request, unseen)

    return list_revisions


async def draft(collection: Collection[Any], call: Call, message: Any) -> Any:
    """A new record with the fields that a Create request fills; not yet stored."""
    names = masked_fields([], message, collection.codec.writable)
    values = collection.codec.read(message, names)
    custom = _custom_values(collection, call, values.pop(_CUSTOM, {}))
    values[_CUSTOM] = {field_id: value for field_id, value in custom.items() if value is not None}
    entity = collection.new(call, values)
    wanted = collection.codec.references(entity, names)
    await references.confirm(call, wanted + _custom_references(collection, call, custom))
    return entity


def _custom_values(
    collection: Collection[Any], call: Call, given: dict[str, Any]
) -> dict[str, Any]:
    """Custom fields as they are kept; None clears one."""
    if not given:
        return {}
    fields = call.home.custom_fields.of(collection.name)
    return custom_values.read(fields, collection.contract, given)


def _custom_references(
    collection: Collection[Any], call: Call, custom: dict[str, Any]
) -> list[Reference]:
    fields = call.home.custom_fields.of(collection.name)
    return custom_values.references(fields, collection.contract, custom) if custom else []


def _create(collection: Collection[Any], _method: Method) -> Handler:
    field = collection.contract.singular

    async def create(request: Any, call: Call) -> Any:
        entity = await draft(collection, call, getattr(request, field))
        return collection.message(await collection.insert(call, entity))

    return create


async def changes_of(collection: Collection[Any], call: Call, request: Any) -> dict[str, Any]:
    """What an Update request sets, by field; references that are not known yet are asked for."""
    message = getattr(request, collection.contract.singular)
    codec = collection.codec
    names = masked_fields(request.update_mask.paths, message, codec.writable)
    values = codec.read(message, [name for name in names if not name.startswith(f"{_CUSTOM}.")])
    custom = _custom_changes(collection, call, message, names, request.update_mask.paths)
    values.pop(_CUSTOM, None)
    if custom:
        values[_CUSTOM] = custom
    await references.confirm(call, references_of(collection, call, values))
    return values


def references_of(
    collection: Collection[Any], call: Call, values: dict[str, Any]
) -> list[Reference]:
    """What values of `changes_of` refer to."""
    own = {name: value for name, value in values.items() if name != _CUSTOM}
    custom = _custom_references(collection, call, values.get(_CUSTOM, {}))
    return collection.codec.references_of(own) + custom


async def change(collection: Collection[Any], call: Call, request: Any) -> tuple[Any, list[str]]:
    """The record of an Update request with its new values; not yet stored; and the fields set."""
    values = await changes_of(collection, call, request)
    message = getattr(request, collection.contract.singular)
    path = f"{collection.contract.singular}.name"
    entity = await collection.for_change(call, message.name, message.etag, field=path)
    set_fields(collection, call, entity, request, values)
    return entity, list(values)


def set_fields(
    collection: Collection[Any], call: Call, entity: Any, request: Any, values: dict[str, Any]
) -> None:
    """Makes the changes of an Update request, `changes_of` it, to a record locked for them.

    Raises:
        PermissionDenied: `FIELD_HIDDEN`: a field is named that the caller does not see.
        FailedPrecondition: `SOURCE_OUTRANKED`: a value stands against the caller's source.
    """
    unseen = hidden(call.principal, collection.contract, entity.owner, entity.team)
    if unseen and list(request.update_mask.paths) == ["*"]:  # everything that the caller sees
        message = getattr(request, collection.contract.singular)
        populated = {field.name for field, _ in message.ListFields()}
        values = {n: v for n, v in values.items() if n not in unseen or n in populated}
    refuse_hidden(collection.contract, values, unseen)
    for name, value in values.items():
        refuse_outranked(call, collection, entity, name, value)
        set_field(collection, entity, name, value)


def _custom_changes(
    collection: Collection[Any], call: Call, message: Any, names: list[str], mask: Sequence[str]
) -> dict[str, Any]:
    """The custom fields that an update writes: those masked, all of them, or those sent.

    A field that the mask names and that is not sent is cleared.
    """
    if not any(name.partition(".")[0] == _CUSTOM for name in names):
        return {}
    given = collection.codec.read(message, [_CUSTOM])[_CUSTOM]
    if mask and _CUSTOM in names:
        everything = dict.fromkeys(call.home.custom_fields.of(collection.name).by_id)
        given = {**everything, **given}
    elif mask:
        masked = [n.partition(".")[2] for n in names if n.startswith(f"{_CUSTOM}.")]
        given = {field_id: given.get(field_id) for field_id in masked}
    return _custom_values(collection, call, given)


def set_field(collection: Collection[Any], entity: Any, name: str, value: Any) -> None:
    """Changes one field of a record; raises InvalidArgument where the contract forbids it.

    Of the custom fields those given are changed, and None clears one.
    """
    if name == _CUSTOM:
        merged = {**entity.custom_fields, **value}
        entity.custom_fields = {id_: item for id_, item in merged.items() if item is not None}
        return
    field = collection.codec.fields[name]
    path = f"{collection.contract.singular}.{name}"
    if field.required and value in (None, "", []):
        msg = f"{path} is required and cannot be cleared."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=path)
    if field.immutable and value != getattr(entity, name):
        msg = f"{path} cannot be changed after creation."
        raise InvalidArgument(msg, reason="IMMUTABLE_FIELD", field=path)
    setattr(entity, name, value)


def _update(collection: Collection[Any], _method: Method) -> Handler:
    async def update(request: Any, call: Call) -> Any:
        entity, _ = await change(collection, call, request)
        return collection.message(await collection.save(call, entity))

    return update


def _delete(collection: Collection[Any], _method: Method) -> Handler:
    async def delete(request: Any, call: Call) -> Any:
        entity = await delete_one(collection, call, request.name, request.etag)
        return collection.message(entity)

    return delete


async def delete_one(
    collection: Collection[Any], call: Call, name: str | UUID, etag: str = ""
) -> Any:
    """Moves a record to the trash; raises FailedPrecondition `ALREADY_DELETED`."""
    entity = await collection.for_change(call, name, etag, deleted=True)
    if entity.delete_time is not None:
        msg = f"{collection.codec.name_of(entity.id)} is deleted already."
        raise FailedPrecondition(msg, reason="ALREADY_DELETED")
    entity.delete_time = call.now
    return await collection.save(call, entity, "deleted")


def _undelete(collection: Collection[Any], _method: Method) -> Handler:
    async def undelete(request: Any, call: Call) -> Any:
        entity = await undelete_one(collection, call, request.name, request.etag)
        return collection.message(entity)

    return undelete


async def undelete_one(
    collection: Collection[Any], call: Call, name: str | UUID, etag: str = ""
) -> Any:
    """Takes a record out of the trash; raises FailedPrecondition `NOT_DELETED`."""
    entity = await collection.for_change(call, name, etag, deleted=True)
    if entity.delete_time is None:
        msg = f"{collection.codec.name_of(entity.id)} is not deleted."
        raise FailedPrecondition(msg, reason="NOT_DELETED")
    entity.delete_time = None
    return await collection.save(call, entity, "undeleted")


def _purge(collection: Collection[Any], method: Method) -> Handler:
    async def purge_(request: Any, call: Call) -> Any:
        entity = await collection.for_change(call, request.name, request.etag, deleted=True)
        await purge(call, collection, entity)
        return method.output()

    return purge_
