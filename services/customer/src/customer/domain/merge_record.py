"""Merging: which of several records' values a field has afterwards, and what is kept of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument

CUSTOM = "custom_fields."
# What says who a record is to others: it keeps leading to the survivor and is not given away.
_IDENTIFIERS = frozenset({"external_id", "external_ids", "kind", "custom_fields"})
# Fields that say something only together, by the one that choices name.
GROUPS = {
    "grade": ("grade", "grade_source", "grade_reason"),
    "credit_state": (
        "credit_state", "credit_class", "credit_limit", "credit_review_date", "credit_reason",
    ),
    "quiet_hours_start": ("quiet_hours_start", "quiet_hours_end"),
}  # fmt: skip
_GROUPED = {name: lead for lead, names in GROUPS.items() for name in names}
# Put together unless somebody chooses: a person belongs to the accounts of all that they were.
_COMBINED = frozenset({"accounts"})
_STATES = ("PROSPECT", "FORMER", "CUSTOMER")


@dataclass
class FieldChoice:
    """Whose value a field is to have; of all of them where lists are combined."""

    field: str
    winner: str = ""
    combine: bool = False


@dataclass
class Moved:
    """How many records of a collection show the survivor in a field since a merge."""

    collection: str
    field: str
    count: int


@dataclass(kw_only=True)
class MergeRecord(Record):
    """Which records became one, how, and whether that was taken back.

    Attributes:
        survivor: The name of the record that is left.
        losers: The names of those that were merged into it.
        revision: The version of the survivor's history that holds the values before; None where none changed.
        caused_by: The merge of a private person's accounts that merged their contacts along.
        kept_fields: Fields that were changed by people after the merge, and stayed when it was taken back.
    """

    kind: str
    state: str = "MERGED"
    survivor: str
    losers: list[str]
    field_choices: list[FieldChoice] = field(default_factory=list)
    changed_fields: list[str] = field(default_factory=list)
    revision: str | None = None
    moved: list[Moved] = field(default_factory=list)
    caused_by: UUID | None = None
    unmerge_time: datetime | None = None
    unmerger: UUID | None = None
    kept_fields: list[str] = field(default_factory=list)

    def undo(self, now: datetime, by: UUID | None, kept: Iterable[str]) -> None:
        """Takes the merge back.

        Raises:
            FailedPrecondition: `NOT_MERGED`: it was taken back already.
        """
        if self.state != "MERGED":
            msg = "This merge was taken back already."
            raise FailedPrecondition(msg, reason="NOT_MERGED", field="merge_record")
        self.state, self.unmerge_time, self.unmerger = "UNMERGED", now, by
        self.kept_fields = sorted(kept)
        self.record("undone")


@dataclass(frozen=True)
class Candidate:
    """One of the records that become one: its name, its values, and what the caller does not see of it."""

    name: str
    record: Any
    unseen: frozenset[str]

    def value(self, name: str) -> Any:
        """The value of a field, or of a custom field."""
        if name.startswith(CUSTOM):
            return self.record.custom_fields.get(name.removeprefix(CUSTOM))
        return getattr(self.record, name)


class Wishes:
    """What callers choose, checked."""

    def __init__(
        self, choices: Sequence[FieldChoice], candidates: Sequence[Candidate], known: frozenset[str]
    ) -> None:
        """Takes the choices of a request.

        Args:
            choices: As they were sent.
            candidates: The survivor, then the others.
            known: The fields that a choice may name.

        Raises:
            InvalidArgument: A field or a winner is none, a field is chosen twice, or cannot be combined.
        """
        self.by_field: dict[str, tuple[Candidate, bool]] = {}
        by_name = {candidate.name: candidate for candidate in candidates}
        for index, choice in enumerate(choices):
            path = f"field_choices[{index}]"
            if choice.field not in known or choice.field in self.by_field:
                told = "is chosen twice" if choice.field in self.by_field else "cannot be chosen"
                msg = f"{path}.field: {choice.field} {told}."
                raise InvalidArgument(msg, field=f"{path}.field")
            winner = by_name.get(choice.winner or candidates[0].name)
            if winner is None:
                msg = f"{path}.winner is none of the records that are merged."
                raise InvalidArgument(msg, field=f"{path}.winner")
            if choice.combine and not isinstance(winner.value(choice.field), list | dict):
                msg = f"{path}.combine: {choice.field} is no list."
                raise InvalidArgument(msg, field=f"{path}.combine")
            self.by_field[choice.field] = winner, choice.combine


def choosable(
    writable: Iterable[str], custom: Iterable[str], others: Iterable[str]
) -> frozenset[str]:
    """The fields that a choice may name: written ones, custom ones, and those that lead a group."""
    found = {n for n in writable if n not in _IDENTIFIERS and _GROUPED.get(n, n) == n}
    return frozenset(found) | {CUSTOM + one for one in custom} | set(others)


def merged_values(
    candidates: Sequence[Candidate], fields: Iterable[str], wishes: Wishes
) -> dict[str, Any]:
    """The survivor's values that differ from those it has, by field.

    Args:
        candidates: The survivor, then the others in the order in which they fill in.
        fields: The fields that can be chosen.
        wishes: Whose values win.
    """
    found: dict[str, Any] = {}
    for name in sorted(fields):
        winner, combine = wishes.by_field.get(name, (None, name in _COMBINED))
        if combine:
            leader = winner or candidates[0]
            of_all = [leader, *(c for c in candidates if c is not leader)]
            values = {name: _together(name, [c.value(name) for c in of_all])}
        else:
            source = winner or _first_with(name, candidates)
            values = {part: source.value(part) for part in GROUPS.get(name, (name,))}
        found |= {part: v for part, v in values.items() if v != candidates[0].value(part)}
    return found


def _first_with(name: str, candidates: Sequence[Candidate]) -> Candidate:
    """Who has a value: the survivor, else the first of the others where the caller sees it."""
    survivor = candidates[0]
    if name == "do_not_call":  # whoever asked for it must not lose it by our tidying up
        return next((c for c in candidates if c.value(name)), survivor)
    if not is_empty(survivor.value(name)) or name in survivor.unseen:
        return survivor
    themselves = [candidate.record.id for candidate in candidates]  # nobody belongs to itself
    for other in candidates[1:]:
        value = other.value(name)
        if name not in other.unseen and not is_empty(value) and value not in themselves:
            return other
    return survivor


def is_empty(value: Any) -> bool:
    """True for no value; 0 and false are values."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def _together(name: str, values: Sequence[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: value for one in reversed(values) for key, value in one.items()}
    first = list(values[0])
    for more in values[1:]:
        for item in more:
            if not any(_same(name, item, other) for other in first):
                first.append(
                    _without_primary(item, any(getattr(o, "primary", None) for o in first))
                )
    return first


def _same(name: str, one: Any, other: Any) -> bool:
    if name == "accounts":
        return bool(one.account == other.account)
    return bool(_without_primary(one, True) == _without_primary(other, True))


def _without_primary(item: Any, taken: bool) -> Any:  # noqa: FBT001 - whether there is a primary one already
    if not taken or not hasattr(item, "primary"):
        return item
    copied = type(item)(**vars(item))
    copied.primary = None
    return copied


def state_after(states: Sequence[str]) -> str:
    """Where a relationship stands that was several: who has bought has bought."""
    return max(states, key=_STATES.index)
