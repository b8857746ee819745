"""Exports of persons as vCards (3.0, what address books of all kinds read)."""

import re
from collections.abc import Collection as AnyCollection
from collections.abc import Iterable, Mapping
from typing import Any

import vobject

from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import PermissionDenied
from crmkit.names import parse_name

_WORD = re.compile(r"[A-Za-z0-9-]+")
_TYPES = {"mobile": "cell"}


def are_persons(collection: Collection[Any]) -> bool:
    """True if a record of the collection can be written as a vCard."""
    return {"given_name", "family_name", "emails"} <= collection.codec.fields.keys()


async def organizations(
    call: Call, own: Mapping[str, Collection[Any]], people: Iterable[Any]
) -> dict[str, str]:
    """The names of the accounts that people belong to, as far as the caller may see them."""
    accounts = own.get("accounts")
    names = {person.account for person in people if person.account}
    if accounts is None or not names:
        return {}
    ids = [parse_name(name, collection="accounts", field="account") for name in sorted(names)]
    try:
        found = await accounts.get_many(call, ids, permission=accounts.permission("get"))
    except PermissionDenied:
        return {}
    return {accounts.codec.name_of(one.id): one.display_name for one in found}


def cards(
    people: Iterable[Any], organization_of: Mapping[str, str], hidden: AnyCollection[str]
) -> bytes:
    """The people as vCards, without the fields that are hidden."""
    texts = []
    for person in people:
        for name in hidden:
            person.ClearField(name)
        texts.append(_card(person, organization_of.get(person.account, "")))
    return "".join(texts).encode()


def _card(person: Any, organization: str) -> str:
    card = vobject.vCard()
    card.add("fn").value = person.display_name
    card.add("n").value = vobject.vcard.Name(family=person.family_name, given=person.given_name)
    for name, text in (("uid", person.external_id), ("title", person.job_title)):
        if text:
            card.add(name).value = text
    if organization:
        card.add("org").value = [organization]
    if person.HasField("birthday"):
        day = person.birthday
        card.add("bday").value = f"{day.year:04}-{day.month:02}-{day.day:02}"
    for email in person.emails:
        _add(card, "email", email.address, email.label)
    for phone in person.phones:
        _add(card, "tel", phone.number, phone.label)
    for address in person.addresses:
        value = vobject.vcard.Address(
            street=list(address.address_lines),
            city=address.locality,
            region=address.administrative_area,
            code=address.postal_code,
            country=address.region_code,
        )
        _add(card, "adr", value, address.label)
    return str(card.serialize())


def _add(card: Any, name: str, value: Any, label: str) -> None:
    line = card.add(name)
    line.value = value
    words = [_TYPES.get(word.lower(), word.lower()) for word in _WORD.findall(label)]
    if words:
        line.params["TYPE"] = words
