"""A package's `CustomFieldService`: defines what is added to the records of its collections."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from psycopg.types.json import Jsonb

from crm.common.v1 import custom_field_pb2 as pb
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.custom_fields import messages
from crmkit.custom_fields.definitions import (
    COLUMNS,
    CustomField,
    definition_of,
    find,
)
from crmkit.custom_fields.rules import check, check_change
from crmkit.custom_fields.tables import CUSTOM_FIELD, CUSTOM_FIELD_VALUE
from crmkit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from crmkit.etags import check_etag
from crmkit.fieldmask import masked_fields
from crmkit.ids import uuid7
from crmkit.names import parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import compile_statement

_MOST_FIELDS = 100  # of one resource
_ORDER = [
    Order(name, CUSTOM_FIELD.c[name], descending=False)
    for name in ("resource", "position", "field_id", "id")
]
_BIND = {c.name: sa.bindparam(c.name, type_=c.type) for c in COLUMNS}
_INSERT = compile_statement(CUSTOM_FIELD.insert().values(_BIND))
_UPDATE = compile_statement(
    sa.update(CUSTOM_FIELD)
    .where(CUSTOM_FIELD.c.id == sa.bindparam("of", type_=sa.Uuid))
    .values({name: bind for name, bind in _BIND.items() if name != "id"})
)
# One at a time: the number of fields is limited.
_LOCK = compile_statement(sa.text("LOCK TABLE custom_field IN SHARE ROW EXCLUSIVE MODE"))
_COUNT = compile_statement(
    sa.select(sa.func.count()).where(CUSTOM_FIELD.c.resource == sa.bindparam("resource"))
)
_OF_FIELD = CUSTOM_FIELD_VALUE.c.field == sa.bindparam("field", type_=sa.Uuid)
_HAS_VALUES = compile_statement(sa.select(sa.exists().where(_OF_FIELD)))
_HAS_LONG_VALUES = compile_statement(
    sa.select(sa.exists().where(_OF_FIELD, CUSTOM_FIELD_VALUE.c.text_value.is_(None)))
)


class CustomFieldService:
    """Definitions of custom fields."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._resources = {
            name: c for name, c in collections.items() if "custom_fields" in c.codec.fields
        }

    async def GetCustomField(self, request: pb.GetCustomFieldRequest, call: Call) -> Any:  # noqa: N802
        """One definition."""
        return messages.message_of(await self._find(call, request.name, "name"))

    async def _find(self, call: Call, name: str, path: str, *, lock: bool = False) -> CustomField:
        id_ = parse_name(name, collection="customFields", field=path)
        found = await find(call.tx if lock else call.reader, id_, lock=lock)
        if found is None:
            msg = f"There is no {name}."
            raise NotFound(msg, metadata={"resource": name})
        return found

    async def ListCustomFields(self, request: pb.ListCustomFieldsRequest, call: Call) -> Any:  # noqa: N802
        """Definitions by resource and position."""
        query = sa.select(*COLUMNS)
        if request.resource:
            query = query.where(CUSTOM_FIELD.c.resource == request.resource)
        if not request.show_deleted:
            query = query.where(CUSTOM_FIELD.c.delete_time.is_(None))
        bound_to = f"customFields {request.resource} {request.show_deleted}"
        rows, token = await page_of_rows(call, query, _ORDER, request, bound_to)
        found = [messages.message_of(definition_of(row)) for row in rows]
        return pb.ListCustomFieldsResponse(custom_fields=found, next_page_token=token)

    async def CreateCustomField(self, request: pb.CreateCustomFieldRequest, call: Call) -> Any:  # noqa: N802
        """Defines a field."""
        _require_all(call)
        given = request.custom_field
        if given.resource not in self._resources:
            known = ", ".join(sorted(self._resources))
            msg = f"{given.resource} have no custom fields here; what has is {known}."
            raise InvalidArgument(msg, reason="UNKNOWN_RESOURCE", field="custom_field.resource")
        field = CustomField(
            id=uuid7(), version=1, create_time=call.now, update_time=call.now, delete_time=None,
            creator=call.principal.user, **messages.values_of(given, messages.WRITABLE),
        )  # fmt: skip
        field = check(field)
        await call.tx.execute(_LOCK)
        count = await call.tx.fetch_one(_COUNT, {"resource": field.resource})
        if count is not None and count[0] >= _MOST_FIELDS:
            msg = f"{field.resource} have {_MOST_FIELDS} custom fields, deleted ones included."
            raise FailedPrecondition(msg, reason="TOO_MANY_CUSTOM_FIELDS")
        await call.tx.execute(_INSERT, _row(field))
        return _known(call, field)

    async def UpdateCustomField(self, request: pb.UpdateCustomFieldRequest, call: Call) -> Any:  # noqa: N802
        """Changes a definition."""
        _require_all(call)
        given = request.custom_field
        names = masked_fields(request.update_mask.paths, given, messages.WRITABLE)
        before = await self._find(call, given.name, "custom_field.name", lock=True)
        check_etag(given.name, given.etag, before.version)
        if before.delete_time is not None:
            msg = f"{given.name} is deleted; restore it first."
            raise FailedPrecondition(msg, reason="RECORD_DELETED")
        after = check(replace(before, **messages.values_of(given, names)))
        check_change(before, after)
        await _refuse_by_values(call, before, after)
        return await self._save(call, after)

    async def DeleteCustomField(self, request: pb.DeleteCustomFieldRequest, call: Call) -> Any:  # noqa: N802
        """Takes a field away; its values stay."""
        _require_all(call)
        field = await self._find(call, request.name, "name", lock=True)
        check_etag(request.name, request.etag, field.version)
        if field.delete_time is not None:
            msg = f"{request.name} is deleted already."
            raise FailedPrecondition(msg, reason="ALREADY_DELETED")
        return await self._save(call, replace(field, delete_time=call.now))

    async def UndeleteCustomField(self, request: pb.UndeleteCustomFieldRequest, call: Call) -> Any:  # noqa: N802
        """Gives a field back with its values."""
        _require_all(call)
        field = await self._find(call, request.name, "name", lock=True)
        check_etag(request.name, request.etag, field.version)
        if field.delete_time is None:
            msg = f"{request.name} is not deleted."
            raise FailedPrecondition(msg, reason="NOT_DELETED")
        return await self._save(call, replace(field, delete_time=None))

    async def _save(self, call: Call, field: CustomField) -> pb.CustomField:
        field = replace(field, version=field.version + 1, update_time=call.now)
        row = _row(field)
        await call.tx.execute(_UPDATE, {**row, "of": row.pop("id")})
        return _known(call, field)


def _row(field: CustomField) -> dict[str, Any]:
    options = [asdict(option) for option in field.options]
    row = {column.name: getattr(field, column.name) for column in COLUMNS}
    return {**row, "options": Jsonb(options), "default_value": Jsonb(field.default_value)}


def _known(call: Call, field: CustomField) -> pb.CustomField:
    """The definition as clients see it; this process knows it once it is committed."""
    call.tx.after_commit(lambda: call.home.custom_fields.learn([field]))
    return messages.message_of(field)


def _require_all(call: Call) -> None:
    assert call.method is not None  # only requests come here
    if call.principal.require(call.method.permission) is not RecordScope.ALL:
        msg = "Custom fields concern everyone's records: the permission is needed for all of them."
        raise PermissionDenied(
            msg, reason="SCOPE_ALL_NEEDED", metadata={"permission": call.method.permission}
        )


async def _refuse_by_values(call: Call, before: CustomField, after: CustomField) -> None:
    """Refuses what the values that records have would not fit.

    Whoever writes a value at the same time is held off by the key between the two tables.
    """
    for name in ("type", "target", "unique"):
        changed = getattr(before, name) != getattr(after, name)
        if changed and await _exists(call, _HAS_VALUES, before):
            path = f"custom_field.{name}"
            msg = f"{path} cannot be changed while records have values."
            raise FailedPrecondition(msg, reason="FIELD_HAS_VALUES", field=path)
    becomes_indexed = after.type == "TEXT" and after.indexed and not before.indexed
    if becomes_indexed and await _exists(call, _HAS_LONG_VALUES, before):
        msg = "Some values are too long to be filtered or sorted by."
        raise FailedPrecondition(msg, reason="VALUES_TOO_LONG", field="custom_field.filterable")


async def _exists(call: Call, statement: Any, field: CustomField) -> bool:
    row = await call.tx.fetch_one(statement, {"field": field.id})
    return bool(row and row[0])
