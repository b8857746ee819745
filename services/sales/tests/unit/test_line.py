"""Lines: what they come to."""

from decimal import Decimal

import pytest

from crmkit.errors import InvalidArgument
from crmkit.ids import uuid7
from crmkit.money import Money, UnitPrice
from sales.domain.line import Line, check_lines, total


def line(quantity: str | None, price: str | None, currency_code: str = "EUR") -> Line:
    return Line(
        product=uuid7(),
        quantity=None if quantity is None else Decimal(quantity),
        unit_price=None if price is None else UnitPrice(Decimal(price), currency_code),
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line("2", "10.50"), line("1", "0.99")], "21.99"),
        # Each line is rounded half up, then summed: 3 x 0.005 is 0.03, not 0.02.
        ([line("0.5", "0.01")] * 3, "0.03"),
        ([line("3", "9.99"), line("1", None)], "29.97"),
        ([line("1.5", "0.01", "JPY")], "0"),
        ([line("0.0001", "99999.9999")], "10.00"),
        # A price per unit may be finer than a cent: 100,000 sheets at 0.001234.
        ([line("100000", "0.001234")], "123.40"),
    ],
)
def test_each_line_is_rounded_before_the_sum(lines: list[Line], expected: str) -> None:
    """INVARIANT: what a line shows is what it adds."""
    found = total(lines)
    assert found is not None
    assert found.amount == Decimal(expected)


def test_lines_without_any_price_come_to_nothing_known() -> None:
    """INVARIANT: an absent amount is not 0."""
    assert total([]) is None
    assert total([line("1", None)]) is None


def test_a_line_without_a_quantity_is_one_unit() -> None:
    """As the contract says."""
    lines = [line(None, "7")]
    check_lines(lines)
    assert lines[0].quantity == 1
    assert total(lines) == Money(Decimal(7), "EUR")


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([line("0", "1")], "opportunity.lines[0].quantity"),
        ([line("1", "1"), line("-1", "1")], "opportunity.lines[1].quantity"),
        ([line("1", "-1")], "opportunity.lines[0].unit_price"),
        (
            [line("1", None), line("1", "1", "EUR"), line("1", "1", "USD")],
            "opportunity.lines[1].unit_price.currency_code",
        ),
    ],
)
def test_lines_that_cannot_be_summed_are_refused(lines: list[Line], field: str) -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidArgument) as refused:
        check_lines(lines)
    assert refused.value.violations[0].field == field


@pytest.mark.parametrize(
    "lines",
    [
        [line("999999999999999", "9999999999999")],
        [line("100", "9000000000000")] * 2,
    ],
)
def test_a_sum_that_cannot_be_stored_is_refused(lines: list[Line]) -> None:
    """Never an error of ours."""
    with pytest.raises(InvalidArgument) as refused:
        total(lines)
    assert refused.value.violations[0].field == "opportunity.lines"
