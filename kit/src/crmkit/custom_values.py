"""The values of custom fields in a record: read, settled before they are stored, and kept for filters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from crmkit.aggregate import Record
from crmkit.call import Call
from crmkit.contract import ResourceContract
from crmkit.custom_fields.definitions import CustomField, ResourceFields
from crmkit.custom_fields.tables import CUSTOM_FIELD, CUSTOM_FIELD_VALUE
from crmkit.custom_fields.types import KINDS, reference_id, unique_key
from crmkit.db import Transaction
from crmkit.errors import InvalidArgument, Violation
from crmkit.field_codecs import Reference
from crmkit.statements import compile_statement, copy_target

Values = dict[str, Any]
R = TypeVar("R", bound=Record)

_COLUMNS = tuple(column.name for column in CUSTOM_FIELD_VALUE.columns)
_EMPTY = dict.fromkeys(_COLUMNS)
_COPY = copy_target(CUSTOM_FIELD_VALUE, list(CUSTOM_FIELD_VALUE.columns))
_BIND = {c.name: sa.bindparam(c.name, type_=c.type) for c in CUSTOM_FIELD_VALUE.columns}
_INSERT = compile_statement(CUSTOM_FIELD_VALUE.insert().values(_BIND))
_RECORD = sa.bindparam("record", type_=sa.Uuid)
_DELETE = compile_statement(
    sa.delete(CUSTOM_FIELD_VALUE).where(
        CUSTOM_FIELD_VALUE.c.record == _RECORD,
        CUSTOM_FIELD_VALUE.c.field == sa.any_(sa.bindparam("fields", type_=sa.ARRAY(sa.Uuid))),
    )
)
_FORGET = compile_statement(
    sa.delete(CUSTOM_FIELD_VALUE).where(CUSTOM_FIELD_VALUE.c.record == _RECORD)
)


_REFERRER = compile_statement(
    sa.select(CUSTOM_FIELD.c.resource, CUSTOM_FIELD_VALUE.c.record, CUSTOM_FIELD.c.field_id)
    .join(CUSTOM_FIELD, CUSTOM_FIELD.c.id == CUSTOM_FIELD_VALUE.c.field)
    .where(
        CUSTOM_FIELD_VALUE.c.reference_value == sa.bindparam("target", type_=sa.Uuid),
        CUSTOM_FIELD_VALUE.c.record != sa.bindparam("target", type_=sa.Uuid),
    )
    .limit(1)
)


def path_of(contract: ResourceContract, field_id: str) -> str:
    """The place of a value, for errors: `opportunity.custom_fields.region`."""
    return f"{contract.singular}.custom_fields.{field_id}"


def read(fields: ResourceFields, contract: ResourceContract, given: Mapping[str, Any]) -> Values:
    """Values as they are kept, by field; None clears one.

    Raises:
        InvalidArgument: Names every value that cannot be what its field means.
    """
    found: Values = {}
    violations: list[Violation] = []
    for field_id, value in given.items():
        path = path_of(contract, field_id[:63])
        try:
            field = fields.by_id.get(field_id)
            if field is None:
                msg = f"{path}: there is no such custom field."
                raise InvalidArgument(msg, field=path)  # noqa: TRY301 - gathered with the others
            found[field_id] = None if value is None else KINDS[field.type].read(field, value, path)
        except InvalidArgument as error:
            violations += error.violations
    if violations:
        raise InvalidArgument(violations[0].description, violations=violations[:20])
    return found


def references(
    fields: ResourceFields, contract: ResourceContract, values: Values, before: Values | None = None
) -> list[Reference]:
    """What new or changed values refer to."""
    found = []
    for field_id, value in values.items():
        field = fields.by_id.get(field_id)
        if field is None or field.type != "REFERENCE" or value is None:
            continue
        if before is None or before.get(field_id) != value:
            path = path_of(contract, field_id)
            found.append(Reference(field.target, reference_id(value), path))
    return found


def settle(
    call: Call,
    fields: ResourceFields,
    contract: ResourceContract,
    after: Record,
    before: Record | None,
) -> None:
    """Fills in defaults of a new record; holds what people write to what is required and chosen.

    Raises:
        InvalidArgument: `REQUIRED_FIELD` or `OPTION_RETIRED`, naming the field.
    """
    if before is None and fields.defaults:
        after.custom_fields = {**fields.defaults, **after.custom_fields}
    if call.principal.user is not None and (before is None or _is_update(call)):
        for field in fields.required:
            if field.field_id not in after.custom_fields:
                path = path_of(contract, field.field_id)
                msg = f"{path} is required."
                raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=path)
    had = before.custom_fields if before is not None else {}
    for field_id, value in after.custom_fields.items():
        if value != had.get(field_id):
            _refuse_retired(fields.by_id.get(field_id), value, had.get(field_id), contract)


def _is_update(call: Call) -> bool:
    """Winning or deleting a record must not wait for a field that was added yesterday."""
    return call.method is not None and call.method.name.startswith(("Update", "BatchUpdate"))


def _refuse_retired(
    field: CustomField | None, value: Any, had: Any, contract: ResourceContract
) -> None:
    if field is None or not field.options:
        return
    chosen = set(value if isinstance(value, list) else [value])
    chosen -= set(had if isinstance(had, list) else [had])
    retired = chosen & {option.option_id for option in field.options if option.retired}
    if retired:
        path = path_of(contract, field.field_id)
        msg = f"{path}: {min(retired)} is not chosen any more."
        raise InvalidArgument(msg, reason="OPTION_RETIRED", field=path)


# -- deleted fields: their values stay with the records, unseen


def hide(call: Call, resource: str, records: list[R]) -> list[R]:
    """Takes the values of deleted fields out of records that were read; a change keeps them."""
    for record in records:
        everything = record.custom_fields
        if everything:
            record.custom_fields = call.home.custom_fields.of(resource).shown(everything)
            if record.custom_fields is not everything:
                call.state[record.id, "hidden"] = everything
    return records


def with_hidden(call: Call, record: Record) -> Values:
    """What is stored: the values that people see, and those of deleted fields."""
    everything = call.state.get((record.id, "hidden"), {})
    hidden = {
        i: v for i, v in everything.items() if i not in call.state[record.id][0].custom_fields
    }
    return {**hidden, **record.custom_fields}


# -- the rows that filters, orders and uniqueness use


def _row(field: CustomField, record: UUID, value: Any) -> dict[str, Any]:
    return {
        **_EMPTY,
        **KINDS[field.type].row(value),
        "record": record,
        "field": field.id,
        "type": field.type,
        "target": field.target,
        "unique": field.unique,
        "unique_key": unique_key(field, value),
    }


def _rows(fields: ResourceFields, record: UUID, values: Values) -> Iterable[dict[str, Any]]:
    for field_id, value in values.items():
        field = fields.by_id.get(field_id)
        if field is not None:
            yield _row(field, record, value)


async def store(call: Call, resource: str, record: Record, before: Values) -> None:
    """Writes the rows of what changed, behind the statement that writes the record."""
    after = record.custom_fields
    if before == after:
        return
    fields = call.home.custom_fields.of(resource)
    changed = {i for i in before.keys() | after.keys() if before.get(i) != after.get(i)}
    old = [fields.by_id[i].id for i in changed if i in before and i in fields.by_id]
    if old:
        await call.tx.execute(_DELETE, {"record": record.id, "fields": old})
    for row in _rows(fields, record.id, {i: after[i] for i in after if i in changed}):
        await call.tx.execute(_INSERT, row)


async def store_many(call: Call, resource: str, records: Sequence[Record]) -> None:
    """Writes the rows of many new records with COPY."""
    fields = call.home.custom_fields.of(resource)
    rows = [
        tuple(row[name] for name in _COLUMNS)
        for record in records
        for row in _rows(fields, record.id, record.custom_fields)
    ]
    if rows:
        await call.tx.copy(_COPY, rows)


async def forget_values(call: Call, resource: str, record: Record, before: Values) -> None:
    """Removes the rows of values that a record has no longer as they were, also of deleted fields."""
    after = record.custom_fields
    gone = {i for i in before if before[i] != after.get(i)}
    fields = [f.id for f in call.home.custom_fields.of(resource).all if f.field_id in gone]
    if fields:
        await call.tx.execute(_DELETE, {"record": record.id, "fields": fields})


async def forget(tx: Transaction, record: UUID) -> None:
    """Removes the rows of a record that is no more."""
    await tx.execute(_FORGET, {"record": record})


async def referrer(tx: Transaction, target: UUID) -> tuple[str, str] | None:
    """A record of this service that refers to another by a custom field, and that field."""
    row = await tx.fetch_one(_REFERRER, {"target": target})
    return (f"{row[0]}/{row[1]}", f"custom_fields.{row[2]}") if row is not None else None
