"""What a filter, an order or a column may name of a resource, read from its contract.

The service that owns the resource is not asked: a view can be saved while that service is down. What the
contract says is a little more than what the service knows, so the service still checks what it is sent.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor

from crmkit import contract
from crmkit.access import Principal, RecordScope
from crmkit.errors import Failure, InvalidArgument
from crmkit.filters import FilterField, compile_filter
from crmkit.paging import parse_order_by
from crmkit.sensitive import hidden_in, without

_CUSTOM = "custom_fields."
_UNFILTERED = frozenset({"uid", "etag"})
_UNORDERED = frozenset({"labels", "json_list", "references", "record_names"})
_WELL_KNOWN = {
    "google.protobuf.Timestamp": "timestamp",
    "google.type.Date": "date",
    "google.type.Money": "money",
}
_SCALARS = {
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_FLOAT: "number",
    FieldDescriptor.CPPTYPE_STRING: "text",
}


class _WithCustomFields(dict[str, FilterField]):
    """Custom fields are defined in the owning service: here any name and any comparison will do."""

    def get(self, key: str, default: FilterField | None = None) -> FilterField | None:  # type: ignore[override]
        if key.startswith(_CUSTOM) and key != _CUSTOM:
            return FilterField(sa.column(key), "text")
        return super().get(key, default)


def check_resource(collection: str, field: str) -> None:
    """Raises InvalidArgument `UNKNOWN_RESOURCE` where no list of such records can be asked for."""
    if collection not in listed_resources():
        known = ", ".join(sorted(listed_resources()))
        msg = f"{field} must be one of {known}."
        raise InvalidArgument(msg, reason="UNKNOWN_RESOURCE", field=field)


@cache
def listed_resources() -> frozenset[str]:
    """The collections whose records are listed with filter and order."""
    found = set()
    for resource in contract.resources().values():
        service = contract.services().get(f"crm.{resource.service}.v1.{resource.noun}Service")
        for method in contract.methods_of(service) if service is not None else ():
            fields = method.input.DESCRIPTOR.fields_by_name
            if method.name.startswith("List") and {"filter", "order_by"} <= set(fields):
                found.add(resource.collection)
    return frozenset(found)


def check_filter(by: Principal, collection: str, text: str, field: str) -> None:
    """Raises InvalidArgument `INVALID_FILTER` on the field that holds the filter."""
    try:
        compile_filter(text, _seen(by, collection))
    except Failure as error:
        raise _on(error, field) from None


def check_order_by(by: Principal, collection: str, text: str, field: str) -> None:
    """Raises InvalidArgument `INVALID_ORDER_BY` on the field that holds the order."""
    columns: dict[str, sa.ColumnElement[Any]] = {"id": sa.column("id")}
    fields = _seen(by, collection)
    columns |= {name: f.column for name, f in fields.items() if f.kind not in _UNORDERED}
    custom = [part.split()[0] for part in text.split(",") if part.strip().startswith(_CUSTOM)]
    columns |= {name: sa.column(name) for name in custom if name != _CUSTOM}
    try:
        parse_order_by(text, columns)
    except Failure as error:
        raise _on(error, field) from None


def check_columns(collection: str, columns: list[str], field: str) -> None:
    """Raises InvalidArgument `UNKNOWN_COLUMN` for the first that the resource has no field for."""
    for index, column in enumerate(columns):
        if not _is_field(contract.collections()[collection].message.DESCRIPTOR, column):
            path = f"{field}[{index}]"
            msg = f"{path}: {collection} have no field {column}."
            raise InvalidArgument(msg, reason="UNKNOWN_COLUMN", field=path)


def _on(error: Failure, field: str) -> InvalidArgument:
    return InvalidArgument(error.message, reason=error.reason, field=field, metadata=error.metadata)


def _is_field(message: Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    if name == "custom_fields" or name not in message.fields_by_name:
        return name == "custom_fields" and bool(rest)
    field = message.fields_by_name[name]
    if _input_only(field):
        return False
    if not rest:
        return True
    if name == "labels":
        return True
    return field.message_type is not None and _is_field(field.message_type, rest)


def _input_only(field: Any) -> bool:
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.INPUT_ONLY in behaviors


def _seen(by: Principal, collection: str) -> Mapping[str, FilterField]:
    """The fields by which somebody can filter the records that they may list."""
    resource = contract.collections()[collection]
    scope = by.grants.scope(f"{resource.service}.{collection}.list")
    unseen = hidden_in(by, resource, RecordScope.ALL if resource.shared else scope)
    known = filter_fields(collection)
    return _WithCustomFields(without(known, unseen)) if unseen else known


@cache
def filter_fields(collection: str) -> Mapping[str, FilterField]:
    """The fields of a resource by which its records can be filtered, by name."""
    descriptor = contract.collections()[collection].message.DESCRIPTOR
    found = _WithCustomFields(name=FilterField(sa.column("id"), "reference", (collection,)))
    for field in descriptor.fields:
        if field.name in _UNFILTERED | {"name"} or _input_only(field):
            continue
        described = _filter_field(field)
        if described is not None:
            found[field.name] = described
    return found


def _filter_field(  # noqa: PLR0911 - one return for each kind
    field: Any,
) -> FilterField | None:
    column: sa.ColumnElement[Any] = sa.column(field.name)
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return FilterField(column, "labels")
    referred = contract.collections_of(field)
    if referred:
        several = "references" if len(referred) == 1 else "record_names"
        return FilterField(column, several if field.is_repeated else "reference", referred)
    if message is not None and field.is_repeated:
        return FilterField(column, "json_list", tuple(f.name for f in message.fields))
    if message is not None:
        well_known = _WELL_KNOWN.get(message.full_name)
        currency: sa.ColumnElement[Any] | None = (
            sa.column(f"{field.name}_currency") if well_known == "money" else None
        )
        return FilterField(column, well_known, currency=currency) if well_known else None
    if field.is_repeated:
        return None
    if field.enum_type is not None:
        return FilterField(
            column, "enum", tuple(v.name for v in field.enum_type.values if v.number)
        )
    return FilterField(column, _SCALARS.get(field.cpp_type, "integer"))
