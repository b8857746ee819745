"""Teams: where users work; a tree."""

from dataclasses import dataclass
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument


@dataclass(kw_only=True)
class Team(Record):
    """A team of people; `parent` is the team above."""

    display_name: str
    parent: UUID | None = None

    def check(self) -> None:
        """Raises InvalidArgument if the team stands below itself."""
        if self.parent == self.id:
            refuse_circle()


def refuse_circle() -> None:
    """Raises the failure of a team that would, over however many steps, stand below itself."""
    msg = "The team would stand below itself."
    raise InvalidArgument(msg, reason="CIRCLE", field="team.parent")
