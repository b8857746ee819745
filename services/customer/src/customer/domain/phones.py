"""Phone numbers: from what people type to E.164, by Google's library of numbering plans."""

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from customer.domain.values import Address, PhoneNumber, keep_numbers_once, primary

_NOT_IN_A_NUMBER = re.compile(r"[\s()./-]+")
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_WORLD = "001"  # numbers of no country, by UN M49
_UNKNOWN_REGION = "ZZ"


def normalise_phones(
    phones: list[PhoneNumber], addresses: list[Address], path: str, *, default_region: str = ""
) -> None:
    """Writes numbers in E.164; those that cannot be read as one stay as they were typed.

    Args:
        phones: The numbers.
        addresses: The record's addresses: where a number's own country is not said, theirs counts.
        path: The list, for errors.
        default_region: What counts where they say none either.
    """
    place = primary(addresses)
    for phone in phones:
        region = (phone.region_code or "").upper()
        _normalise(phone, region or (place.region_code if place else "") or default_region)
    keep_numbers_once(phones, path)


def _normalise(phone: PhoneNumber, region: str) -> None:
    phone.extension = phone.extension or None
    phone.region_code = (phone.region_code or "").upper() or None
    try:
        read = phonenumbers.parse(phone.number, region or None)
    except NumberParseException:
        read = None
    if read is None or not phonenumbers.is_valid_number(read):
        # In no numbering plan, but with a country code: our plans may be older than the number.
        compact = _NOT_IN_A_NUMBER.sub("", phone.number)
        if _E164.fullmatch(compact):
            phone.number = compact
        return
    phone.extension = phone.extension or read.extension or None
    read.extension = None
    phone.number = phonenumbers.format_number(read, PhoneNumberFormat.E164)
    found = phonenumbers.region_code_for_number(read)
    if phone.region_code and phonenumbers.is_valid_number_for_region(read, phone.region_code):
        return  # several countries share some numbers: it is dialled in the one that was said
    if found and found not in {_WORLD, _UNKNOWN_REGION}:
        phone.region_code = found
    elif found == _WORLD:
        phone.region_code = _WORLD


def is_number(text: str) -> bool:
    """True for a number in E.164."""
    return _E164.fullmatch(text) is not None
