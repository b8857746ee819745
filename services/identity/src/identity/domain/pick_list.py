"""Pick lists: the values that fields may have."""

from dataclasses import dataclass, field

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument

MAX_ENTRIES = 1000


@dataclass
class Entry:
    """A value; records hold its id."""

    id: str
    labels: dict[str, str] = field(default_factory=dict)
    retired: bool = False


@dataclass(kw_only=True)
class PickList(Record):
    """A list of values for the fields that are bound to its key."""

    key: str
    display_name: str
    open: bool = False
    entries: list[Entry] = field(default_factory=list)
    built_in: bool = False

    def check(self) -> None:
        """Raises InvalidArgument for two entries with one id, or one with space around it."""
        seen: set[str] = set()
        for index, entry in enumerate(self.entries):
            path = f"pick_list.entries[{index}].id"
            if entry.id != entry.id.strip():
                msg = f"{path} must not begin or end with a space."
                raise InvalidArgument(msg, field=path)
            if entry.id.casefold() in seen:
                msg = f"{path}: {entry.id} is in the list twice."
                raise InvalidArgument(msg, reason="DUPLICATE_ENTRY", field=path)
            seen.add(entry.id.casefold())

    def refuse_removal(self, before: "PickList") -> None:
        """Raises InvalidArgument `ENTRY_REMOVED` where an entry is gone: records may have it."""
        gone = {entry.id for entry in before.entries} - {entry.id for entry in self.entries}
        if gone:
            msg = f"{min(gone)} cannot be removed; retire it instead."
            raise InvalidArgument(msg, reason="ENTRY_REMOVED", field="pick_list.entries")

    def learn(self, value: str, language: str) -> bool:
        """Adds a value that a record has; False where it is there, or the list is closed or full."""
        known = {text.casefold() for e in self.entries for text in (e.id, *e.labels.values())}
        if not self.open or value.casefold() in known or len(self.entries) >= MAX_ENTRIES:
            return False
        self.entries = [*self.entries, Entry(value, {language: value})]
        return True
