"""Lines: the products of a sale and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from crmkit.errors import InvalidArgument
from crmkit.money import Money, UnitPrice, minor_digits

_TOO_MUCH = Decimal(10) ** 15  # what numeric(19,4) no longer holds


@dataclass(kw_only=True)
class Line:
    """One product of the sale.

    Attributes:
        quantity: How many units, at most four decimals; 1 if not said.
        unit_price: Price of one unit; None where nobody has said it.
    """

    product: UUID
    quantity: Decimal | None = None
    unit_price: UnitPrice | None = None


def check_lines(lines: Sequence[Line]) -> None:
    """Fills in the quantity 1.

    Raises:
        InvalidArgument: A quantity is not above 0, a price is negative, or currencies differ.
    """
    currencies = {line.unit_price.currency_code for line in lines if line.unit_price}
    for index, line in enumerate(lines):
        path = f"opportunity.lines[{index}]"
        if line.quantity is None:
            line.quantity = Decimal(1)
        if line.quantity <= 0:
            msg = f"{path}.quantity must be above 0."
            raise InvalidArgument(msg, field=f"{path}.quantity")
        if line.unit_price is not None and line.unit_price.amount < 0:
            msg = f"{path}.unit_price cannot be negative."
            raise InvalidArgument(msg, field=f"{path}.unit_price")
        if line.unit_price is not None and len(currencies) > 1:
            msg = f"All lines must be in one currency, not in {' and '.join(sorted(currencies))}."
            raise InvalidArgument(msg, field=f"{path}.unit_price.currency_code")


def total(lines: Sequence[Line]) -> Money | None:
    """The sum of the lines that have a price, each rounded to the minor unit; None without any.

    Raises:
        InvalidArgument: The sum is more than can be stored.
    """
    priced = [line for line in lines if line.unit_price is not None]
    if not priced or priced[0].unit_price is None:
        return None
    currency_code = priced[0].unit_price.currency_code
    amount = sum((_amount(line) for line in priced), Decimal(0))
    if amount >= _TOO_MUCH:
        msg = "The lines come to more than can be stored."
        raise InvalidArgument(msg, field="opportunity.lines")
    return Money(amount, currency_code)


def _amount(line: Line) -> Decimal:
    if line.unit_price is None or line.quantity is None:
        return Decimal(0)
    exact = line.quantity * line.unit_price.amount
    if exact >= _TOO_MUCH:
        return _TOO_MUCH  # beyond what decimal arithmetic keeps exact; the sum is refused
    step = Decimal(1).scaleb(-minor_digits(line.unit_price.currency_code))
    return exact.quantize(step, rounding=ROUND_HALF_UP)
