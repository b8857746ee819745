"""Changes of up to 1,000 records in one request (AIP-234, 235): all of them, or none.

To each record happens what a single change does to it: rules, references, history, events.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from uuid import UUID

from crmkit import references
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.errors import Failure, InvalidArgument
from crmkit.names import parse_name
from crmkit.resources import (
    Handler,
    answer,
    changes_of,
    delete_one,
    records_field,
    references_of,
    set_fields,
    undelete_one,
)

ChangeOne = Callable[[Call, UUID, str], Awaitable[Any]]

# A client takes messages of 4 MiB: a larger answer would look like a failure of what is committed.
_LARGEST_ANSWER = 3 * 1024 * 1024


def batch_method(collection: Collection[Any], method: Method) -> Handler | None:
    """The kit's implementation of a method, if it changes many records of this collection."""
    if method.name.startswith("BatchUpdate"):
        return _batch_update(collection, method)
    if method.name.startswith("BatchDelete"):
        return _batch(collection, method, delete_one)
    if method.name.startswith("BatchUndelete"):
        return _batch(collection, method, undelete_one)
    return None


def _batch(
    collection: Collection[Any], method: Method, one: Callable[..., Awaitable[Any]]
) -> Handler:
    async def batch(request: Any, call: Call) -> Any:
        async def change_one(call: Call, record: UUID, etag: str) -> Any:
            return await one(collection, call, record, etag)

        return await _each(collection, method, request, call, change_one)

    return batch


def _batch_update(collection: Collection[Any], method: Method) -> Handler:
    singular = collection.contract.singular

    async def batch_update(request: Any, call: Call) -> Any:
        _refuse_identity(getattr(request, singular), singular)
        update_one = await updater(collection, call, request)
        return await _each(collection, method, request, call, update_one)

    return batch_update


async def updater(collection: Collection[Any], call: Call, request: Any) -> ChangeOne:
    """What makes the changes of an update request to a record; called before the transaction begins."""
    values = await changes_of(collection, call, request)
    await references.settle(call, references_of(collection, call, values))

    async def update_one(call: Call, record: UUID, etag: str = "") -> Any:
        entity = await collection.for_change(call, record, etag)
        set_fields(collection, call, entity, request, deepcopy(values))
        return await collection.save(call, entity)

    return update_one


def _refuse_identity(message: Any, singular: str) -> None:
    """Values for many records belong to none of them; an If-Match header lands here too."""
    for field, instead in (("name", "names"), ("etag", "etags")):
        if getattr(message, field):
            msg = f"{singular}.{field} says nothing in a batch; use {instead}."
            raise InvalidArgument(msg, field=f"{singular}.{field}")


async def _each(
    collection: Collection[Any], method: Method, request: Any, call: Call, change_one: ChangeOne
) -> Any:
    """Changes every record that a request names; answers them in the order asked."""
    ids = _ids(collection, request)
    etags = dict(request.etags)
    if unknown := sorted(etags.keys() - set(request.names)):
        msg = f"etags has {unknown[0]}, which names has not."
        raise InvalidArgument(msg, field="etags")
    changed = {}
    for record, name in sorted(ids.items()):  # two batches lock in the same order: no deadlock
        with _naming(collection.codec.name_of(record)):
            changed[record] = await change_one(call, record, etags.get(name, ""))
    response = answer(collection, method, records_field(method), [changed[id_] for id_ in ids])
    if response.ByteSize() > _LARGEST_ANSWER:
        msg = "The answer would be larger than 3 MiB: name fewer records."
        raise InvalidArgument(msg, reason="ANSWER_TOO_LARGE", field="names")
    return response


def _ids(collection: Collection[Any], request: Any) -> dict[UUID, str]:
    """The records named, with the names as they were sent."""
    found: dict[UUID, str] = {}
    for index, name in enumerate(request.names):
        path = f"names[{index}]"
        record = parse_name(name, collection=collection.name, field=path)
        if record in found:
            msg = f"{path}: {name} is named twice."
            raise InvalidArgument(msg, field=path)
        found[record] = name
    return found


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Makes failures say which of the records they are about."""
    try:
        yield
    except Failure as failure:
        failure.metadata.setdefault("resource", name)
        raise
