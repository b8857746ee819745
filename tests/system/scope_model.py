"""Who may see which records, in twenty lines: random worlds, and random changes of them."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from crmkit.access import RecordScope

SCOPES = [None, RecordScope.OWN, RecordScope.TEAM, RecordScope.SUBTREE, RecordScope.ALL]
PEOPLE, TEAMS = 4, 4
person_index = st.integers(0, PEOPLE - 1)
team_index = st.none() | st.integers(0, TEAMS - 1)


@dataclass
class Record:
    """An opportunity: whose it is, of which team it became when they got it, who else may read it."""

    owner: int | None
    team: int | None
    deleted: bool = False
    shared_with: set[tuple[str, int]] = field(default_factory=set)


@dataclass
class World:
    """Everything that rights depend on.

    Attributes:
        parents: Each team's parent, one before it.
        teams: Each person's team.
        scopes: How far each person's roles reach; the widest counts.
        records: What there is.
    """

    parents: list[int | None]
    teams: list[int | None]
    scopes: list[list[RecordScope | None]]
    records: list[Record] = field(default_factory=list)

    def give(self, record: int, person: int | None) -> None:
        team = self.teams[person] if person is not None else None
        self.records[record].owner, self.records[record].team = person, team

    def below(self, team: int) -> set[int]:
        children = [i for i, parent in enumerate(self.parents) if parent == team]
        return {team}.union(*(self.below(child) for child in children))

    def scope(self, person: int) -> RecordScope:
        return max((s or RecordScope.NONE for s in self.scopes[person]), default=RecordScope.NONE)

    def sees(self, person: int, record: Record) -> bool:
        """Within the scope, or shared with a person who may see such records at all, or their team."""
        grantees = {("user", person), ("team", self.teams[person])}
        shared = bool(grantees & record.shared_with) and bool(self.scope(person))
        return shared or self.covers(person, record)

    def covers(self, person: int, record: Record) -> bool:
        scope = self.scope(person)
        if scope is RecordScope.ALL or (scope and record.owner == person):
            return True
        team = self.teams[person]
        if record.team is None or team is None or scope < RecordScope.TEAM:
            return False
        return record.team in (self.below(team) if scope is RecordScope.SUBTREE else {team})


@dataclass(frozen=True)
class Hand:
    """A record gets another owner, or none."""

    record: int
    person: int | None


@dataclass(frozen=True)
class Move:
    """A person changes the team; what is theirs does not."""

    person: int
    team: int | None


@dataclass(frozen=True)
class Share:
    """A record gets a collaborator: a person or a team."""

    record: int
    kind: str
    number: int


@dataclass(frozen=True)
class Delete:
    """A record goes into the trash."""

    record: int


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, list[int], list[Any]]:
    """A world, the owners of its records, and what then happens."""
    parents = [draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(TEAMS)]
    teams = draw(st.lists(team_index, min_size=PEOPLE, max_size=PEOPLE))
    roles = st.lists(st.sampled_from(SCOPES), min_size=1, max_size=2)
    scopes = draw(st.lists(roles, min_size=PEOPLE, max_size=PEOPLE))
    owners = draw(st.lists(person_index, min_size=1, max_size=7))
    record_index = st.integers(0, len(owners) - 1)
    changes = st.one_of(
        st.builds(Hand, record_index, st.none() | person_index),
        st.builds(Move, person_index, team_index),
        st.builds(Delete, record_index),
        st.builds(Share, record_index, st.just("user"), person_index),
        st.builds(Share, record_index, st.just("team"), st.integers(0, TEAMS - 1)),
    )
    return World(parents, teams, scopes), owners, draw(st.lists(changes, max_size=8))
