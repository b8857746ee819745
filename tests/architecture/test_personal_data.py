"""INVARIANT: what is personal is erased, wherever it is kept.

A table that nobody has thought of, or a personal field that an erasure would leave as it is, fails: say in
the service's `storage/personal.py` what the table keeps (`crmkit.personal.declaration.Personal`).
"""

import importlib
import pkgutil
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from crm.options.v1 import options_pb2
from crm_cli.services import NAMES, service
from crmkit import contract
from crmkit.collection import Collection
from crmkit.personal.declaration import Personal
from crmkit.personal.reach import can_refer
from crmkit.personal.records import empty, personal_fields
from crmkit.personal.subject import ERASED
from crmkit.personal.texts import is_text
from crmkit.schema import PLATFORM
from crmkit.service import Service

# The people themselves; those who work here are erased by nobody but administrators.
_PEOPLE = {"accounts", "contacts"}
_STAFF = {"users", "apiKeys", "auditEntries", "identityProviders"}


def declared(one: Service) -> Personal:
    return one.keeps([part(one) for part in one.parts])


def tables(one: Service) -> dict[str, sa.Table]:
    """Every table of a service: the kit's and its own."""
    own = [value for value in _metadata(one.name) for value in value.tables.values()]
    return {table.name: table for table in [*PLATFORM.tables.values(), *own]}


def _metadata(name: str) -> list[sa.MetaData]:
    found: dict[int, sa.MetaData] = {}
    storage = importlib.import_module(f"{name}.storage")
    for module in pkgutil.iter_modules(storage.__path__):
        for value in vars(importlib.import_module(f"{name}.storage.{module.name}")).values():
            if isinstance(value, sa.Table) and value.metadata is not PLATFORM:
                found[id(value.metadata)] = value.metadata
    return list(found.values())


def silent(one: Service) -> set[str]:
    """The tables of which nothing is said; those of packages that the service does not use stay empty."""
    personal = declared(one)
    said = {collection.table.name for collection in one.collections} | personal.nothing
    said |= {kept.table.name for kept in personal.kept}
    for name in NAMES:
        said |= {table for keeper in declared(service(name)).keepers for table in keeper.tables}
    return tables(one).keys() - said


@pytest.mark.parametrize("name", NAMES)
def test_every_table_says_whether_it_keeps_personal_data(name: str) -> None:
    """Records say so in their contracts; of every other table the service says it, in one place."""
    one = service(name)
    assert not silent(one)
    personal = declared(one)
    assert not personal.nothing & {kept.table.name for kept in personal.kept}


def test_a_table_that_nobody_has_thought_of_is_found() -> None:
    """The check itself: without its word the workspace's mails would be forgotten."""
    assert "notification_mails" in silent(replace(service("workspace"), personal=Personal()))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_looked_through_are_texts_that_are_there(name: str) -> None:
    for kept in declared(service(name)).kept:
        assert all(is_text(kept.table.c[column]) for column in kept.columns), kept.table.name
        assert not kept.about or kept.about in kept.table.c
        assert kept.columns or kept.about


def _personal_by_contract(descriptor: Any) -> set[str]:
    """The fields of a resource that its contract calls personal, always or sometimes."""
    return {
        field.name
        for field in descriptor.fields
        if field.GetOptions().Extensions[options_pb2.personal]
        or field.GetOptions().Extensions[options_pb2.personal_if]
    }


def _collections() -> list[Collection[Any]]:
    return [collection for name in NAMES for collection in service(name).collections]


@pytest.mark.parametrize("collection", _collections(), ids=lambda c: c.name)
def test_every_personal_field_can_be_emptied(collection: Collection[Any]) -> None:
    """INVARIANT: each stored field that the contract calls personal has a value that says nothing."""
    codec = collection.codec
    stored = _personal_by_contract(codec.contract.message.DESCRIPTOR) & codec.fields.keys()
    assert set(personal_fields(codec)) == stored
    for name in stored:
        left = empty(codec, name, [])
        column = codec.table.c[codec.fields[name].column_names[0]]
        assert left in ([], {}, None) or (left == ERASED and is_text(column)), name
        assert left is not None or column.nullable, name


@pytest.mark.parametrize("name", NAMES)
def test_personal_fields_are_reached_by_reference_or_by_address(name: str) -> None:
    """A record with personal fields refers to a person, or its texts are looked through for addresses."""
    one = service(name)
    personal = declared(one)
    for collection in one.collections:
        if not personal_fields(collection.codec) or collection.name in _PEOPLE | _STAFF:
            continue
        assert collection.name not in personal.persons, collection.name
        refers = any(can_refer(collection.codec, people) for people in _PEOPLE)
        columns = [
            collection.codec.fields[f].column_names[0] for f in personal_fields(collection.codec)
        ]
        texts = [c for c in columns if is_text(collection.table.c[c])]
        assert refers or len(texts) == len(columns), collection.name


def test_persons_are_who_the_subject_is() -> None:
    """Whom the service that owns contacts calls people: no other may keep personal fields unerased."""
    spared = {name for one in NAMES for name in declared(service(one)).persons}
    assert spared <= _PEOPLE | _STAFF


@pytest.mark.parametrize("name", [name for name in NAMES if name != "customer"])
def test_every_other_service_confirms(name: str) -> None:
    """INVARIANT: customer waits for each; one without the event would never be heard."""
    assert f"{name}.erasure.confirmed" in contract.events()
    assert f"{name}.erasure.confirmed" in service("customer").consumes
