"""What people call records, as somebody may read them now."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from crm.common.v1 import lookup_pb2
from crmkit import contract
from crmkit.asking import ask
from crmkit.call import Call
from crmkit.contract import ResourceContract
from crmkit.errors import NotFound, PermissionDenied
from crmkit.names import parse_name

# The first that a record has is what people call it.
_TITLES = ("display_name", "subject", "title", "number")


async def titles_for(person: Call, names: Iterable[str]) -> dict[str, str]:
    """Name → title of those records that a person may read now and that are not deleted.

    Args:
        person: Work with the person's rights; before a transaction.
        names: Records of any service.

    Raises:
        Unavailable: A service that owns some of them cannot be reached.
    """
    groups = defaultdict(list)
    for name in sorted(names):
        groups[name.split("/", 1)[0]].append(name)
    titles: dict[str, str] = {}
    for collection, wanted in groups.items():
        resource = contract.collections().get(collection)
        if resource is None:
            continue
        own = collection in person.home.collections
        read = _read_own if own else _read_others
        try:
            titles |= {r.name: _title(r) or r.name for r in await read(person, resource, wanted)}
        except (NotFound, PermissionDenied):
            continue  # none that they may read, or one that went away meanwhile: said by nobody
    return titles


def _title(record: Any) -> str:
    fields = record.DESCRIPTOR.fields_by_name
    found = (str(getattr(record, name)) for name in _TITLES if name in fields)
    return next((title for title in found if title), "")


async def _read_own(person: Call, resource: ResourceContract, names: list[str]) -> list[Any]:
    collection = person.home.collections[resource.collection]
    ids = [parse_name(name, collection=resource.collection, field="name") for name in names]
    found = await collection.get_many(person, ids, permission=collection.permission("get"))
    return [collection.message(record) for record in found if record.delete_time is None]


async def _read_others(person: Call, resource: ResourceContract, names: list[str]) -> list[Any]:
    """Asks which of them there are for the person, then reads those."""
    everywhere = contract.services()["crm.common.v1.LookupService"]
    look_up = replace(contract.methods_of(everywhere)[0], service=resource.service)
    asked = lookup_pb2.LookUpRecordsRequest(
        collection=resource.collection, field="name", values=names
    )
    found = await ask(person, look_up, asked)
    visible = [match.name for match in found.matches]
    if not visible:
        return []
    noun = f"crm.{resource.service}.v1.{resource.noun}Service"
    methods = contract.methods_of(contract.services()[noun])
    batch = next(m for m in methods if m.name.startswith("BatchGet"))
    answer = await ask(person, batch, batch.input(names=visible))
    field = next(f.name for f in batch.output.DESCRIPTOR.fields if f.is_repeated)
    return list(getattr(answer, field))
