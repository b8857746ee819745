"""Products: the goods and services we sell."""

from dataclasses import dataclass

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from crmkit.money import UnitPrice


@dataclass(kw_only=True)
class Product(Record):
    """Something that is sold; `unit_price` is its list price."""

    display_name: str
    sku: str | None = None
    kind: str = "GOOD"
    category: str | None = None
    unit_price: UnitPrice | None = None
    active: bool = True

    def check(self) -> None:
        """An empty stock-keeping unit is none.

        Raises:
            InvalidArgument: The list price is negative.
        """
        self.sku = self.sku or None
        if self.unit_price is not None and self.unit_price.amount < 0:
            msg = "A list price cannot be negative."
            raise InvalidArgument(msg, field="product.unit_price")
