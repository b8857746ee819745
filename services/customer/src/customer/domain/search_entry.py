"""What a record is found by: its texts, and the keys and words that they are searched as."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from customer.domain.account import Account
from customer.domain.contact import Contact
from customer.domain.names import fold, is_chinese, split_name
from customer.domain.party import Party
from customer.domain.phones import is_number
from customer.domain.spelling import (
    LONGEST_WORD,
    compact,
    digits_to_dial,
    is_unspaced,
    pieces,
    single_characters,
    spellings,
    words,
)
from customer.domain.values import Address

CUSTOM = "custom_fields."
_MOST_WORDS = 100  # of a record
_LONGEST_KEY = 100
_LONGEST_NAME = 100
_SHORTEST_TAUGHT = 2
_LONGEST_TAUGHT = 30
_MOST_WORDS_OF_VALUE = 8
_LONGEST_INITIALS = 12
_RECORD = re.compile(r"[A-Za-z]+/[0-9a-f-]{36}")


class Text(NamedTuple):
    """A value of a record that can be found.

    Attributes:
        field: Its field; `custom_fields.region` for one that the organisation added.
        kind: NAME, PLACE, EMAIL, PHONE, DOMAIN or CODE: how it is taken apart.
    """

    field: str
    kind: str
    value: str


@dataclass(slots=True)
class Entry:
    """A record in the index.

    Attributes:
        name: What it is called, folded.
        keys: Pairs of a field and a value that is found by itself or by its beginning.
        words: What is found in any order.
        taught: Those of the words that others may be a wrong spelling of.
    """

    name: str
    keys: set[tuple[str, str]] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    taught: set[str] = field(default_factory=set)


def name_of(record: Party) -> str:
    """What a record is called."""
    name: str | None = getattr(record, "display_name", None)  # each kind declares it in its own way
    return name or ""


def texts_of(record: Party) -> Iterator[Text]:
    """What an account or a contact can be found by."""
    if name := name_of(record):
        yield Text("display_name", "NAME", name)
    if isinstance(record, Account):
        yield from _texts_of_account(record)
    for email in record.emails:
        yield Text("emails", "EMAIL", email.address)
    yield from _texts_beside(record)


def _texts_beside(record: Party) -> Iterator[Text]:
    for phone in record.phones:
        yield Text("phones", "PHONE", phone.number)
    for address in record.addresses:
        if line := _line(address):
            yield Text("addresses", "PLACE", line)
    if record.external_id:
        yield Text("external_id", "CODE", record.external_id)
    for value in record.external_ids.values():
        yield Text("external_ids", "CODE", value)
    for name, value in record.custom_fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int | float) and not isinstance(one, bool):
                yield Text(CUSTOM + name, "CODE", _shown(one))


def _texts_of_account(account: Account) -> Iterator[Text]:
    if account.legal_name:
        yield Text("legal_name", "NAME", account.legal_name)
    if account.customer_number:
        yield Text("customer_number", "CODE", account.customer_number)
    if account.tax_id:
        yield Text("tax_id", "CODE", account.tax_id)
    if account.website and (host := _host(account.website)):
        yield Text("website", "DOMAIN", host)
    for domain in account.domains:
        yield Text("domains", "DOMAIN", domain)


def entry_of(record: Party, sensitive: Collection[str]) -> Entry:
    """The record as it is searched; sensitive fields by their whole value only, as words say no field."""
    entry = Entry(name=fold(name_of(record))[:_LONGEST_NAME])
    for text in texts_of(record):
        _take(entry, text, whole=text.field in sensitive)
    if record.sort_name:
        _take_reading(entry, record)
    if len(entry.words) > _MOST_WORDS:
        entry.words = set(sorted(entry.words)[:_MOST_WORDS])
    entry.taught = {word for word in entry.taught & entry.words if _can_be_misspelt(word)}
    return entry


def _take(entry: Entry, text: Text, *, whole: bool) -> None:
    for key in keys_of(text):
        if key:
            entry.keys.add((text.field, key[:_LONGEST_KEY]))
    if whole or text.kind in {"CODE", "PHONE"}:
        return
    if text.kind == "EMAIL":
        local, _, domain = text.value.partition("@")
        entry.words.update(words(local))
        entry.words.update(words(domain)[:-1])
        return
    if text.value.isascii():
        found = words(text.value)
    else:
        found = [w for spelling in spellings(text.value) for w in words(spelling)]
    if text.kind == "DOMAIN":
        found = found[:-1]  # of what is com or de nobody looks for
    entry.taught.update(found)
    entry.words.update(found)
    for word in () if text.value.isascii() else found:
        if is_unspaced(word):
            entry.words.update(pieces(word), single_characters(word))


def keys_of(text: Text) -> list[str]:
    """The forms in which a value is compared as a whole."""
    value = text.value
    if text.kind == "EMAIL":
        address = fold(value)
        return [address, compact(address.partition("@")[2])]
    if text.kind == "PHONE":
        return _dialled(value)
    if text.kind == "CODE":
        code = compact(value)
        if text.field == "customer_number":
            return [code, digits_to_dial("".join(filter(str.isdigit, value)))]
        return [code, *(_endings(value) if text.field.startswith(CUSTOM) else [])]
    if text.kind == "PLACE":
        return []
    return [compact(value)] if value.isascii() else [compact(s) for s in spellings(value)]


def _endings(value: str) -> list[str]:
    """A value from its second word on, from its third, and so on."""
    found = words(value)[:_MOST_WORDS_OF_VALUE]
    return ["".join(found[i:]) for i in range(1, len(found))]


def _dialled(number: str) -> list[str]:
    """A phone number from the country on, and from the area on."""
    if not is_number(number):
        return [digits_to_dial(number) or compact(number)]
    digits = number[1:]
    lengths = (1, 2, 3)  # of country codes; none is the beginning of another
    country = next((n for n in lengths if int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE), 0)
    return [digits, digits[country:].lstrip("0")]


def _take_reading(entry: Entry, record: Party) -> None:
    """What the name is sorted by: with the family name first, and of a Chinese one how it is read."""
    read = record.sort_name or ""
    entry.keys.add(("display_name", compact(read)[:_LONGEST_KEY]))
    name = name_of(record)
    if name.isascii() or not any(map(is_chinese, name)):
        return
    syllables = words(read)
    entry.words.update(syllables)
    entry.taught.update(syllables)
    entry.keys.add(("display_name", "".join(s[0] for s in syllables)[:_LONGEST_INITIALS]))
    given = syllables[_length_of_surname(record) :]
    if 1 < len(given) < len(syllables):
        entry.words.add("".join(given)[:LONGEST_WORD])


def _length_of_surname(record: Party) -> int:
    if isinstance(record, Contact) and record.family_name:
        return len(record.family_name)
    is_firm = isinstance(record, Account) and not record.is_person
    return 0 if is_firm else len(split_name(name_of(record))[0])


def _can_be_misspelt(word: str) -> bool:
    in_range = _SHORTEST_TAUGHT <= len(word) <= _LONGEST_TAUGHT
    return in_range and (word.isalpha() or not any(map(str.isdigit, word)))


def _line(address: Address) -> str:
    parts = [
        *address.recipients, address.organization or "", *address.address_lines, address.sublocality or "",
        address.postal_code, address.locality, address.administrative_area,
    ]  # fmt: skip
    return ", ".join(part for part in parts if part)


def _host(website: str) -> str:
    return (urlsplit(website).hostname or "").removeprefix("www.")


def _shown(value: str | float) -> str:
    """As people write it; the name of a record is nothing that people write."""
    if isinstance(value, str):
        return "" if _RECORD.fullmatch(value) else value
    return str(int(value)) if value == int(value) else str(value)
