"""Money is exact: what is accepted is stored and given back unchanged."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.errors import InvalidArgument
from crmkit.money import CURRENCIES, Money, UnitPrice


@given(
    st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 9999), st.sampled_from(["EUR", "JPY"])
)
def test_units_and_nanos_survive_the_way_there_and_back(units: int, part: int, code: str) -> None:
    """No amount that fits is changed, to the last of 19 digits."""
    nanos = part * 100_000 * (-1 if units < 0 else 1)
    money = Money.from_units_nanos(units, nanos, code, "amount")
    assert money.units_nanos() == (units, nanos)


def test_an_amount_below_one_keeps_its_sign() -> None:
    """Units are 0 then, so that the nanos alone carry it."""
    money = Money.from_units_nanos(0, -500_000_000, "EUR", "amount")
    assert money == Money(Decimal("-0.5"), "EUR")
    assert money.units_nanos() == (0, -500_000_000)


@pytest.mark.parametrize(
    ("units", "nanos", "code", "field"),
    [
        (1, -1_000_000, "EUR", "amount.nanos"),
        (-1, 1_000_000, "EUR", "amount.nanos"),
        (0, 1_000_000_000, "EUR", "amount.nanos"),
        (0, 10_000, "EUR", "amount"),
        (10**15, 0, "EUR", "amount"),
        (2**63 - 1, 999_999_999, "EUR", "amount"),
        (1, 0, "", "amount.currency_code"),
        (1, 0, "eur", "amount.currency_code"),
        (1, 0, "EURO", "amount.currency_code"),
        (1, 0, "XYZ", "amount.currency_code"),
    ],
)
def test_money_that_could_not_be_stored_is_refused_naming_the_field(
    units: int, nanos: int, code: str, field: str
) -> None:
    """Nothing is rounded or cut off silently."""
    with pytest.raises(InvalidArgument) as failure:
        Money.from_units_nanos(units, nanos, code, "amount")
    assert [violation.field for violation in failure.value.violations] == [field]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e15", "0.00001", "1e-40", "1e999999"])
def test_a_decimal_beyond_the_column_is_refused(amount: str) -> None:
    """The constructor holds what the database does."""
    with pytest.raises(InvalidArgument):
        Money(Decimal(amount), "EUR")


def test_trailing_zeros_are_no_excess_decimals() -> None:
    """1.50000 is 1.5."""
    assert Money(Decimal("1.500000"), "EUR").amount == Decimal("1.5")


def test_a_unit_price_has_six_decimals() -> None:
    """Prices of small things are finer than amounts, with fewer digits before the point."""
    price = UnitPrice.from_units_nanos(0, 1_000, "EUR", "price")
    assert price.amount == Decimal("0.000001")
    with pytest.raises(InvalidArgument):
        UnitPrice(Decimal(10) ** 13, "EUR")


@pytest.mark.parametrize(
    ("amount", "code", "rounded"),
    [
        ("2.345", "EUR", "2.35"),
        ("-2.345", "EUR", "-2.35"),
        ("2.5", "JPY", "3"),
        ("2.4999", "JPY", "2"),
        ("1.0005", "KWD", "1.001"),
        ("999999999999999.9999", "EUR", "1000000000000000.00"),
    ],
)
def test_rounding_is_half_up_to_the_minor_unit(amount: str, code: str, rounded: str) -> None:
    """A half goes away from zero, and each currency has its own smallest unit."""
    money = Money(Decimal(amount), code)
    if Decimal(rounded) >= 10**15:
        with pytest.raises(InvalidArgument):
            money.rounded()
    else:
        assert str(money.rounded().amount) == rounded


def test_the_currencies_are_three_capital_letters_each() -> None:
    """A slip in the list would refuse or accept a code for ever."""
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
    assert {"EUR", "USD", "CNY", "JPY", "CHF"} <= CURRENCIES
