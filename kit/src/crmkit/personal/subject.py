"""Whom it is about, and how they are taken out of texts."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from crm.common.v1.personal_data_pb2 import PersonalDataSubject
from crmkit.errors import InvalidArgument

ERASED = "[erased]"  # stands where something was that cannot be empty
_SHORTEST = 5  # what is shorter stands in too many texts by chance


@dataclass(frozen=True)
class Subject:
    """A person: the records that are them, by collection, and what only they can be reached by."""

    records: Mapping[str, frozenset[UUID]]
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, message: PersonalDataSubject) -> "Subject":
        """The subject of a request; raises InvalidArgument for a name that is none."""
        records: dict[str, set[UUID]] = {}
        for name in message.names:
            collection, _, id_ = name.partition("/")
            try:
                records.setdefault(collection, set()).add(UUID(id_))
            except ValueError as error:
                msg = "subject.names must be names of records."
                raise InvalidArgument(msg, field="subject.names") from error
        return cls({c: frozenset(ids) for c, ids in records.items()}, tuple(message.texts))

    def joined(self, names: Iterable[str]) -> "Subject":
        """The same person with more records."""
        joined = PersonalDataSubject(names=[*self.names, *names], texts=self.texts)
        return Subject.of(joined)

    def message(self) -> PersonalDataSubject:
        """As it is told to other services."""
        return PersonalDataSubject(names=self.names, texts=self.texts)

    @property
    def names(self) -> list[str]:
        """The names of the records that are the person."""
        return sorted(f"{c}/{id_}" for c, ids in self.records.items() for id_ in ids)

    @cached_property
    def redactor(self) -> "Redactor":
        """What takes the person out of texts."""
        return Redactor(self.texts)


@dataclass(frozen=True)
class Found:
    """What a service has of a subject.

    Attributes:
        subject: The person.
        own: The records here that are the person, by collection.
        about: The records here that refer to the person, by collection.
        heard: When this service promised to erase: what began later knows of it. None: now.
    """

    subject: Subject
    own: Mapping[str, list[UUID]] = field(default_factory=dict)
    about: Mapping[str, list[UUID]] = field(default_factory=dict)
    heard: datetime | None = None

    @cached_property
    def ids(self) -> list[UUID]:
        """Every record found, and those that are the person wherever they are."""
        known = {id_ for ids in self.subject.records.values() for id_ in ids}
        return sorted(known.union(*self.about.values()))

    @cached_property
    def names(self) -> list[str]:
        """The names of the same records."""
        about = [f"{c}/{id_}" for c, ids in self.about.items() for id_ in ids]
        return sorted({*self.subject.names, *about})


class Redactor:
    """Puts `[erased]` where a text holds an address or a number of the subject."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Takes what to look for, whole and in any case; what is too short is left out."""
        self.texts = sorted({text for text in texts if len(text) >= _SHORTEST}, key=len)[::-1]
        found = "|".join(re.escape(text) for text in self.texts)
        # Not within a longer address: `mary.ann@…` is somebody else than `ann@…`.
        self._pattern = re.compile(rf"(?<![\w.+-])(?:{found})(?![\w-]|\.\w)", re.IGNORECASE)

    @property
    def patterns(self) -> list[str]:
        """The same for ILIKE, which finds more."""
        return ["%" + re.sub(r"([\\%_])", r"\\\1", text) + "%" for text in self.texts]

    def holds(self, text: str) -> bool:
        """True if a text names the subject."""
        return bool(self.texts) and self._pattern.search(text) is not None

    def redact(self, value: Any) -> Any:
        """The value without the subject: texts, also within lists and objects; all else as it is."""
        if not self.texts:
            return value
        if isinstance(value, str):
            return self._pattern.sub(ERASED, value)
        if isinstance(value, list):
            return [self.redact(item) for item in value]
        if isinstance(value, dict):
            return {self.redact(key): self.redact(item) for key, item in value.items()}
        return value
