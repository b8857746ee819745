"""The amount of an opportunity is split over its products without losing or inventing anything."""

from decimal import Decimal
from uuid import UUID

from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st

from crm.sales.v1.opportunity_pb2 import Opportunity
from reporting.projections.opportunity import product_shares

A, B, C = (UUID(int=n) for n in (1, 2, 3))

amounts = st.decimals(0, 10**12, places=4)
lines = st.lists(
    st.builds(
        lambda product, quantity, units: Opportunity.Line(
            product=f"products/{product}",
            quantity=str(quantity),
            unit_price=None if units is None else Money(currency_code="USD", units=units),
        ),
        st.sampled_from([A, B, C]),
        st.decimals(0, 1000, places=2),
        st.none() | st.integers(0, 10**9),
    ),
    max_size=8,
)


@given(amounts, lines)
def test_the_parts_add_up_to_the_amount_exactly(
    amount: Decimal, given_lines: list[Opportunity.Line]
) -> None:
    """INVARIANT: no cent is lost in the split, and every product has one part."""
    shares = product_shares(Opportunity(lines=given_lines), amount)
    assert set(shares) == {UUID(line.product.split("/")[1]) for line in given_lines}
    assert not shares or sum(part or 0 for part in shares.values()) == amount


def _line(product: UUID, units: int | None, quantity: str = "") -> Opportunity.Line:
    price = None if units is None else Money(currency_code="USD", units=units)
    return Opportunity.Line(product=f"products/{product}", quantity=quantity, unit_price=price)


def test_a_single_product_gets_everything() -> None:
    one = Opportunity(lines=[_line(A, 5), _line(A, None)])
    assert product_shares(one, Decimal("10.01")) == {A: Decimal("10.0100")}


def test_lines_count_by_quantity_times_price() -> None:
    two = Opportunity(lines=[_line(A, 10, "3"), _line(B, 10)])
    assert product_shares(two, Decimal(100)) == {A: Decimal(75), B: Decimal(25)}


def test_without_prices_the_products_share_equally_and_the_last_takes_the_rest() -> None:
    three = Opportunity(lines=[_line(A, None), _line(B, None), _line(C, None)])
    assert product_shares(three, Decimal("0.01")) == {
        A: Decimal("0.0033"), B: Decimal("0.0033"), C: Decimal("0.0034"),
    }  # fmt: skip


def test_an_absent_amount_has_no_parts_but_its_products_are_known() -> None:
    assert product_shares(Opportunity(lines=[_line(A, 5)]), None) == {A: None}
