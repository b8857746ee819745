"""Definitions of custom fields over gRPC, shown with products: what may change, who may define."""

from typing import Any

import pytest

from crm.common.v1 import custom_field_pb2 as pb
from crm.sales.v1 import product_pb2
from crmkit.custom_fields.definitions import CustomFields
from crmkit.testing.harness import ServiceUnderTest

from .custom_fields import (
    OPTIONS,
    Product,
    change,
    create,
    define,
    definitions,
    products,
    refusal,
    update,
    values,
)


async def test_a_unique_value_is_taken_once(sales: ServiceUnderTest) -> None:
    """INVARIANT: no two records have the same value; the field is named."""
    root = await sales.person("*")
    field = await define(sales, root, "TEXT", unique=True)
    first = await create(sales, root, **{field.field_id: "one"})
    second = await create(sales, root, **{field.field_id: "two"})
    path = [f"product.custom_fields.{field.field_id}"]
    taken = ("ALREADY_EXISTS", path)
    assert await refusal(create(sales, root, **{field.field_id: "one"})) == taken
    assert await refusal(update(sales, root, second, **{field.field_id: "one"})) == taken
    await update(sales, root, first, **{field.field_id: "three"})
    await update(sales, root, second, **{field.field_id: "one"})


async def test_required_and_default(sales: ServiceUnderTest) -> None:
    """INVARIANT: whoever creates or edits fills what is required; an action need not."""
    root = await sales.person("*")
    old = await create(sales, root)
    with_default = await define(sales, root, "TEXT", required=True, default_value="std")
    assert values(await create(sales, root))[with_default.field_id] == "std"
    field = await define(sales, root, "TEXT", required=True)
    try:
        path = f"product.custom_fields.{field.field_id}"
        assert await refusal(create(sales, root)) == ("REQUIRED_FIELD", [path])
        edit = product_pb2.UpdateProductRequest(product=Product(name=old.name, category="x"))
        edited = products(sales).UpdateProduct(edit, metadata=root.metadata)
        assert (await refusal(edited))[0] == "REQUIRED_FIELD"
        several = product_pb2.BatchUpdateProductsRequest(
            names=[old.name], product=Product(category="x")
        )
        edited = products(sales).BatchUpdateProducts(several, metadata=root.metadata)
        assert (await refusal(edited))[0] == "REQUIRED_FIELD"
        filled = {field.field_id: "x", with_default.field_id: "y"}
        assert values(await update(sales, root, old, **filled)) == filled
        reason, _ = await refusal(update(sales, root, old, f"custom_fields.{field.field_id}"))
        assert reason == "REQUIRED_FIELD"
        deleted = product_pb2.DeleteProductRequest(name=old.name)
        await products(sales).DeleteProduct(deleted, metadata=root.metadata)
    finally:
        await change(sales, root, field, required=False)
        await change(sales, root, with_default, required=False, default_value=None)


async def test_type_and_uniqueness_stay_while_there_are_values(sales: ServiceUnderTest) -> None:
    """INVARIANT: no record has a value of another type than its field's."""
    root = await sales.person("*")
    field = await define(sales, root, "TEXT")
    product = await create(sales, root, **{field.field_id: "x"})
    for changed in ({"type": "NUMBER"}, {"unique": True}):
        reason, fields = await refusal(change(sales, root, field, **changed))
        assert (reason, fields) == ("FIELD_HAS_VALUES", [f"custom_field.{next(iter(changed))}"])
    await update(sales, root, product, **{field.field_id: None})
    await change(sales, root, field, type="NUMBER", unique=True)
    assert values(await create(sales, root, **{field.field_id: 4})) == {field.field_id: 4}


async def test_an_option_is_retired_never_removed(sales: ServiceUnderTest) -> None:
    """Records keep a retired option; nobody chooses it any more."""
    root = await sales.person("*")
    field = await define(sales, root, "OPTION", options=OPTIONS)
    product = await create(sales, root, **{field.field_id: "emea"})
    assert (await refusal(change(sales, root, field, options=OPTIONS[1:])))[0] == "OPTION_REMOVED"
    await change(sales, root, field, options=[{**OPTIONS[0], "retired": True}, OPTIONS[1]])
    assert (await refusal(create(sales, root, **{field.field_id: "emea"})))[0] == "OPTION_RETIRED"
    await update(sales, root, product, **{field.field_id: "emea"})


async def test_only_who_may_change_everyones_records_defines_fields(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: a permission over one's own records is not enough; everybody may read definitions."""
    ada = await sales.person(("sales.*", "SUBTREE"))
    root = await sales.person("*")
    assert (await refusal(define(sales, ada, "TEXT")))[0] == "SCOPE_ALL_NEEDED"
    field = await define(sales, root, "TEXT")
    bob = await sales.person()
    request = pb.ListCustomFieldsRequest(resource="products", page_size=1000)
    listed = await definitions(sales).ListCustomFields(request, metadata=bob.metadata)
    assert field in listed.custom_fields


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"resource": "accounts"}, "resource"),
        ({"field_id": "Region"}, "field_id"),
        ({"field_id": ""}, "field_id"),
        ({"type": "TYPE_UNSPECIFIED"}, "type"),
        ({"type": "OPTION"}, "options"),
        ({"type": "TEXT", "options": OPTIONS}, "options"),
        ({"type": "OPTION", "options": [OPTIONS[0]] * 2}, "options"),
        ({"type": "REFERENCE", "target": "nothing"}, "target"),
        ({"type": "TEXT", "target": "accounts"}, "target"),
        ({"type": "FLAG", "unique": True}, "unique"),
        ({"type": "OPTIONS", "options": OPTIONS, "sortable": True}, "sortable"),
        ({"type": "NUMBER", "default_value": "x"}, "default_value"),
        ({"type": "TEXT", "unique": True, "default_value": "x"}, "default_value"),
    ],
)
async def test_a_definition_that_makes_no_sense_is_refused(
    sales: ServiceUnderTest, definition: dict[str, Any], field: str
) -> None:
    """The field at fault is named."""
    root = await sales.person("*")
    _, fields = await refusal(define(sales, root, definition.pop("type", "TEXT"), **definition))
    assert fields == [f"custom_field.{field}"]


async def test_an_id_is_taken_once(sales: ServiceUnderTest) -> None:
    """Also by a deleted field: its values are still there."""
    root = await sales.person("*")
    field = await define(sales, root, "TEXT")
    await definitions(sales).DeleteCustomField(
        pb.DeleteCustomFieldRequest(name=field.name), metadata=root.metadata
    )
    again = define(sales, root, "TEXT", field_id=field.field_id)
    assert (await refusal(again))[0] == "ALREADY_EXISTS"


async def test_another_process_learns_of_a_field(sales: ServiceUnderTest) -> None:
    """INVARIANT: what is known never goes back to an older version of a definition."""
    root = await sales.person("*")
    field = await define(sales, root, "TEXT")
    other = CustomFields(sales.database)
    await other.reload()
    (old,) = [f for f in other.of("products").all if f.field_id == field.field_id]
    await change(sales, root, field, display_name="New")
    await other.reload()
    other.learn([old])
    assert other.of("products").by_id[field.field_id].display_name == "New"
