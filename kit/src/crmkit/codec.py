"""Entity ↔ message ↔ row, from the descriptor.

One name runs through proto field, attribute, column and filter field. The codec is compiled once per
resource and refuses to start where a field has no counterpart. How one field is converted stands in
`field_codecs`.
"""

from copy import copy
from dataclasses import MISSING, fields
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar, get_type_hints
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.message import Message
from psycopg.types.json import Jsonb

from crmkit.aggregate import Record
from crmkit.contract import ResourceContract
from crmkit.errors import ContractError
from crmkit.field_codecs import FieldCodec, Reference, compile_field, is_stored
from crmkit.filters import FilterField
from crmkit.statements import Row

E = TypeVar("E", bound=Record)

# Message fields that are not copied: made from the record's identity and version, or when it is shown.
_IDENTITY = frozenset({"name", "uid", "etag", "hidden_fields"})
# Attributes that are not fields of the message.
_INTERNAL = frozenset({"id", "version", "events"})
_LISTS = (list, dict)  # an empty one leaves nothing to write


def differ(before: Any, after: Any) -> bool:
    """Whether two values of a column are different; jsonb values by content."""
    if before is after:
        return False
    if isinstance(before, Jsonb) and isinstance(after, Jsonb):
        return bool(before.obj != after.obj)
    return bool(before != after)


class Codec(Generic[E]):
    """Converts one resource; see the module."""

    def __init__(
        self,
        contract: ResourceContract,
        entity: type[E],
        table: sa.Table,
        *,
        private: frozenset[str] = frozenset(),
        unstored: frozenset[str] = frozenset(),
    ) -> None:
        """Compiles the conversions.

        Args:
            contract: The resource.
            entity: Its dataclass.
            table: Its table.
            private: Attributes and columns that no message shows: a password's hash.
            unstored: Message fields that are not kept: a key shown once.
        """
        self.contract = contract
        self.entity = entity
        self.table = table
        self.untold = entity.derived | {"update_time"}
        hints = get_type_hints(entity)
        descriptor: Any = contract.message.DESCRIPTOR
        self.fields: dict[str, FieldCodec] = {
            field.name: compile_field(field, hints.get(field.name), contract.singular)
            for field in descriptor.fields
            if field.name not in _IDENTITY | unstored and is_stored(field)
        }
        self.defaults = {
            f.name: f.default_factory() if f.default_factory is not MISSING else f.default
            for f in fields(entity)
            if f.default is not MISSING or f.default_factory is not MISSING
        }
        self._refuse_differences(set(hints), private)
        self._attributes = tuple(
            name for name in hints if name != "events" and not name.startswith("_")
        )
        self._take = attrgetter(*self._attributes)
        self._unshown = tuple(name for name in self._attributes if name not in self.fields)
        # Of the other fields the column's value is the attribute itself.
        self._stores = tuple((n, f.store) for n, f in self.fields.items() if f.load is not None)
        self.columns = tuple(
            column for name in self._attributes for column in self._columns_of(name)
        )
        self._place_loaders()
        self._referring = [(n, f.references) for n, f in self.fields.items() if f.references]
        self.pick_lists = [(n, f.pick_list) for n, f in self.fields.items() if f.pick_list]
        self._take_shown = attrgetter(*self.fields)
        self._writes = [f.write for f in self.fields.values()]
        self._field_of = {
            c: n for n, f in self.fields.items() if n not in self.untold for c in f.column_names
        }
        told = {n: f for n, f in self.fields.items() if not f.personal and n != "custom_fields"}
        self._take_event = attrgetter(*told)
        self._event = [(f.write, f.personal_if) for f in told.values()]
        self.writable = frozenset(n for n, f in self.fields.items() if f.writable)
        self.required = frozenset(n for n, f in self.fields.items() if f.required)

    def _place_loaders(self) -> None:
        """Which columns of a row are attributes as they are, and which are loaded."""
        names = [column.name for column in self.columns]
        places = {name: names.index(self._column_names(name)[0]) for name in self._attributes}
        self._loads = [
            (f.load, name, places[name], places[name] + self._width(name))
            for name, f in self.fields.items()
            if f.load is not None
        ]
        loaded = {name for _, name, _, _ in self._loads}
        self._same = tuple(name for name in self._attributes if name not in loaded)
        self._take_same = itemgetter(*(places[name] for name in self._same))

    def _refuse_differences(self, attributes: set[str], private: frozenset[str]) -> None:
        expected = set(self.fields) | _INTERNAL | private
        columns = {
            column for name in attributes - {"events"} for column in self._column_names(name)
        }
        differences = [
            *(f"attribute {name} is missing" for name in sorted(expected - attributes)),
            *(f"field {name} is missing" for name in sorted(attributes - expected)),
            *(
                f"column {n} is missing in the table"
                for n in sorted(columns - set(self.table.c.keys()))
            ),
            *(
                f"column {n} is not used"
                for n in sorted(set(self.table.c.keys()) - columns)
                if n.removesuffix("_as_recorded") not in columns  # `following` writes it
            ),
        ]
        differences += [
            f"attribute {name} has the default {self.defaults[name]!r}, which its enum has not"
            for name, field in self.fields.items()
            if field.filter_kind == "enum"
            and self.defaults.get(name) not in (None, "", *field.filter_values)
        ]
        if differences:
            msg = f"{self.contract.type_name}: {'; '.join(differences)}"
            raise ContractError(msg)

    def _column_names(self, attribute: str) -> tuple[str, ...]:
        field = self.fields.get(attribute)
        return field.column_names if field else (attribute,)

    def _columns_of(self, attribute: str) -> tuple[sa.Column[Any], ...]:
        return tuple(self.table.c[name] for name in self._column_names(attribute))

    def _width(self, attribute: str) -> int:
        return len(self._column_names(attribute))

    # -- messages

    def name_of(self, record_id: UUID | str) -> str:
        """The resource name of a record."""
        if self.contract.singleton:
            return self.contract.collection
        return f"{self.contract.collection}/{record_id}"

    def to_message(self, entity: E) -> Any:
        """The whole record as its message."""
        message = self.contract.message()
        self.write_message(entity, message)
        return message

    def write_message(self, entity: E, message: Any) -> None:
        """Fills the whole record into an empty message."""
        self._write_identity(entity, message)
        for write, value in zip(self._writes, self._take_shown(entity), strict=True):
            if value is not None and (value or value.__class__ not in _LISTS):
                write(message, value)

    def write_event(self, entity: E, message: Any) -> None:
        """Fills the record into an event: everything but personal data and custom fields."""
        self._write_identity(entity, message)
        values = self._take_event(entity)
        for (write, personal_if), value in zip(self._event, values, strict=True):
            if value is None or (not value and value.__class__ in _LISTS):
                continue
            if personal_if and getattr(entity, personal_if[0]) == personal_if[1]:
                continue
            write(message, value)

    def _write_identity(self, entity: E, message: Any) -> None:
        message.uid = uid = str(entity.id)
        message.name = self.name_of(uid)
        message.etag = f'"{entity.version}"'

    def read(self, message: Message, names: frozenset[str] | list[str]) -> dict[str, Any]:
        """The values of some fields of a message; an absent one is the attribute's default.

        Raises:
            InvalidArgument: A value cannot be what its field means; the field is named.
        """
        values = {}
        for name in names:
            value = self.fields[name].read(message)
            if value is None and (default := self.defaults.get(name)) is not None:
                value = copy(default)
            values[name] = value
        return values

    def references(self, entity: E, names: frozenset[str] | list[str]) -> list[Reference]:
        """What some fields of a record refer to."""
        return [
            reference
            for name, find in self._referring
            if name in names
            for reference in find(getattr(entity, name))
        ]

    def references_of(self, values: dict[str, Any]) -> list[Reference]:
        """What values read from a message refer to."""
        return [r for name, find in self._referring if name in values for r in find(values[name])]

    # -- rows

    def to_row(self, entity: E) -> dict[str, Any]:
        """The record as statement parameters, by column."""
        row: dict[str, Any] = dict(zip(self._attributes, self._take(entity), strict=True))
        for name, store in self._stores:
            store(row, row[name])
        for name in self._unshown:
            if isinstance(row[name], dict):
                row[name] = Jsonb(row[name])
        return row

    def changed_fields(self, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
        """The names of the fields whose columns differ between two rows, sorted, without derived ones."""
        fields = self._field_of
        return sorted({fields[c] for c in fields if differ(before[c], after[c])})

    def from_row(self, row: Row) -> E:
        """The record of a row selected with `columns`."""
        values = dict(zip(self._same, self._take_same(row), strict=True))
        for load, name, start, end in self._loads:
            values[name] = load(*row[start:end])
        return self.entity(**values)

    # -- filters

    def filter_fields(self) -> dict[str, FilterField]:
        """What `filter` and `order_by` may name."""
        found = {
            "name": FilterField(self.table.c.id, "reference", (self.contract.collection,)),
        }
        for name, field in self.fields.items():
            if field.filter_kind:
                column = self._columns_of(name)[0]
                currency = self._columns_of(name)[1] if self._width(name) > 1 else None
                found[name] = FilterField(
                    column, field.filter_kind, field.filter_values, currency=currency
                )
        return found
