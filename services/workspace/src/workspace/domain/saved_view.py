"""Saved views: filter, order, columns and layout of a list of records."""

from dataclasses import dataclass, field

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument


@dataclass(kw_only=True)
class SavedView(Record):
    """How somebody wants to see the records of a collection."""

    resource: str
    display_name: str
    filter: str | None = None
    order_by: str | None = None
    columns: list[str] = field(default_factory=list)
    layout: str = "TABLE"
    density: str = "COMFORTABLE"
    visibility: str = "PRIVATE"
    position: int | None = None

    def check(self) -> None:
        """Raises InvalidArgument for a team's view of somebody without a team, or a column twice."""
        if self.visibility == "TEAM" and self.team is None:
            msg = "A view for the team needs an owner who is in a team."
            raise InvalidArgument(msg, reason="TEAM_NEEDED", field="saved_view.visibility")
        if len(set(self.columns)) < len(self.columns):
            msg = "saved_view.columns names a column twice."
            raise InvalidArgument(msg, field="saved_view.columns")
