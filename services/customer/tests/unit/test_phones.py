"""Phone numbers: what people type in any country becomes one that anybody can dial."""

import pytest

from crmkit.errors import InvalidArgument
from customer.domain.phones import normalise_phones
from customer.domain.values import Address, PhoneNumber, normalise_addresses, normalise_emails
from customer.domain.values import EmailAddress as Email


def one(
    number: str, region: str | None = None, *, address: str = "", default: str = ""
) -> PhoneNumber:
    phones = [PhoneNumber(number, region_code=region)]
    places = [Address(region_code=address)] if address else []
    normalise_phones(phones, places, "contact.phones", default_region=default)
    return phones[0]


@pytest.mark.parametrize(
    ("typed", "region", "number", "extension", "found"),
    [
        ("030 12345678", "DE", "+493012345678", None, "DE"),
        ("(0)30 / 123 456-78", "DE", "+493012345678", None, "DE"),
        ("+49 (0) 30 12345678", None, "+493012345678", None, "DE"),
        ("06 12345678", "IT", "+390612345678", None, "IT"),  # Italy keeps its zero
        ("011 39 06 12345678", "US", "+390612345678", None, "IT"),
        ("(650) 253-0000 ext. 42", "us", "+16502530000", "42", "US"),
        ("1-800-FLOWERS", "US", "+18003569377", None, "US"),
        ("tel:+49-30-12345678;ext=7", None, "+493012345678", "7", "DE"),
        ("021-62345678", "CN", "+862162345678", None, "CN"),
        (
            "800 234 5678",
            "JM",
            "+18002345678",
            None,
            "JM",
        ),  # free of charge in all of North America
        ("+800 1234 5678", None, "+80012345678", None, "001"),
        ("\uff10\uff13\uff10 12345678", "DE", "+493012345678", None, "DE"),
    ],
)
def test_a_number_is_kept_as_it_is_dialled_from_anywhere(
    typed: str, region: str | None, number: str, extension: str | None, found: str
) -> None:
    """INVARIANT: the number in E.164 reaches who the typed one reached."""
    phone = one(typed, region)
    assert (phone.number, phone.extension, phone.region_code) == (number, extension, found)
    again = one(phone.number, phone.region_code, default="US")
    assert again.number == number


@pytest.mark.parametrize("typed", ["ask the porter", "110", "12", "+999 12345678901234567", "030"])
def test_what_is_no_number_stays_as_it_was_typed(typed: str) -> None:
    """INVARIANT: nothing that was typed is lost."""
    assert one(typed, "DE").number == typed
    assert one(typed).number == typed


def test_the_country_is_said_or_the_address_or_the_default() -> None:
    """In this order; without any the number stays as typed."""
    assert one("030 12345678", address="DE", default="US").number == "+493012345678"
    assert one("044 668 18 00", "CH", address="DE").number == "+41446681800"
    assert one("030 12345678", default="DE").number == "+493012345678"
    assert one("030 12345678").number == "030 12345678"


def test_a_number_and_an_address_are_kept_once_and_one_comes_first() -> None:
    """What was said of a repetition is not lost."""
    phones = [PhoneNumber("030 12345678"), PhoneNumber("+493012345678", "work", primary=True)]
    normalise_phones(phones, [], "contact.phones", default_region="DE")
    assert phones == [PhoneNumber("+493012345678", "work", None, "DE", primary=True)]
    emails = [
        Email("A@x.example"),
        Email("a@x.example", "work", verified=True),
        Email("b@x.example"),
    ]
    normalise_emails(emails, "contact.emails")
    assert emails == [
        Email("a@x.example", "work", verified=True, primary=True),
        Email("b@x.example"),
    ]


def test_two_that_come_first_and_a_country_that_is_none_are_refused() -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidArgument) as two:
        normalise_emails([Email("a@x", primary=True), Email("b@x", primary=True)], "contact.emails")
    with pytest.raises(InvalidArgument) as country:
        normalise_addresses([Address(region_code="1x")], "contact.addresses")
    fields = [refused.value.violations[0].field for refused in (two, country)]
    assert fields == ["contact.emails[1].primary", "contact.addresses[0].region_code"]
