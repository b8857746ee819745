"""Mappings proposed for the files of other systems: what is sure is right, and nothing else is sure."""

from collections.abc import Mapping
from typing import Any

import pytest

from crm.common.v1 import import_pb2
from crmkit.collection import Collection
from crmkit.custom_fields.definitions import ResourceFields
from crmtransfer.imports.proposals import Proposal, Proposer
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from sales.storage.opportunity import OPPORTUNITIES

Confidence = import_pb2.ColumnProposal.Confidence


def proposed(
    collection: Collection[Any], columns: Mapping[str, list[str]], *, history: bool = False
) -> dict[str, Proposal]:
    proposer = Proposer(collection, ResourceFields([]), history=history)
    return {found.column: found for found in proposer.propose(list(columns.items()))}


def sure(collection: Collection[Any], header: str) -> dict[str, str]:
    found = proposed(collection, {name: [] for name in header.split(",")})
    return {name: one.path for name, one in found.items() if one.confidence == Confidence.HIGH}


@pytest.mark.parametrize(
    ("collection", "header", "expected"),
    [
        (
            CONTACTS,
            (
                "Name,Given Name,Family Name,Yomi Name,Birthday,Notes,E-mail 1 - Type,E-mail 1 - Value"
                ",Phone 1 - Value,Address 1 - City,Organization 1 - Title"
            ),
            (
                "display_name,given_name,family_name,,birthday,,,emails.address"
                ",phones.number,addresses.locality,job_title"
            ),
        ),
        (
            CONTACTS,
            (
                "First Name,Last Name,Title,Suffix,E-mail Address,E-mail 2 Address,Business Phone"
                ",Job Title,Business Postal Code,Spouse"
            ),
            (
                "given_name,family_name,,,emails.address,emails[1].address,phones.number,job_title"
                ",addresses.postal_code,"
            ),
        ),
        (
            CONTACTS,
            "first_name,last_name,gender,title,email_work,email_home,phone_work",
            "given_name,family_name,,job_title,emails.address,emails[1].address,phones.number",
        ),
        (
            ACCOUNTS,
            (
                "Id,IsDeleted,Name,ParentId,BillingStreet,BillingCity,ShippingCity,Website,Industry"
                ",NumberOfEmployees,OwnerId"
            ),
            (
                ",,display_name,,addresses.address_lines,addresses.locality,addresses[1].locality,website"
                ",industry,employee_count,"
            ),
        ),
        (ACCOUNTS, "公司名称,行业,网站,电话,备注", "display_name,industry,website,phones.number,"),
        (
            OPPORTUNITIES,
            "Deal - Title,Deal - Value,Deal - Currency,id,expected_close_date,state,close_time",
            "display_name,amount,amount.currency_code,,expected_close_date,,",
        ),
    ],
    ids=["Google", "Outlook", "Atomic CRM", "Salesforce", "Chinese", "deals"],
)
def test_what_other_systems_call_our_fields_is_known(
    collection: Collection[Any], header: str, expected: str
) -> None:
    """INVARIANT: exactly these columns are sure; of two for one field, the one named like it."""
    pairs = zip(header.split(","), expected.split(","), strict=True)
    assert sure(collection, header) == {column: field for column, field in pairs if field}


def test_values_that_a_field_does_not_take_make_its_name_doubtful() -> None:
    """INVARIANT: a column is not taken for its name where its values would be lost."""
    found = proposed(
        CONTACTS,
        {
            "Email": ["a@x.example", "b@x.example"],
            "Birthday": ["3/4/1980", "5/6/1981"],
            "Country": ["Lummerland", "Atlantis"],
            "emails": ['[{"label": "work", "mail": "a@x.example"}]'],
        },
    )
    assert found["Email"].confidence == Confidence.HIGH
    assert {found[name].confidence for name in ("Birthday", "Country", "emails")} == {
        Confidence.LOW
    }
    assert "'3/4/1980'" in found["Birthday"].message


def test_contents_are_a_hint_and_no_more() -> None:
    """INVARIANT: a column that is unknown by its name is shown to a person, never taken."""
    found = proposed(
        CONTACTS,
        {
            "Contact via": ["a@x.example", "b@x.example"],
            "Notiz": ["x"],
            "Reach": ["+49 30 1234567"],
        },
    )
    assert {name: (one.path, one.reason) for name, one in found.items()} == {
        "Contact via": ("emails.address", "CONTENTS"),
        "Reach": ("phones.number", "CONTENTS"),
        "Notiz": ("", "NO_FIELD"),
    }
    assert Confidence.HIGH not in {one.confidence for one in found.values()}


def test_small_numbers_do_not_identify_records() -> None:
    """INVARIANT: rows of two systems that both count from 1 are not taken for the same records."""
    uuid = "00c19439-0b27-4499-8b22-cd01ee41501a"
    assert proposed(CONTACTS, {"ID": ["1", "2"]})["ID"].confidence == Confidence.MEDIUM
    assert proposed(CONTACTS, {"ID": [uuid]})["ID"].confidence == Confidence.HIGH
    assert proposed(CONTACTS, {"external_id": ["1"]})["external_id"].confidence == Confidence.HIGH


def test_an_amount_without_a_currency_is_not_taken() -> None:
    """INVARIANT: 100 of no currency is no amount."""
    alone = proposed(OPPORTUNITIES, {"Value": ["100"]})["Value"]
    assert (alone.path, alone.confidence) == ("amount", Confidence.MEDIUM)
    assert "amount.currency_code" in alone.message
    both = proposed(OPPORTUNITIES, {"Value": ["100"], "Currency": ["EUR"]})
    assert both["Value"].confidence == Confidence.HIGH


def test_history_is_proposed_to_those_who_may_import_it() -> None:
    """INVARIANT: no proposal asks for a right that the person lacks."""
    columns = {"close_time": ["2017-03-01"]}
    assert not proposed(OPPORTUNITIES, columns)["close_time"].path
    assert proposed(OPPORTUNITIES, columns, history=True)["close_time"].path == "close_time"


def test_several_numbers_come_one_behind_the_other_with_what_they_are_for() -> None:
    """INVARIANT: no number is lost for another's sake, and the column's name says what it is for."""
    columns = {
        "Mobile": ["1"],
        "Office Phone": ["2"],
        "Home Phone": ["3"],
        "Fax": ["4"],
        "手机": [],
    }
    found = proposed(CONTACTS, columns)
    assert [(one.path, one.label) for one in found.values()] == [
        ("phones.number", "mobile"),
        ("phones[1].number", "work"),
        ("phones[2].number", "home"),
        ("phones[3].number", "fax"),
        ("phones[4].number", "mobile"),
    ]
    answer = found["Office Phone"].answer()
    assert answer.mapping.field == "phones[1].number"
    assert [(also.field, also.value) for also in answer.also] == [("phones[1].label", "work")]


def test_addresses_of_several_purposes_are_several_addresses() -> None:
    """INVARIANT: what belongs together stays together, each address says once what it is for."""
    header = "Shipping Street,Billing Street,Billing City,Shipping City,Billing Country,City"
    found = proposed(
        ACCOUNTS, {name: [] for name in header.split(",")} | {"Billing Country": ["USA"]}
    )
    assert {name: one.path for name, one in found.items()} == {
        "Shipping Street": "addresses.address_lines",
        "Shipping City": "addresses.locality",
        "Billing Street": "addresses[1].address_lines",
        "Billing City": "addresses[1].locality",
        "Billing Country": "addresses[1].region_code",
        "City": "addresses[2].locality",
    }
    labels = [(m.field, m.value) for one in found.values() for m in one.answer().also]
    assert labels == [("addresses.label", "delivery"), ("addresses[1].label", "billing")]


def test_a_column_is_not_blamed_for_what_its_neighbours_bring() -> None:
    """INVARIANT: the country of a number, in its own column, is read without the number."""
    found = proposed(CONTACTS, {"phones.region_code": ["DE"], "started": ["2022-03-01"]})
    assert found["phones.region_code"].confidence == Confidence.HIGH
    assert found["started"].path == ""  # a date is no phone number
