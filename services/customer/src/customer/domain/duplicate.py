"""Sets of duplicates: which records belong together, what has become of a set, and why in words."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from crmkit.aggregate import Record
from crmkit.states import StateMachine
from customer.domain.likeness import Likeness

LARGEST_SET = 50
STATES = StateMachine(
    "state",
    {
        "dismiss": ({"OPEN"}, "DISMISSED"),
        "merge": ({"OPEN", "DISMISSED"}, "MERGED"),
        "reopen": ({"MERGED"}, "OPEN"),
    },
)
_MOST_PAIRS = 200
# Whoever sees a set, or its events, sees its reasons: they say nothing of fields that are hidden from some.
HIDDEN_FROM_SOME = frozenset({"tax_id"})
_FIELDS = {
    "name_order": "Given and family name", "given_name": "given names",
    "family_name": "family names", "name": "names", "birthday": "birthdays",
    "address": "addresses", "phone": "phone numbers", "email": "e-mail addresses", "account": "accounts",
    "domain": "web domains", "tax_id": "tax numbers",
}  # fmt: skip
_FINDINGS = {
    "same": "The {} are the same.",
    "alike": "The {} differ by a slip of the pen only.",
    "beginning": "One of the {} is the beginning of the other.",
    "related": "The {} are not the same, but related.",
    "contained": "One of the {} is part of the other.",
    "one slip": "The {} differ in one place only.",
    "same place": "The {} are in the same place.",
    "shared": "The {} are the same, but several people share them.",
    "different": "The {} are different.",
    "crosswise": "{} stand crosswise.",
}


@dataclass(frozen=True)
class DuplicateReason:
    """What was found in one field; `weight` is in bits."""

    field: str
    finding: str
    description: str
    similarity: float
    weight: float


@dataclass(frozen=True)
class DuplicatePair:
    """Two records, by their names in order, that are probably the same."""

    first: str
    second: str
    score: float
    reasons: list[DuplicateReason]

    @property
    def names(self) -> tuple[str, str]:
        """Both records."""
        return self.first, self.second


@dataclass(kw_only=True)
class DuplicateSet(Record):
    """Records that are probably the same."""

    resource: str
    members: list[str] = field(default_factory=list)
    score: float = 0.0
    pairs: list[DuplicatePair] = field(default_factory=list)
    state: str = "OPEN"

    def hold(self, pairs: Collection[DuplicatePair]) -> None:
        """Takes its pairs; says that duplicates were found where it gains a member."""
        had = set(self.members)
        members = {name for pair in pairs for name in pair.names}
        self.members = sorted(members)
        self.pairs = sorted(pairs, key=lambda pair: (-pair.score, pair.names))[:_MOST_PAIRS]
        self.score = max(pair.score for pair in pairs)
        if members - had:
            self.record("found")

    def dismiss(self) -> None:
        """Its members are not the same; raises FailedPrecondition `ILLEGAL_TRANSITION`."""
        self.state = STATES.check(self, "dismiss")
        self.record("dismissed")

    def merge(self) -> None:
        """Its members became one."""
        self.state = STATES.check(self, "merge")
        self.record("merged")

    def reopen(self) -> None:
        """Its members are several again."""
        self.state = STATES.check(self, "reopen")
        self.record("reopened")


def reasons_of(likeness: Likeness) -> list[DuplicateReason]:
    """Why, in words, what counts most first."""
    weighed = sorted(likeness.evidence, key=lambda piece: -abs(piece.weight))
    return [
        DuplicateReason(
            piece.field,
            piece.finding,
            _FINDINGS[piece.finding].format(_FIELDS[piece.field]),
            round(piece.similarity, 3),
            round(piece.weight, 2),
        )
        for piece in weighed
    ]


def pair_of(one: str, other: str, likeness: Likeness) -> DuplicatePair:
    """Two records as a pair of a set."""
    first, second = sorted((one, other))
    reasons = [r for r in reasons_of(likeness) if r.field not in HIDDEN_FROM_SOME]
    return DuplicatePair(first, second, round(likeness.score, 6), reasons)


@dataclass(frozen=True)
class Grouping:
    """What becomes of some open sets: their new pairs, the pairs of new sets, and sets that are no more."""

    kept: list[tuple[DuplicateSet, list[DuplicatePair]]]
    new: list[list[DuplicatePair]]
    gone: list[DuplicateSet]


def regroup(
    sets: Sequence[DuplicateSet], looked_at: Collection[str], found: Iterable[DuplicatePair]
) -> Grouping:
    """Sorts records into sets anew: each set is what hangs together by pairs.

    Args:
        sets: The open sets that a record looked at, or one of the pairs found, belongs to.
        looked_at: The records that were compared anew: their old pairs hold no more.
        found: The pairs found for them.
    """
    old = [p for s in sets for p in s.pairs if not set(p.names) & set(looked_at)]
    pairs = {pair.names: pair for pair in (*old, *found)}
    groups = _connected(sorted(pairs.values(), key=lambda pair: (-pair.score, pair.names)))
    kept, left = [], list(groups)
    gone = []
    for one in sorted(sets, key=lambda s: (s.create_time, s.id)):
        of_it = max(left, key=lambda group: len(_members(group) & set(one.members)), default=None)
        if of_it is None or not _members(of_it) & set(one.members):
            gone.append(one)
            continue
        left.remove(of_it)
        kept.append((one, of_it))
    return Grouping(kept, left, gone)


def _members(pairs: Iterable[DuplicatePair]) -> set[str]:
    return {name for pair in pairs for name in pair.names}


def _connected(pairs: Sequence[DuplicatePair]) -> list[list[DuplicatePair]]:
    """The pairs by what hangs together; one that would make a set too large is left out."""
    of: dict[str, str] = {}
    members: defaultdict[str, set[str]] = defaultdict(set)
    taken: list[DuplicatePair] = []
    for pair in pairs:
        first, second = (of.setdefault(name, name) for name in pair.names)
        together = (members[first] | {first}) | (members[second] | {second})
        if len(together) > LARGEST_SET:
            continue
        taken.append(pair)
        members[first] = together
        for name in together:
            of[name] = first
    groups: defaultdict[str, list[DuplicatePair]] = defaultdict(list)
    for pair in taken:
        groups[of[pair.first]].append(pair)
    return list(groups.values())
