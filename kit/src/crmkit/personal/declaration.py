"""What a service says of its tables: which of them keep personal data beside its records.

Records need no word: their contracts say what is personal and whom they refer to. That nothing is left out is
tested for every table of every service (tests/architecture/test_personal_data.py).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa

from crm.common.v1.personal_data_pb2 import PersonalDataPiece
from crmkit.children.tables import COMMENT
from crmkit.custom_fields.tables import CUSTOM_FIELD_VALUE
from crmkit.job_tables import BULK_ACTION, BULK_ACTION_ROW, EXPORT, IMPORT, IMPORT_ISSUE, JOB
from crmkit.personal.subject import Found
from crmkit.schema import PARKED_EVENT, REVISION

OWNER = "customer"  # the service that owns contacts: it asks for an erasure, and erases last


@dataclass(frozen=True)
class Kept:
    """A table beside the records that keeps personal data.

    Attributes:
        table: The table.
        columns: What may hold it: texts, lists of texts, jsonb. Addresses of the subject are taken out.
        about: The column with the record that a row is about, by id or name; empty where there is none.
            Such rows are read as the subject's, and deleted with it.
    """

    table: sa.Table
    columns: tuple[str, ...]
    about: str = ""


class Keeper(Protocol):
    """What a package beside the kit keeps of records: files."""

    tables: frozenset[str]

    async def erase(self, home: Any, found: Found, /) -> None:
        """Removes what belongs to the records found; repeatable."""

    def read(self, home: Any, found: Found, /) -> AsyncIterator[PersonalDataPiece]:
        """What belongs to the records found."""


@dataclass(frozen=True, kw_only=True)
class Personal:
    """What a service keeps of people.

    Attributes:
        persons: Collections whose records stay as they are when they refer to somebody who is erased: they
            are people themselves, or a log without personal data.
        not_redacted: Fields of `persons` that stay as they are: how to reach them, and what others call them.
        rewritten: What follows a change that an erasure makes past the rules of a record: an index.
        about: Collection → its field with the name of the record that it is about, where the contract does
            not say that it is a reference.
        kept: Tables beside the records.
        nothing: Names of tables without personal data of people that the organisation deals with.
        asks_others: Its records refer to others', which may be about a person: the other services are asked.
        keepers: What packages beside the kit keep.
    """

    persons: frozenset[str] = frozenset()
    not_redacted: frozenset[str] = frozenset()
    rewritten: Callable[[Any, Any, Any], Awaitable[None]] | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    kept: Sequence[Kept] = ()
    nothing: frozenset[str] = frozenset()
    asks_others: bool = False
    keepers: Sequence[Keeper] = ()


# In every service's database.
KEPT_BY_ALL = (
    Kept(COMMENT, ("text",), about="record"),
    Kept(REVISION, ("changes",)),
    Kept(CUSTOM_FIELD_VALUE, ("text_value", "unique_key")),
    Kept(PARKED_EVENT, ("error",)),
    Kept(JOB, ("error",)),
    Kept(IMPORT, ("error_message",)),
    Kept(IMPORT_ISSUE, ("message",)),
    Kept(EXPORT, ("error_message",)),
    Kept(BULK_ACTION, ("error_message",)),
    Kept(BULK_ACTION_ROW, ("message",)),
)
# Answers of repeated requests are looked through byte by byte: `crmkit.personal.answers`.
LOOKED_THROUGH = frozenset({"idempotency"})
# Events hold no personal data; the rest is bookkeeping, or about those who work here.
NOTHING_BY_ALL = frozenset(
    {
        "outbox", "event_log", "relay_state", "consumer_cursor", "collaborator", "follower",
        "known_record", "known_user", "known_team", "known_role", "known_setting",
        "known_signing_key", "revoked_session", "custom_field", "handover",
    }
)  # fmt: skip
