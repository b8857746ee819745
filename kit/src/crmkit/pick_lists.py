"""Pick lists: identity owns them, every service knows them from its feed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crmkit.errors import InvalidArgument

_NAMED = 20  # entries that an error names


@dataclass(frozen=True, slots=True)
class PickList:
    """One list.

    Attributes:
        key: What fields name it by.
        open: True if it takes new values.
        retired: Entry id → whether it is offered no more.
        by_text: Id or label, folded → entry id.
    """

    key: str
    open: bool
    retired: Mapping[str, bool]
    by_text: Mapping[str, str]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "PickList":
        """From the record in an event."""
        entries = value.get("entries", ())
        by_text: dict[str, str] = {}
        for entry in reversed(entries):  # of two with one label the first counts
            by_text |= {text.casefold(): entry["id"] for text in entry.get("labels", {}).values()}
        by_text |= {entry["id"].casefold(): entry["id"] for entry in entries}
        retired = {entry["id"]: entry.get("retired", False) for entry in entries}
        return cls(value["key"], value.get("open", False), retired, by_text)

    def entry(self, text: str, field: str, *, by_label: bool = False) -> str:
        """The id that a text means; the text itself where an open list does not have it.

        Args:
            text: An id, or what people see.
            field: The field that a failure names.
            by_label: True to find a closed list's entries also by label or in another case; an open
                one's always are, so that it does not take the same value twice.

        Raises:
            InvalidArgument: `UNKNOWN_ENTRY` or `RETIRED_ENTRY`.
        """
        text = text.strip()
        found = text if text in self.retired else None
        if found is None and (by_label or self.open):
            found = self.by_text.get(text.casefold())
        if found is None and self.open:
            return text
        if found is None:
            offered = [id_ for id_, retired in self.retired.items() if not retired]
            named = ", ".join(offered[:_NAMED]) + (", …" if len(offered) > _NAMED else "")
            msg = f"{field}: the pick list {self.key} has no {text[:100]!r}; it has {named}."
            raise InvalidArgument(msg, reason="UNKNOWN_ENTRY", field=field, metadata=self._named)
        if self.retired[found]:
            msg = f"{field}: {found} is retired from the pick list {self.key}; choose another."
            raise InvalidArgument(msg, reason="RETIRED_ENTRY", field=field, metadata=self._named)
        return found

    @property
    def _named(self) -> dict[str, str]:
        return {"pick_list": self.key}
