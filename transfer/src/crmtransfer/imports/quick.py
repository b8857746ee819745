"""The quick way for rows that have nothing wrong: from cells straight to a record's values.

Plain fields (text, numbers, dates, enums, references) need no message to be understood: each column is
compiled once into a function from its text to the attribute's value. Composed fields go through a message
that holds nothing else. Whatever is odd is left to `RowMapper`, which says what is wrong with it: so
there is one place for messages to people, and both ways give the same record.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor

from crmkit.collection import Collection
from crmkit.errors import InvalidArgument
from crmkit.field_values import value_of
from crmtransfer.imports.mapping import Resolve, RowMapper, Source
from crmtransfer.imports.values import (
    BadValue,
    read_bool,
    read_date,
    read_float,
    read_integer,
    read_text,
    read_time,
)

_Read = Callable[[str], Any]
_SHORT_DIGITS = 9  # always within 32 bits
# The rules on a field's shape that are checked here; a field with any other goes through a message.
_KNOWN_RULES = frozenset({"min_len", "max_len", "gte", "lte"})
_ODD = (BadValue, InvalidArgument, ValueError, OverflowError, KeyError)


class QuickRows:
    """Understands the rows of one file that have nothing wrong."""

    def __init__(self, mapper: RowMapper) -> None:
        """Compiles the columns of a bound mapping."""
        collection = mapper.collection
        parts = Counter(source.target.field for source in mapper.sources)
        self._plain: list[tuple[str, Source, _Read]] = []
        self._references: list[tuple[str, Source]] = []
        composed, needed = [], []
        for source in mapper.sources:
            name = source.target.field
            if source.target.custom:
                composed.append(source)
                continue
            read = _reader(collection, source) if parts[name] == 1 else None
            if read is not None:
                self._plain.append((name, source, read))
                needed += [source] if source.target.required else []
            elif parts[name] == 1 and _is_reference(collection, source):
                self._references.append((name, source))
                needed += [source] if source.target.required else []
            else:
                composed.append(source)
        # A record is held to its required fields as a whole: they go into the message, too.
        self._composed = RowMapper(collection, [*composed, *needed]) if composed else None
        self._required = collection.codec.required

    def values(self, cells: Sequence[str], resolve: Resolve) -> dict[str, Any] | None:
        """A row's attributes; None if the row needs a closer look."""
        try:
            found = self._plain_values(cells)
            for name, source in self._references:
                if text := source.text(cells):
                    key, item = source.key(text), text
                    found[name] = UUID(resolve(key, item).rpartition("/")[2])
        except _ODD:
            return None
        if self._composed is not None:
            draft = self._composed.draft(0, cells, resolve)
            composed = {} if draft.issues else self._composed.values(draft)
            if draft.issues:
                return None
            found |= composed
        return found if self._required <= found.keys() else None

    def _plain_values(self, cells: Sequence[str]) -> dict[str, Any]:
        found = {}
        for name, source, read in self._plain:
            text = source.text(cells)
            if text:
                found[name] = read(text)
        return found


def _is_reference(collection: Collection[Any], source: Source) -> bool:
    field = collection.codec.fields[source.target.field]
    return field.filter_kind == "reference" and bool(source.target.reference)


def _reader(collection: Collection[Any], source: Source) -> _Read | None:
    """What turns a column's text into an attribute's value and raises for what is odd; None if none can."""
    name = source.target.field
    if source.target.path != name or source.target.reference:
        return None
    descriptor: Any = collection.contract.message.DESCRIPTOR
    field: FieldDescriptor = descriptor.fields_by_name[name]
    rules = _rules(field)
    if rules is None or not (field.has_presence or collection.codec.fields[name].required):
        return None
    kind = collection.codec.fields[name].filter_kind
    if kind == "text":
        return _text(field, rules)
    if kind == "enum":
        return _enum(field)
    read = _READERS.get(kind)
    return read if read is None or not rules else _within(read, rules)


def _rules(field: FieldDescriptor) -> dict[str, Any] | None:
    """The field's rules by name; None if one of them is not known here."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    kind = rules.WhichOneof("type")
    if [f.name for f, _ in rules.ListFields()] not in ([], [kind]):
        return None
    found = {f.name: value for f, value in getattr(rules, kind).ListFields()} if kind else {}
    return found if found.keys() <= _KNOWN_RULES else None


def _text(field: FieldDescriptor, rules: dict[str, Any]) -> _Read:
    shortest, longest = rules.get("min_len", 1), rules.get("max_len", 2**31)
    clean = value_of(field, str, field.name).from_wire

    def read(text: str) -> str:
        value = read_text(text)
        if not shortest <= len(value) <= longest:
            raise BadValue(value)
        if not value.isascii():
            value.encode()  # refuses halves of surrogate pairs
        value = str(clean(value))
        if not value:
            raise BadValue(value)
        return value

    return read


def _enum(field: FieldDescriptor) -> _Read:
    values = [v.name for v in field.enum_type.values if v.number] if field.enum_type else []
    names = {v.casefold(): v for v in values}
    return lambda text: names[text.replace(" ", "_").casefold()]


def _within(read: _Read, rules: dict[str, Any]) -> _Read:
    least, most = rules.get("gte"), rules.get("lte")

    def checked(text: str) -> Any:
        value = read(text)
        if (least is not None and value < least) or (most is not None and value > most):
            raise BadValue(text)
        return value

    return checked


def _integer(text: str) -> int:
    if len(text) <= _SHORT_DIGITS and text.isascii() and text.isdecimal():
        return int(text)
    return read_integer(text, 2**31)


_READERS: dict[str, _Read] = {
    "integer": _integer,
    "number": read_float,
    "boolean": read_bool,
    "date": read_date,
    "timestamp": lambda text: read_time(text).astimezone(UTC),
}
