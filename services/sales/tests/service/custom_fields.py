"""Custom fields defined and products that have them, for the tests of custom fields."""

from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict, ParseDict

from crm.common.v1 import custom_field_pb2 as pb
from crm.sales.v1 import custom_field_pb2_grpc, product_pb2, product_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Product = product_pb2.Product


def definitions(sales: ServiceUnderTest) -> custom_field_pb2_grpc.CustomFieldServiceStub:
    return custom_field_pb2_grpc.CustomFieldServiceStub(sales.channel)


def products(sales: ServiceUnderTest) -> product_pb2_grpc.ProductServiceStub:
    return product_pb2_grpc.ProductServiceStub(sales.channel)


async def define(sales: ServiceUnderTest, person: Person, type_: str, **fields: Any) -> Any:
    """A new field of products with an id of its own."""
    definition = {
        "resource": "products",
        "field_id": f"f{uuid4().hex}",
        "display_name": "Field",
        "type": type_,
        **fields,
    }
    request = pb.CreateCustomFieldRequest(custom_field=ParseDict(definition, pb.CustomField()))
    return await definitions(sales).CreateCustomField(request, metadata=person.metadata)


async def create(sales: ServiceUnderTest, person: Person, **custom: Any) -> Product:
    product = Product(display_name=f"P {uuid4()}")
    product.custom_fields.update(custom)
    request = product_pb2.CreateProductRequest(product=product)
    return await products(sales).CreateProduct(request, metadata=person.metadata)


async def update(
    sales: ServiceUnderTest, person: Person, product: Product, *mask: str, **custom: Any
) -> Product:
    changed = Product(name=product.name)
    changed.custom_fields.update(custom)
    request = product_pb2.UpdateProductRequest(
        product=changed, update_mask=FieldMask(paths=mask) if mask else None
    )
    return await products(sales).UpdateProduct(request, metadata=person.metadata)


async def change(sales: ServiceUnderTest, person: Person, field: Any, **values: Any) -> Any:
    changed = ParseDict({"name": field.name, **values}, pb.CustomField())
    request = pb.UpdateCustomFieldRequest(
        custom_field=changed, update_mask=FieldMask(paths=list(values))
    )
    return await definitions(sales).UpdateCustomField(request, metadata=person.metadata)


def values(product: Product) -> dict[str, Any]:
    shown: dict[str, Any] = MessageToDict(product.custom_fields)
    return shown


async def refusal(call: Any) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    details = details_of(refused.value)
    return details["reason"], details["fields"]


OPTIONS = [
    {"option_id": "emea", "display_name": "EMEA"},
    {"option_id": "apac", "display_name": "A"},
]
