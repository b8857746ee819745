"""Where products are kept."""

import sqlalchemy as sa

from crm.sales.v1 import product_pb2
from crmkit.collection import Collection
from crmkit.money import UnitPrice
from crmkit.statements import TEXT, money_columns, record_table
from sales.domain.product import Product
from sales.storage.schema import SALES

_NOT_DELETED = sa.text("delete_time IS NULL")

products = record_table(
    "products",
    SALES,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("sku", TEXT),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("category", TEXT),
    *money_columns("unit_price", UnitPrice),
    sa.Column("active", sa.Boolean, nullable=False),
    # The names say the fields: a violation is answered as `product.sku is taken`.
    sa.Index(
        "uq_products_display_name", "display_name", unique=True, postgresql_where=_NOT_DELETED
    ),
    sa.Index("uq_products_sku", "sku", unique=True, postgresql_where=_NOT_DELETED),
)

PRODUCTS = Collection(product_pb2.Product, Product, products)
