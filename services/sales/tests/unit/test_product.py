"""Products: what stops the service at its start."""

from dataclasses import dataclass

import pytest

from crm.sales.v1 import product_pb2
from crmkit.collection import Collection
from crmkit.errors import ContractError
from sales.domain.product import Product
from sales.storage.product import products


@dataclass(kw_only=True)
class Misspelt(Product):
    kind: str = "GOODS"


def test_a_default_that_the_enum_has_not_stops_the_start() -> None:
    """INVARIANT: a record cannot get a value that its contract has not."""
    with pytest.raises(ContractError, match="kind has the default 'GOODS'"):
        Collection(product_pb2.Product, Misspelt, products)
