"""How the columns of a file become the fields of a record."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import Any
from uuid import UUID

from crm.common.v1 import import_pb2
from crmkit.collection import Collection
from crmkit.custom_fields.definitions import ResourceFields
from crmkit.errors import Failure, InvalidArgument
from crmkit.interceptors.validation import faults
from crmkit.sensitive import refuse_hidden
from crmtransfer.imports.custom_fields import custom_target
from crmtransfer.imports.fields import Target, split, target
from crmtransfer.imports.leaving_out import leave_out
from crmtransfer.imports.values import BadValue

WARNING, ERROR = "WARNING", "ERROR"
# (collection, field to compare): what a reference's text is looked up by.
Key = tuple[str, str]
# Answers the resource name that a reference's text means, or raises BadValue.
Resolve = Callable[[Key, str], str]


@dataclass(frozen=True, slots=True)
class Issue:
    """Something wrong with a row; as `ImportIssue` in the contract."""

    row: int
    field: str
    reason: str
    message: str
    severity: str


@dataclass(slots=True)
class Draft:
    """A row on its way to become a record."""

    row: int
    message: Any
    issues: list[Issue] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """True once the row cannot become a record."""
        return bool(self.issues) and any(issue.severity == ERROR for issue in self.issues)

    def note(self, path: str, reason: str, message: str, severity: str) -> None:
        """Adds an issue."""
        self.issues.append(Issue(self.row, path[:200], reason, message[:2000], severity))


@dataclass(frozen=True, slots=True)
class Source:
    """One mapping: where the text comes from and where it goes."""

    target: Target
    column: str
    value: str
    translations: Mapping[str, str]
    lookup: str
    index: int = -1

    def text(self, cells: Sequence[str]) -> str:
        """The row's text for this target; empty means absent."""
        if self.index < 0:
            return self.value
        text = cells[self.index].strip()
        return self.translations.get(text, text) if self.translations else text

    def keys(self, text: str) -> list[tuple[Key, str]]:
        """What must be looked up to understand the text."""
        texts = split(text) if self.target.several else [text]
        return [(self.key(item), item) for item in texts]

    def key(self, text: str) -> Key:
        """What a reference's text is looked up by."""
        collection = self.target.reference
        if self.lookup:
            return collection, self.lookup
        return collection, "name" if _is_name(text, collection) else "external_id"


def _top(path: str) -> str:
    """The resource's own field of a path: `lines` of `lines[0].product`."""
    return path.partition(".")[0].partition("[")[0]


def _plain(path: str) -> str:
    """A path as it is mapped: the first item has no index."""
    return path.replace("[0]", "", 1)


def _refuse_halves(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        msg = "The text has half of a character."
        raise BadValue(msg) from None


def _is_name(text: str, collection: str) -> bool:
    head, _, id_ = text.partition("/")
    try:
        return head == collection and str(UUID(id_)) == id_
    except ValueError:
        return False


class Mapper:
    """The mappings of an import, checked against the resource; bound to a file by its header."""

    def __init__(
        self,
        collection: Collection[Any],
        mappings: Sequence[import_pb2.FieldMapping],
        custom: ResourceFields,
        zone: tzinfo = UTC,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        """Checks the mappings.

        Args:
            collection: What is imported.
            mappings: Where it stands in the file.
            custom: What the organisation adds to the resource.
            zone: The time zone of bare times.
            hidden: The fields that whoever imports may not see.

        Raises:
            InvalidArgument: Names the mapping at fault.
            PermissionDenied: `FIELD_HIDDEN`: it writes what is hidden.
        """
        self.collection = collection
        self._hidden = hidden
        self._zone = zone
        self._custom = custom
        self._importable = collection.codec.writable | collection.import_fields
        self._sources = [self._source(m, f"import.mappings[{i}]") for i, m in enumerate(mappings)]
        paths = [source.target.path for source in self._sources]
        for index, path in enumerate(paths):
            if path in paths[:index] and not self._sources[index].target.kinds:
                msg = f"The field {path} is mapped twice."
                raise InvalidArgument(msg, field=f"import.mappings[{index}].field")

    def _source(self, mapping: import_pb2.FieldMapping, at: str) -> Source:
        found = self._target(mapping.field, f"{at}.field")
        if bool(mapping.column) == bool(mapping.value):
            msg = f"{mapping.field} needs a column or a fixed value, not both."
            raise InvalidArgument(msg, field=f"{at}.column")
        if found.kinds and mapping.lookup.partition(".")[0] in found.kinds:
            found = replace(found, reference=mapping.lookup.partition(".")[0])
        lookup = self._lookup(found, mapping.lookup, f"{at}.lookup")
        translations = dict(mapping.translations)
        return Source(found, mapping.column.strip(), mapping.value, translations, lookup)

    def _target(self, path: str, at: str) -> Target:
        custom = custom_target(self._custom, path)
        if custom is not None:
            return custom
        try:
            found = target(self.collection.contract.message, path, self._zone)
        except InvalidArgument as error:
            raise InvalidArgument(error.message, field=at) from None
        if found.field not in self._importable:
            msg = f"The field {path} cannot be imported."
            raise InvalidArgument(msg, field=at)
        refuse_hidden(self.collection.contract, [found.field], self._hidden, at=at)
        return found

    def _lookup(self, found: Target, lookup: str, at: str) -> str:
        if not lookup:
            return ""
        collection, _, name = lookup.rpartition(".")
        if not found.reference:
            kinds = f" in {collection}" if found.kinds else ""
            msg = f"{found.path} is no reference; nothing can be looked up for it{kinds}."
            raise InvalidArgument(msg, field=at)
        if collection not in {"", found.reference} or not name:
            msg = f"{found.path} refers to {found.reference}: look up {found.reference}.<field>."
            raise InvalidArgument(msg, field=at)
        return name

    @property
    def sets_history(self) -> bool:
        """True if fields are set that otherwise only methods change."""
        return any(s.target.field in self.collection.import_fields for s in self._sources)

    def bind(self, header: Sequence[str], *, history: bool = False) -> "RowMapper":
        """Finds the columns; raises InvalidArgument where a mapped one is missing.

        A column that is not mapped and has a field's name fills that field; one of those that only
        an import of history may set, only where `history` says that the person may; a hidden one does not.
        """
        places = {name: index for index, name in enumerate(header) if name}
        bound = []
        for s in self._sources:
            if s.column and s.column not in places:
                msg = f"The file has no column {s.column!r}; it has {', '.join(places)}."
                raise InvalidArgument(
                    msg[:2000], reason="COLUMN_NOT_FOUND", field="import.mappings"
                )
            index = places[s.column] if s.column else -1
            bound.append(Source(s.target, s.column, s.value, s.translations, s.lookup, index))
        mapped = {s.column for s in bound} | {s.target.path for s in bound}
        allowed = self._importable if history else self.collection.codec.writable
        allowed -= self._hidden
        for name, index in places.items():
            if name not in mapped:
                bound += self._by_name(name, index, allowed)
        return RowMapper(self.collection, bound)

    def _by_name(self, name: str, index: int, allowed: frozenset[str]) -> Iterator[Source]:
        custom = custom_target(self._custom, name)
        if custom is not None:
            yield Source(custom, name, "", {}, "", index)
            return
        try:
            found = target(self.collection.contract.message, name, self._zone)
        except InvalidArgument:
            return
        if found.field in allowed:
            yield Source(found, name, "", {}, "", index)


def _close_up(items: Any) -> None:
    """Leaves out the items of a list that no cell has filled."""
    filled = [deepcopy(item) for item in items if item.ByteSize()]
    if len(filled) < len(items):
        del items[:]
        items.extend(filled)


class RowMapper:
    """Turns rows of one file into drafts of records."""

    def __init__(self, collection: Collection[Any], sources: Sequence[Source]) -> None:
        self.collection = collection
        self.sources = sources
        self._importable = collection.codec.writable | collection.import_fields
        groups = {s.target.group for s in sources if s.index >= 0 and not s.target.follows}
        # What only completes another value comes last and counts only where that value is there.
        self._first: list[Source] = []
        self._last: list[Source] = []
        for source in sources:
            group = source.target.group
            waits = group in groups and (source.index < 0 or source.target.follows)
            (self._last if waits else self._first).append(source)
        # A whole list comes behind its items of columns of their own, which have their places.
        parted = {s.target.field for s in sources if s.target.in_item}
        self._first.sort(key=lambda source: source.target.path in parted)
        self._lists = {s.target.field for s in sources if s.target.index}
        self._references = [s for s in sources if s.target.reference]
        same = [s for s in self._references if s.target.reference == collection.name]
        self.links = [s for s in same if not s.target.required and not s.target.custom]

    def wanted(
        self, rows: Sequence[Sequence[str]], *, links_only: bool = False
    ) -> dict[Key, set[str]]:
        """What must be looked up to understand these rows, or their links within the file."""
        found: dict[Key, set[str]] = {}
        for source in self.links if links_only else self._references:
            for text in {source.text(cells) for cells in rows} - {""}:
                for key, item in source.keys(text):
                    found.setdefault(key, set()).add(item)
        return found

    def draft(self, row: int, cells: Sequence[str], resolve: Resolve) -> Draft:
        """The record that a row describes, as far as it can be understood."""
        message: Any = self.collection.contract.message
        draft = Draft(row, message())
        dropped, groups = set[str](), set[str]()
        for source in self._first:
            self._fill(draft, source, cells, resolve, dropped, groups)
        for source in self._last:
            if source.target.group in groups:
                self._fill(draft, source, cells, resolve, dropped, groups)
        for name in self._lists:
            _close_up(getattr(draft.message, name))
        self._validate(draft)
        return draft

    def _fill(
        self,
        draft: Draft,
        source: Source,
        cells: Sequence[str],
        resolve: Resolve,
        dropped: set[str],
        groups: set[str],
    ) -> None:
        place = source.target
        text = source.text(cells)
        if not text or place.field in dropped:
            return
        try:
            if place.reference:
                text = ";".join(resolve(key, item) for key, item in source.keys(text))
            _refuse_halves(text)
            place.write(draft.message, text)
        except BadValue as bad:
            if not place.in_item:
                dropped.add(place.field)
                if not place.custom:
                    draft.message.ClearField(place.field)
            # A link to a row further down is made in the end.
            if source not in self.links or bad.reason != "REFERENCE_NOT_FOUND":
                severity = ERROR if place.required else WARNING
                draft.note(place.path, bad.reason, bad.message, severity)
        else:
            groups.add(place.group)

    def has_link(self, cells: Sequence[str]) -> bool:
        """True if the row refers to a record of the collection that is being imported."""
        return any(source.text(cells) for source in self.links)

    def fill_links(self, draft: Draft, cells: Sequence[str], resolve: Resolve) -> Iterator[str]:
        """Fills the references to records of the same collection; yields the fields filled."""
        for source in self.links:
            if not (text := source.text(cells)):
                continue
            try:
                names = ";".join(resolve(key, item) for key, item in source.keys(text))
            except BadValue as bad:
                draft.note(source.target.path, bad.reason, bad.message, WARNING)
            else:
                source.target.write(draft.message, names)
                yield source.target.field

    def _validate(self, draft: Draft) -> None:
        """Holds the record to what a Create request is held to; drops what is bad and optional."""
        required = self.collection.codec.required
        noted = {_plain(issue.field) for issue in draft.issues}
        bad = faults(draft.message)
        for path, reason, sentence in bad:
            if _plain(path) not in noted:
                draft.note(path, reason, sentence, ERROR if _top(path) in required else WARNING)
                noted.add(_plain(path))
        leave_out(draft.message, [path for path, _, _ in bad if _top(path) not in required])

    def values(self, draft: Draft) -> dict[str, Any]:
        """The record's attributes, read as from a request; drops bad optional fields."""
        codec, message = self.collection.codec, draft.message
        names = [f.name for f, _ in message.ListFields() if f.name in self._importable]
        try:
            return codec.read(message, names)
        except InvalidArgument:
            return {n: v for name in names for n, v in self._value(draft, name).items()}

    def _value(self, draft: Draft, name: str) -> dict[str, Any]:
        codec = self.collection.codec
        try:
            return codec.read(draft.message, [name])
        except InvalidArgument as error:
            severity = ERROR if name in codec.required else WARNING
            draft.note(self.path(error, name), error.reason, error.message, severity)
            return {}

    def path(self, error: Failure, name: str = "") -> str:
        """The field that a failure names, as mapped: without the resource's own name."""
        violation = error.violations[0].field if error.violations else name
        return violation.removeprefix(f"{self.collection.contract.singular}.")
