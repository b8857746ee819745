"""Which column of a file may fill which field: by its name first, then by what is in it.

Only what is sure is HIGH, and only that is taken without a person's word: whatever a name says, its values
must be readable as the field's.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from crm.common.v1 import import_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.custom_fields.columns import PREFIX
from crmkit.custom_fields.definitions import ResourceFields
from crmkit.errors import Failure, InvalidArgument
from crmkit.interceptors.validation import faults
from crmtransfer.imports import synonyms
from crmtransfer.imports.custom_fields import custom_target
from crmtransfer.imports.fields import Target, target
from crmtransfer.imports.files import File
from crmtransfer.imports.lookups import Lookups
from crmtransfer.imports.mapping import Key
from crmtransfer.imports.values import BadValue, shown

Confidence = import_pb2.ColumnProposal.Confidence
_ROWS = 200
_SAMPLES_SHOWN = 3
_SHOWN_CHARS = 100
_ENOUGH = 0.8  # of the values must be what the field takes
_NEVER = frozenset({"password"})
_CURRENCY = ".currency_code"
# What contents may tell where the name tells nothing.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"(?!\d{4}-\d{2}-\d{2}\b)\+?[\d\s()./-]{7,20}")
_WEBSITE = re.compile(r"https?://\S+")
_NAME_OF_RECORD = re.compile(r"[a-z][A-Za-z]*/[0-9a-f-]{36}")
_ID = re.compile(r"\S*\d\S*")
_UNIQUE_ID_CHARS = 12
# Fields of which a record has several, each from a column of its own.
_SEVERAL = frozenset({"emails.address", "phones.number"})
_MOST_ITEMS = 20
_ADDRESS = "addresses."
_REASONS = ("FIELD_NAME", "CUSTOM_FIELD", "FIELD_LABEL", "SYNONYM", "CONTENTS", "NO_FIELD")
# What records are probably referred to by, by what the text looks like.
_REFERRED_BY = (("name", _NAME_OF_RECORD), ("email", _EMAIL), ("external_id", _ID))
_BY_CONTENTS = (
    ("emails.address", _EMAIL), ("email", _EMAIL), ("website", _WEBSITE), ("phones.number", _PHONE),
)  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """A column, the field that it may fill, and why; without a path if there is none."""

    column: str
    samples: Sequence[str]
    path: str = ""
    confidence: Any = Confidence.CONFIDENCE_UNSPECIFIED
    reason: str = "NO_FIELD"
    message: str = "No field is known by this name."
    lookup: str = ""
    label: str = ""

    def changed(self, confidence: Any, message: str, **more: Any) -> "Proposal":
        """This with at most so much confidence."""
        return replace(self, confidence=min(confidence, self.confidence), message=message, **more)

    def answer(self) -> import_pb2.ColumnProposal:
        """The proposal as clients see it."""
        mapping = import_pb2.FieldMapping(field=self.path, column=self.column, lookup=self.lookup)
        return import_pb2.ColumnProposal(
            column=self.column,
            mapping=mapping if self.path else None,
            confidence=self.confidence,
            reason=self.reason,
            message=self.message[:500],
            samples=[text[:_SHOWN_CHARS] for text in self.samples[:_SAMPLES_SHOWN]],
            also=[self._label()] if self.path and self.label else [],
        )

    def _label(self) -> import_pb2.FieldMapping:
        item = self.path.partition(".")[0]
        return import_pb2.FieldMapping(field=f"{item}.label", value=self.label)


async def read_columns(file: File) -> list[tuple[str, list[str]]]:
    """The named columns of a file, each with some of its values; raises InvalidArgument as reading does."""
    rows: list[list[str]] = []
    async with aclosing(file.rows()) as found:
        async for row in found:
            rows += [] if row.problem else [row.cells]
            if len(rows) == _ROWS:
                break
    return [
        (name, list(dict.fromkeys(text for row in rows if (text := row[index].strip()))))
        for index, name in enumerate(file.header)
        if name
    ]


@dataclass(frozen=True)
class Proposer:
    """Knows the fields of one resource that a person may import.

    Attributes:
        history: Whether they may set those that only an import sets.
        hidden: Those that they may not see.
    """

    collection: Collection[Any]
    custom: ResourceFields
    history: bool
    hidden: frozenset[str] = frozenset()
    _taken: dict[str, str] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)
    _labelled: set[str] = field(default_factory=set)

    def propose(self, columns: Sequence[tuple[str, list[str]]]) -> list[Proposal]:
        """A proposal for each column, in their order; no field is proposed twice."""
        found = [self._at_its_place(self._one(name, samples)) for name, samples in columns]
        places = sorted(range(len(found)), key=lambda i: (*_rank(found[i]), i))
        for place in places:
            found[place] = self._alone(found[place])
        paths = {proposal.path for proposal in found}
        return [self._with_currency(proposal, paths) for proposal in found]

    def _alone(self, proposal: Proposal) -> Proposal:
        proposal = self._in_list(proposal)
        other = self._taken.setdefault(proposal.path, proposal.column) if proposal.path else ""
        if not proposal.path or other == proposal.column:
            return self._labelled_once(proposal)
        msg = f"{proposal.path} is filled by the column {other!r}."
        return Proposal(proposal.column, proposal.samples, reason="TAKEN", message=msg)

    def _labelled_once(self, proposal: Proposal) -> Proposal:
        """Of the columns that fill an item together, the first says what it is for."""
        item = proposal.path.partition(".")[0]
        if not proposal.label or item in self._labelled:
            return replace(proposal, label="")
        self._labelled.add(item)
        return proposal

    def _in_list(self, proposal: Proposal) -> Proposal:
        """The next free item of a list that takes several: a second number, labelled by its name."""
        if proposal.path not in _SEVERAL:
            return proposal
        name, _, rest = proposal.path.partition(".")
        others = range(1, _MOST_ITEMS)
        paths = [proposal.path, *(f"{name}[{index}].{rest}" for index in others)]
        path = next((path for path in paths if path not in self._taken), proposal.path)
        return replace(proposal, path=path, label=synonyms.purpose(proposal.column))

    def _at_its_place(self, proposal: Proposal) -> Proposal:
        """The item of a record's addresses that a column is a part of, in the order of the columns."""
        label = synonyms.place(proposal.column) if proposal.path.startswith(_ADDRESS) else None
        if label is None:
            return proposal
        index = self._places.setdefault(label, len(self._places))
        path = (
            proposal.path.replace(_ADDRESS, f"{_ADDRESS[:-1]}[{index}].")
            if index
            else proposal.path
        )
        return replace(proposal, path=path, label=label)

    def _with_currency(self, proposal: Proposal, paths: set[str]) -> Proposal:
        """An amount without its currency says nothing."""
        place = self.place(proposal.path) if proposal.path else None
        is_amount = place is not None and place.group == proposal.path and not place.follows
        if not is_amount or proposal.path + _CURRENCY in paths or "." in proposal.path:
            return proposal
        msg = f"No column has its currency: set {proposal.path}{_CURRENCY} as well."
        return proposal.changed(Confidence.MEDIUM, msg)

    def _one(self, name: str, samples: list[str]) -> Proposal:
        first = next(self._by_name(name, samples), None) or self._by_contents(name, samples)
        place = self.place(first.path) if first.path else None
        if place is None:
            return Proposal(name, samples)
        if not samples:
            first = replace(first, message=f"{first.message} It is empty.")
        if place.reference:
            return _referring(first, place.reference)
        if first.path == "external_id":
            return _identifying(first)
        return self._checked(first, place)

    def _by_name(self, name: str, samples: list[str]) -> Iterator[Proposal]:
        plain = synonyms.plain(name)
        for custom in self.custom.by_id.values():
            if name == PREFIX + custom.field_id or plain == synonyms.plain(custom.display_name):
                msg = f"The custom field {custom.display_name!r} has this name."
                path = PREFIX + custom.field_id
                yield Proposal(name, samples, path, Confidence.HIGH, "CUSTOM_FIELD", msg)
        if self.place(name) is not None:
            msg = "The column has the field's name."
            yield Proposal(name, samples, name, Confidence.HIGH, "FIELD_NAME", msg)
        for path in self._importable():
            if plain == synonyms.plain(path):
                msg = "The column has the field's name in other letters."
                yield Proposal(name, samples, path, Confidence.HIGH, "FIELD_LABEL", msg)
        resource = self.collection.name
        for names, confidence in (
            (synonyms.sure(resource), Confidence.HIGH),
            (synonyms.perhaps(resource), Confidence.MEDIUM),
        ):
            path = names.get(plain, "")
            if path and self.place(path) is not None:
                msg = f"Other systems call {path} so."
                yield Proposal(name, samples, path, confidence, "SYNONYM", msg)

    def _by_contents(self, name: str, samples: list[str]) -> Proposal:
        for path, shape in _BY_CONTENTS:
            if self.place(path) is not None and _mostly(samples, shape.fullmatch):
                msg = f"Its values look like {path}."
                return Proposal(name, samples, path, Confidence.MEDIUM, "CONTENTS", msg)
        return Proposal(name, samples)

    def _importable(self) -> frozenset[str]:
        codec = self.collection.codec
        more = self.collection.import_fields if self.history else frozenset[str]()
        return (codec.writable | more) - _NEVER - self.hidden

    def place(self, path: str) -> Target | None:
        """The place that a path names, if an import of this person may fill it."""
        custom = custom_target(self.custom, path)
        if custom is not None:
            return custom
        try:
            found = target(self.collection.contract.message, path)
        except InvalidArgument:
            return None
        return found if found.field in self._importable() else None

    def _checked(self, proposal: Proposal, place: Target) -> Proposal:
        """Less sure where the values are not what the field takes; the person sees one of them."""
        bad = [text for text in proposal.samples if not self._is_readable(place, text)]
        if len(bad) <= (1 - _ENOUGH) * len(proposal.samples):
            return proposal
        msg = f"{proposal.path} does not take {shown(bad[0])}."
        return proposal.changed(Confidence.LOW, msg)

    def _is_readable(self, place: Target, text: str) -> bool:
        message: Any = self.collection.contract.message
        record = message()
        try:
            place.write(record, text)
        except BadValue:
            return False
        if place.custom:
            return True
        parts = (path for path, reason, _ in faults(record) if reason != "REQUIRED_FIELD")
        # What the other columns of the same item are to bring is no fault of this one.
        return not any(_is_within(part.replace("[0]", "", 1), place.path) for part in parts)


def _is_within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))


def _mostly(samples: Sequence[str], fits: Callable[[str], object]) -> bool:
    return bool(samples) and sum(bool(fits(text)) for text in samples) >= _ENOUGH * len(samples)


def _rank(proposal: Proposal) -> tuple[int, int]:
    """The surest comes first; of two that are as sure, the one whose name is nearer to the field's."""
    return -proposal.confidence, _REASONS.index(proposal.reason)


def _referring(proposal: Proposal, other: str) -> Proposal:
    """A guess at what the values name records by; only looking them up makes it sure."""
    fields = (by for by, shape in _REFERRED_BY if _mostly(proposal.samples, shape.fullmatch))
    by = next(fields, "display_name")
    msg = f"None of the {other} with this {by} is there yet."
    return proposal.changed(Confidence.MEDIUM, msg, lookup=_lookup(other, by))


def _lookup(other: str, by: str) -> str:
    return "" if by in {"name", "external_id"} else f"{other}.{by}"


async def looked_up(
    call: Call, own: Mapping[str, Collection[Any]], proposer: Proposer, found: Sequence[Proposal]
) -> list[Proposal]:
    """The proposals, surer where a column refers to records that are there, however it names them."""
    lookups = Lookups(own, growing="")
    return [
        await _with_records(call, lookups, proposal, place.reference)
        if (place := proposer.place(proposal.path)) is not None and place.reference
        else proposal
        for proposal in found
    ]


async def _with_records(call: Call, lookups: Lookups, proposal: Proposal, other: str) -> Proposal:
    for by in ("name", "external_id", "email", "display_name"):
        texts = [text for text in proposal.samples if _is_name(text) == (by == "name")]
        try:
            await lookups.learn(call, {(other, by): texts})
        except Failure:  # such records have no such field, or the person may not see them
            continue
        if _mostly(proposal.samples, partial(_is_found, lookups, (other, by))):
            msg = f"Its values are the {by} of {other}."
            sure = Confidence.HIGH
            return replace(proposal, confidence=sure, message=msg, lookup=_lookup(other, by))
    return proposal


def _is_name(text: str) -> bool:
    return _NAME_OF_RECORD.fullmatch(text) is not None


def _is_found(lookups: Lookups, key: Key, text: str) -> bool:
    try:
        return bool(lookups.resolve(key, text))
    except BadValue:
        return False


def _identifying(proposal: Proposal) -> Proposal:
    """Small numbers of two systems would be taken for the same records."""
    samples = proposal.samples
    if proposal.reason != "SYNONYM" or _mostly(samples, lambda t: len(t) >= _UNIQUE_ID_CHARS):
        return replace(proposal, confidence=Confidence.HIGH if samples else Confidence.MEDIUM)
    msg = "It identifies records in the system that they come from, if no other system counts likewise."
    return proposal.changed(Confidence.MEDIUM, msg)
