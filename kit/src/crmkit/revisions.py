"""Field-level history: one row for every version of every record, written with the change itself.

A row holds the fields that changed, in the JSON that the codec keeps in jsonb columns; attributes that no
message shows (a password's hash) are not in it. It is turned into what clients see when it is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from google.protobuf import json_format, struct_pb2
from psycopg.types.json import Jsonb

from crm.common.v1 import revision_pb2
from crmkit.call import Call
from crmkit.codec import Codec
from crmkit.custom_fields.definitions import ResourceFields
from crmkit.db import Executor
from crmkit.errors import FailedPrecondition
from crmkit.feed import outbox
from crmkit.feed.outbox import OutboxEvent
from crmkit.field_codecs import FieldCodec
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.schema import REVISION
from crmkit.statements import Row, compile_statement, copy_target

Changes = dict[str, list[Any]]

ERASED = "erased"  # stands where the two values of a personal field were
# What every version says by itself: when it was written.
_STAMPS = frozenset({"create_time", "update_time"})
# The team follows the owner, who may work in another one now.
_NOT_RESTORED = _STAMPS | {"delete_time", "team"}
_CUSTOM = "custom_fields"
_COLUMNS = tuple(column.name for column in REVISION.columns)
# With the event that says what happened: columns of one name have one value.
_INSERT = compile_statement(
    outbox.INSERT.inline().add_cte(
        REVISION.insert()
        .values({c.name: sa.bindparam(c.name, type_=c.type) for c in REVISION.columns})
        .cte("revised")
    )
)
_COPY = copy_target(REVISION, list(REVISION.columns))
_RECORD = sa.bindparam("record", type_=sa.Uuid)
_ERASE = compile_statement(
    sa.text(
        """
        UPDATE revision SET changes = (
          SELECT jsonb_object_agg(key, CASE WHEN key = ANY (:fields) THEN '["erased"]' ELSE value END)
            FROM jsonb_each(changes))
         WHERE record = :record AND changes ?| :fields
        """
    ).bindparams(_RECORD, sa.bindparam("fields", type_=sa.ARRAY(sa.Text)))
)
_FORGET = compile_statement(sa.delete(REVISION).where(REVISION.c.record == _RECORD))
_FIND = compile_statement(
    sa.select(*REVISION.columns).where(
        REVISION.c.record == _RECORD, REVISION.c.version == sa.bindparam("version")
    )
)
_NEWEST_FIRST = [Order("version", REVISION.c.version, descending=True)]
_dumps = partial(orjson.dumps, default=str)  # a Decimal as its digits


def first_changes(codec: Codec[Any], row: Mapping[str, Any]) -> Changes:
    """What a new record was filled with."""
    changes: Changes = {}
    for name, field in codec.fields.items():
        if row[field.column_names[0]] is None or name in _STAMPS or name in codec.untold:
            continue
        value = _stored(field, row)
        if value or not isinstance(value, list | dict):
            changes[name] = [None, value]
    _, custom = changes.pop(_CUSTOM, (None, {}))
    return changes | _custom_changes({}, custom)


def changes_between(
    codec: Codec[Any], before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]
) -> Changes:
    """Old and new value of the fields that differ between two rows."""
    pairs = {n: [_stored(codec.fields[n], row) for row in (before, after)] for n in names}
    custom = pairs.pop(_CUSTOM, None)
    return pairs | _custom_changes(*custom) if custom else pairs


def _custom_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """Each custom field is a field of its own: `custom_fields.region`."""
    return {
        f"{_CUSTOM}.{id_}": [before.get(id_), after.get(id_)]
        for id_ in sorted(before.keys() | after.keys())
        if before.get(id_) != after.get(id_)
    }


def _stored(field: FieldCodec, row: Mapping[str, Any]) -> Any:
    """A field's value as its JSON, except for what `_dumps` does by itself."""
    value = row[field.column_names[0]]
    if isinstance(value, Jsonb):
        return value.obj
    if value is not None and len(field.column_names) > 1:
        return {"amount": value, "currency_code": row[field.column_names[1]]}
    return value


def _row(call: Call, entity: Any, event: OutboxEvent, changes: Changes) -> dict[str, Any]:
    return {
        "record": entity.id,
        "version": entity.version,
        "collection": event.subject.partition("/")[0],
        "create_time": call.now,
        "actor": call.principal.name,
        "kind": event.routing_key.rpartition(".")[2],
        "correlation_id": call.correlation_id,
        "causation_id": call.causation_id,
        "imported": call.imported,
        "changes": Jsonb(changes, _dumps),
    }


async def append(call: Call, entity: Any, event: OutboxEvent, changes: Changes) -> None:
    """Adds a version to a record's history, and its event to the outbox, in the change's transaction.

    Args:
        call: The work that changes it.
        entity: The record after the change.
        event: The first event of this version: it says what happened.
        changes: Old and new values by field.
    """
    await call.tx.execute(_INSERT, outbox.row(event) | _row(call, entity, event, changes))


async def append_many(call: Call, versions: Sequence[tuple[Any, OutboxEvent, Changes]]) -> None:
    """Appends the versions of a bulk write with COPY."""
    rows = [tuple(_row(call, *version).values()) for version in versions]
    await call.tx.copy(_COPY, rows)


async def erase_personal(
    executor: Executor,
    codec: Codec[Any],
    custom: ResourceFields,
    record: UUID,
    also: Sequence[str] = (),
) -> None:
    """Removes personal values from a record's history; that they changed, when and by whom, stays."""
    fields = [name for name, f in codec.fields.items() if f.personal or f.personal_if]
    fields += also
    fields += [f"{_CUSTOM}.{id_}" for id_ in custom.personal]
    await executor.execute(_ERASE, {"record": record, "fields": fields})


async def forget(executor: Executor, record: UUID) -> None:
    """Removes a record's history."""
    await executor.execute(_FORGET, {"record": record})


async def page(
    call: Call,
    codec: Codec[Any],
    record: UUID,
    request: revision_pb2.ListRevisionsRequest,
    hidden: frozenset[str] = frozenset(),
) -> revision_pb2.ListRevisionsResponse:
    """A page of a record's history, newest first, without the values of hidden fields."""
    query = sa.select(*REVISION.columns).where(REVISION.c.record == record)
    rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, f"revisions/{record}")
    revisions = [_message(codec, row, hidden) for row in rows]
    return revision_pb2.ListRevisionsResponse(revisions=revisions, next_page_token=token)


async def shown(
    executor: Executor, codec: Codec[Any], record: UUID, version: int, hidden: frozenset[str]
) -> revision_pb2.Revision:
    """One version of a record's history, as clients see it; empty where there is none."""
    row = await executor.fetch_one(_FIND, {"record": record, "version": version})
    return _message(codec, row, hidden) if row is not None else revision_pb2.Revision()


async def values_before(
    executor: Executor,
    codec: Codec[Any],
    custom: ResourceFields,
    record: UUID,
    version: int,
    *,
    after: bool = False,
) -> dict[str, Any]:
    """What a version changed, as it was before: for `resources.set_field`, in a call that restores.

    With `after`, as it was then.

    Raises:
        FailedPrecondition: `ERASED`: it was personal and is not kept any more.
    """
    row = await executor.fetch_one(_FIND, {"record": record, "version": version})
    found: dict[str, Any] = {}
    for name, pair in (dict(zip(_COLUMNS, row, strict=True))["changes"] if row else {}).items():
        field, _, custom_id = name.partition(".")
        if field in _NOT_RESTORED or (custom_id and custom_id not in custom.by_id):
            continue
        if pair == [ERASED]:
            msg = f"The old value of {name} has been erased."
            raise FailedPrecondition(
                msg, reason="ERASED", field=f"{codec.contract.singular}.{name}"
            )
        if custom_id:
            found.setdefault(_CUSTOM, {})[custom_id] = pair[after]
        else:
            value = pair[after]
            found[name] = None if value is None else codec.fields[name].from_json(value)
    return found


def _message(codec: Codec[Any], values: Row, hidden: frozenset[str]) -> revision_pb2.Revision:
    row = dict(zip(_COLUMNS, values, strict=True))
    changes = row.pop("changes")
    name = f"{codec.name_of(row.pop('record'))}/revisions/{row['version']}"
    del row["collection"]
    message = revision_pb2.Revision(name=name, **row)
    for field, pair in sorted(changes.items()):
        change = message.changes.add(field=field)
        if field in hidden:
            change.hidden = True
        elif pair == [ERASED]:
            change.erased = True
        else:
            old, new = (_shown(codec, field, value) for value in pair)
            change.old_value.CopyFrom(old)
            change.new_value.CopyFrom(new)
    return message


def _shown(codec: Codec[Any], name: str, stored: Any) -> struct_pb2.Value:
    """A value as it stands in the record's own JSON.

    One of a field that is not there any more, or of another type today, is shown as it was kept.
    """
    shown, field = stored, codec.fields.get(name)
    if field is not None and stored is not None:
        message: Any = codec.contract.message()
        try:
            field.write(message, field.from_json(stored))
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            pass
        else:
            shown = json_format.MessageToDict(
                message,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )[name]
    value = struct_pb2.Value()
    json_format.ParseDict(shown, value)
    return value
