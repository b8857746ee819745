"""Custom fields over gRPC, shown with products and opportunities."""

from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict, ParseDict

from crm.common.v1 import custom_field_pb2 as pb
from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.sales.v1 import custom_field_pb2_grpc, product_pb2, product_pb2_grpc
from crmkit.custom_fields.definitions import CustomFields
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Type = pb.CustomField.Type
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


async def names(sales: ServiceUnderTest, person: Person, **listing: Any) -> list[str]:
    request = product_pb2.ListProductsRequest(**listing)
    page = await products(sales).ListProducts(request, metadata=person.metadata)
    return [p.name for p in page.products]


async def refusal(call: Any) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    details = details_of(refused.value)
    return details["reason"], details["fields"]


OPTIONS = [
    {"option_id": "emea", "display_name": "EMEA"},
    {"option_id": "apac", "display_name": "A"},
]
# type, more of its definition, a value, another one, values that are refused
TYPES: list[tuple[str, dict[str, Any], Any, Any, list[Any]]] = [
    ("TEXT", {}, "Grün", "red", [7, True, ["x"], "x" * 501, "a\u202eb"]),
    ("NUMBER", {}, 12.5, -3, ["12", True, 1e15]),
    ("FLAG", {}, True, False, ["true", 1, {}]),
    ("DATE", {}, "2026-01-31", "2026-02-01", ["2026-02-30", "31.1.2026", 20260131]),
    ("TIME", {}, "2026-01-31T09:00:00Z", "2026-03-01T00:00:00Z", ["2026-01-31", "soon", 5]),
    (
        "MONEY",
        {},
        {"amount": "12.5", "currency_code": "EUR"},
        {"amount": "99", "currency_code": "USD"},
        ["12 EUR", {"amount": "1"}, {"amount": "1.23456", "currency_code": "EUR"},
         {"amount": "1", "currency_code": "EURO"}, {"amount": "NaN", "currency_code": "EUR"}],
    ),
    ("OPTION", {"options": OPTIONS}, "emea", "apac", ["mars", 1, ["emea"]]),
    ("OPTIONS", {"options": OPTIONS, "sortable": False}, ["emea", "apac"], ["apac"],
     ["emea", ["mars"], [1]]),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "more", "value", "other", "refused"), TYPES)
async def test_a_value_is_what_its_type_says(
    sales: ServiceUnderTest,
    type_: str,
    more: dict[str, Any],
    value: Any,
    other: Any,
    refused: list[Any],
) -> None:
    """INVARIANT: every value comes back as it was sent, and what is no such value is refused by name."""
    root = await sales.person("*")
    field = await define(sales, root, type_, **{"filterable": True, "sortable": True, **more})
    product = await create(sales, root, **{field.field_id: value})
    assert values(product) == {field.field_id: value}
    product = await update(sales, root, product, **{field.field_id: other})
    assert values(product) == {field.field_id: other}
    product = await update(sales, root, product, **{field.field_id: None})
    assert values(product) == {}
    for bad in refused:
        reason, fields = await refusal(create(sales, root, **{field.field_id: bad}))
        assert reason == "INVALID_FIELD"
        assert fields[0].startswith(f"product.custom_fields.{field.field_id}")


async def test_an_unknown_field_is_refused_by_name(sales: ServiceUnderTest) -> None:
    """A misspelt field is never ignored; nor one of another resource."""
    root = await sales.person("*")
    field = await define(sales, root, "TEXT", resource="opportunities")
    for field_id in ("nosuch", field.field_id, "", "a b", "x" * 200):
        reason, _ = await refusal(create(sales, root, **{field_id: "x"}))
        assert reason == "INVALID_FIELD"


async def test_a_mask_names_one_field_or_all(sales: ServiceUnderTest) -> None:
    """INVARIANT: an update writes what its mask says; without one it writes what is sent."""
    root = await sales.person("*")
    a, b = [(await define(sales, root, "TEXT")).field_id for _ in range(2)]
    product = await create(sales, root, **{a: "1", b: "2"})
    assert values(await update(sales, root, product, **{a: "3"})) == {a: "3", b: "2"}
    one = await update(sales, root, product, f"custom_fields.{a}", **{a: "4", b: "ignored"})
    assert values(one) == {a: "4", b: "2"}
    cleared = await update(sales, root, product, f"custom_fields.{a}")
    assert values(cleared) == {b: "2"}
    assert values(await update(sales, root, product, "custom_fields", **{a: "5"})) == {a: "5"}
    assert values(await update(sales, root, product, "custom_fields")) == {}


FILTERS = [
    ("TEXT", {}, ["a", "b", None], [("= a", [0]), ("!= a", [1, 2]), (":*", [0, 1]), ('= "b*"', [1])]),
    ("NUMBER", {}, [0.1, 20, None], [("= 0.1", [0]), ("> 5", [1]), ("<= 20", [0, 1])]),
    ("FLAG", {}, [True, False, None], [("= true", [0]), ("!= true", [1, 2])]),
    ("DATE", {}, ["2026-01-01", "2026-06-01", None], [("> 2026-03-01", [1])]),
    ("TIME", {}, ["2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", None],
     [('< "2026-03-01T00:00:00Z"', [0])]),
    ("MONEY", {}, [{"amount": "5", "currency_code": "EUR"}, {"amount": "9", "currency_code": "USD"},
                   None], [("> 6", [1]), (".currency_code = EUR", [0])]),
    ("OPTION", {"options": OPTIONS}, ["emea", "apac", None], [("= emea", [0]), ("!= emea", [1, 2])]),
    ("OPTIONS", {"options": OPTIONS}, [["emea", "apac"], ["apac"], None],
     [(": emea", [0]), (": apac", [0, 1])]),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "more", "given", "filters"), FILTERS)
async def test_lists_are_filtered_by_custom_fields(
    sales: ServiceUnderTest,
    type_: str,
    more: dict[str, Any],
    given: list[Any],
    filters: list[tuple[str, list[int]]],
) -> None:
    """INVARIANT: a filter and its negation share the records without gap or overlap."""
    root = await sales.person("*")
    field = await define(sales, root, type_, filterable=True, **more)
    id_ = field.field_id
    created = [await create(sales, root, **({id_: v} if v is not None else {})) for v in given]
    everything = {p.name for p in created}
    for text, expected in filters:
        found = await names(sales, root, filter=f"custom_fields.{id_}{text}", page_size=1000)
        assert set(found) & everything == {created[i].name for i in expected}, text
        rest = await names(sales, root, filter=f"NOT custom_fields.{id_}{text}", page_size=1000)
        assert set(rest) & everything == everything - set(found), text


async def test_lists_are_sorted_by_a_custom_field_in_pages(sales: ServiceUnderTest) -> None:
    """INVARIANT: pages follow one another without gap or repetition; records without a value come last."""
    root = await sales.person("*")
    field = await define(sales, root, "NUMBER", filterable=True, sortable=True)
    mark = await define(sales, root, "TEXT", filterable=True)
    id_ = field.field_id
    given = [3, 1, None, 2, 1, None, 5]
    created = [
        await create(sales, root, **{mark.field_id: "x"}, **({id_: v} if v is not None else {}))
        for v in given
    ]
    for order, direction in (("", 1), (" desc", -1)):
        request = product_pb2.ListProductsRequest(
            filter=f"custom_fields.{mark.field_id} = x",
            order_by=f"custom_fields.{id_}{order}",
            page_size=2,
        )
        seen: list[str] = []
        while True:
            page = await products(sales).ListProducts(request, metadata=root.metadata)
            seen += [p.name for p in page.products]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert sorted(seen) == sorted(p.name for p in created)
        by_name = {p.name: v for p, v in zip(created, given, strict=True)}
        ordered = [by_name[n] for n in seen]
        filled = sorted((v for v in given if v is not None), reverse=direction < 0)
        assert ordered == [*filled, None, None]


async def test_only_what_is_declared_so_can_be_filtered_and_sorted(sales: ServiceUnderTest) -> None:
    """The flags can be changed at any time: every value is indexed."""
    root = await sales.person("*")
    field = await define(sales, root, "TEXT")
    product = await create(sales, root, **{field.field_id: "here"})
    name = f"custom_fields.{field.field_id}"
    assert (await refusal(names(sales, root, filter=f"{name} = here")))[0] == "INVALID_FILTER"
    assert (await refusal(names(sales, root, order_by=name)))[0] == "INVALID_ORDER_BY"
    await change(sales, root, field, filterable=True, sortable=True)
    assert await names(sales, root, filter=f"{name} = here", order_by=name) == [product.name]
    assert (await refusal(names(sales, root, filter=f"{name} > 5 AND {name}.x = 1")))[0] == (
        "INVALID_FILTER"
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


async def test_values_of_a_deleted_field_are_kept_unseen(sales: ServiceUnderTest) -> None:
    """INVARIANT: a change of the record meanwhile loses nothing; restoring the field shows them again."""
    root = await sales.person("*")
    gone, kept = [await define(sales, root, "TEXT", filterable=True) for _ in range(2)]
    product = await create(sales, root, **{gone.field_id: "old", kept.field_id: "a"})
    stub = definitions(sales)
    delete = pb.DeleteCustomFieldRequest(name=gone.name)
    await stub.DeleteCustomField(delete, metadata=root.metadata)
    assert (await refusal(stub.DeleteCustomField(delete, metadata=root.metadata)))[0] == (
        "ALREADY_DELETED"
    )
    changed = await update(sales, root, product, **{kept.field_id: "b"})
    assert values(changed) == {kept.field_id: "b"}
    assert (await refusal(update(sales, root, product, **{gone.field_id: "x"})))[0] == (
        "INVALID_FIELD"
    )
    undelete = pb.UndeleteCustomFieldRequest(name=gone.name)
    await stub.UndeleteCustomField(undelete, metadata=root.metadata)
    request = product_pb2.GetProductRequest(name=product.name)
    shown = await products(sales).GetProduct(request, metadata=root.metadata)
    assert values(shown) == {gone.field_id: "old", kept.field_id: "b"}
    listing = {"filter": f"custom_fields.{gone.field_id} = old"}
    assert await names(sales, root, **listing) == [product.name]


async def test_a_reference_is_checked(sales: ServiceUnderTest) -> None:
    """INVARIANT: it refers to a record that is there; that one is not purged meanwhile."""
    root = await sales.person("*")
    field = await define(sales, root, "REFERENCE", target="products", filterable=True)
    other = await create(sales, root)
    product = await create(sales, root, **{field.field_id: other.name})
    assert await names(sales, root, filter=f'custom_fields.{field.field_id} = "{other.name}"') == [
        product.name
    ]
    missing = create(sales, root, **{field.field_id: f"products/{uuid4()}"})
    path = f"product.custom_fields.{field.field_id}"
    assert await refusal(missing) == ("REFERENCE_NOT_FOUND", [path])
    wrong = create(sales, root, **{field.field_id: f"accounts/{uuid4()}"})
    assert (await refusal(wrong))[1] == [path]
    await products(sales).DeleteProduct(
        product_pb2.DeleteProductRequest(name=other.name), metadata=root.metadata
    )
    purge = product_pb2.PurgeProductRequest(name=other.name)
    reason, _ = await refusal(products(sales).PurgeProduct(purge, metadata=root.metadata))
    assert reason == "STILL_REFERENCED"


async def test_events_tell_only_what_is_not_personal_and_history_tells_all(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: a field is personal unless somebody says otherwise; personal values are in no event."""
    root = await sales.person("*")
    private = await define(sales, root, "TEXT")
    public = await define(sales, root, "TEXT", personal=False)
    product = await create(sales, root, **{private.field_id: "secret", public.field_id: "a"})
    await update(sales, root, product, **{private.field_id: "hidden", public.field_id: "b"})
    created, updated = await sales.events(product.name, count=2)
    assert values(created.message.product)[public.field_id] == "a"
    assert values(updated.message.product)[public.field_id] == "b"
    assert f"custom_fields.{public.field_id}" in updated.message.changed_fields
    assert b"secret" not in created.wire.payload
    assert b"hidden" not in updated.wire.payload
    request = ListRevisionsRequest(parent=product.name)
    page = await products(sales).ListRevisions(request, metadata=root.metadata)
    changed = {c.field: c for c in page.revisions[0].changes}
    change_ = changed[f"custom_fields.{private.field_id}"]
    assert (change_.old_value.string_value, change_.new_value.string_value) == ("secret", "hidden")


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


async def test_purging_a_record_takes_its_values_along(sales: ServiceUnderTest) -> None:
    """INVARIANT: nothing is left, so a unique value is free again."""
    root = await sales.person("*")
    field = await define(sales, root, "TEXT", unique=True)
    product = await create(sales, root, **{field.field_id: "one"})
    stub = products(sales)
    await stub.DeleteProduct(
        product_pb2.DeleteProductRequest(name=product.name), metadata=root.metadata
    )
    assert (await refusal(create(sales, root, **{field.field_id: "one"})))[0] == "ALREADY_EXISTS"
    await stub.PurgeProduct(
        product_pb2.PurgeProductRequest(name=product.name), metadata=root.metadata
    )
    left = compile_statement(sa.text("SELECT 1 FROM custom_field_value WHERE record = :id"))
    assert await sales.database.fetch_all(left, {"id": UUID(product.uid)}) == []
    await create(sales, root, **{field.field_id: "one"})
