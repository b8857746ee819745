"""What follows a record by itself: the next of a series, the interaction that an appointment became."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from crmkit import custom_values
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.custom_fields.definitions import CustomField


async def follow(call: Call, collection: Collection[Any], record: Any) -> None:
    """Stores a record that follows another and has what that one has.

    Old references stay, whatever became of what they are to. Unique values stay where they are, and so do
    choices that are retired. Nobody writes the record, so nobody is asked for a custom field that it lacks.
    """
    confirmed: set[UUID] = call.state.setdefault("confirmed_references", set())
    confirmed.update(r.id for r in collection.codec.references(record, collection.codec.writable))
    fields = call.home.custom_fields.of(collection.name)
    had, record.custom_fields = record.custom_fields, {}
    for field_id, value in had.items():
        field = fields.by_id.get(field_id)
        if field is not None and not field.unique and not _retired(field, value):
            record.custom_fields[field_id] = value
    confirmed.update(
        r.id for r in custom_values.references(fields, collection.contract, record.custom_fields)
    )
    unasked = replace(call, principal=replace(call.principal, user=None))
    await collection.insert(unasked, record)


def _retired(field: CustomField, value: Any) -> bool:
    chosen = value if isinstance(value, list) else [value]
    return any(option.option_id in chosen for option in field.options if option.retired)
