"""A hand-over as it stands in one service: from whom, to whom, and how far it has come."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import handover_pb2
from crmkit.aggregate import Record
from crmkit.collection import Collection
from crmkit.schema import PLATFORM
from crmkit.statements import TEXT

COLLECTION = "handovers"
State = handover_pb2.HandoverProgress.State

HANDOVER = sa.Table(
    "handover",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),  # of what was told last
    sa.Column("user", sa.Uuid),
    sa.Column("successor", sa.Uuid),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("total_count", sa.BigInteger, nullable=False),
    sa.Column("moved_count", sa.BigInteger, nullable=False),
    sa.Column("failed_count", sa.BigInteger, nullable=False),
    sa.Column("error_message", TEXT),
    # Where it stands: the collection at hand and the last record of it that was looked at.
    sa.Column("collection", TEXT),
    sa.Column("position", sa.Uuid),
    # Whose they are otherwise, and whose they become: a team's.
    sa.Column("former_team", sa.Uuid),
    sa.Column("successor_team", sa.Uuid),
)
NAMES = tuple(column.name for column in HANDOVER.columns)


@dataclass(slots=True)
class Run:
    """A hand-over as it stands in this service; attributes as in the contract and the table."""

    id: UUID
    version: int
    user: UUID | None
    successor: UUID | None
    actor: str
    state: str
    total_count: int = 0
    moved_count: int = 0
    failed_count: int = 0
    error_message: str | None = None
    collection: str | None = None
    position: UUID | None = None
    former_team: UUID | None = None
    successor_team: UUID | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return f"{COLLECTION}/{self.id}"

    def message(self) -> handover_pb2.HandoverProgress:
        """How far this service has come, as it tells identity."""
        return handover_pb2.HandoverProgress(
            handover=self.name,
            state=State.Value.Value(self.state),
            total_count=self.total_count,
            moved_count=self.moved_count,
            failed_count=self.failed_count,
            error_message=self.error_message or "",
        )

    def conditions(self, collection: Collection[Any]) -> list[sa.ColumnElement[bool]]:
        """The records of the user, or of the team, that go to the successor, also those in the trash."""
        column = collection.table.c["team" if self.user is None else "owner"]
        return [
            column == sa.literal(self.user or self.former_team, sa.Uuid),
            collection.handed_over,
        ]

    def concerns(self, record: Record) -> bool:
        """Whether a record is still theirs."""
        return record.team == self.former_team if self.user is None else record.owner == self.user

    def moves(self, collection: Collection[Any]) -> bool:
        """Whether it is about such records: of a team's those that are seen by owner and team."""
        owner = collection.codec.fields["owner"]
        belongs_to_team = self.user is None and collection.contract.shared
        return owner.writable and not owner.immutable and not belongs_to_team

    def give(self, record: Record, team: UUID | None) -> None:
        """Makes a record the successor's, who works in a team; with a successor of a team its owner stays."""
        if self.successor is not None:
            record.owner = self.successor
        if self.user is None:
            record.team = self.successor_team or team
