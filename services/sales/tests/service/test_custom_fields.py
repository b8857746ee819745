"""Values of custom fields over gRPC, shown with products: what they may be, filters, order, history."""

from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from crm.common.v1 import custom_field_pb2 as pb
from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.sales.v1 import product_pb2
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest

from .custom_fields import (
    OPTIONS,
    change,
    create,
    define,
    definitions,
    products,
    refusal,
    update,
    values,
)


async def names(sales: ServiceUnderTest, person: Person, **listing: Any) -> list[str]:
    request = product_pb2.ListProductsRequest(**listing)
    page = await products(sales).ListProducts(request, metadata=person.metadata)
    return [p.name for p in page.products]


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
