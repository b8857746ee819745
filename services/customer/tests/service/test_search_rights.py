"""What a search shows to whom: permissions, record scope, sharing, hidden fields, custom fields."""

from typing import Any

import grpc
import pytest

from crm.common.v1 import custom_field_pb2
from crm.common.v1.collaborator_pb2 import Collaborator, CreateCollaboratorRequest
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    collaborator_pb2_grpc,
    custom_field_pb2_grpc,
    customer_pool_pb2,
    customer_pool_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from customer.storage import search_query

from .searching import account, contact, found, search

SEARCH = "customer.records.search"


async def refused(customer: ServiceUnderTest, person: Person, query: str, **fields: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await search(customer, person, query, **fields)
    return error.value


async def test_searching_needs_its_permission_and_one_to_list(customer: ServiceUnderTest) -> None:
    """A kind that the caller may not list is left out; who may list none is refused."""
    ada = await customer.person("customer.*")
    firm = await account(customer, ada, display_name="Permitted Firm")
    await contact(customer, ada, display_name="Permitted Person")
    lists = await customer.person("customer.accounts.list", "customer.contacts.list")
    error = await refused(customer, lists, "permitted")
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert details_of(error)["metadata"]["permission"] == SEARCH
    nothing = await customer.person(SEARCH)
    assert (
        await refused(customer, nothing, "permitted")
    ).code() == grpc.StatusCode.PERMISSION_DENIED
    firms_only = await customer.person(SEARCH, "customer.accounts.list")
    assert await found(customer, firms_only, "permitted") == [firm]
    error = await refused(customer, firms_only, "permitted", kinds=["contacts"])
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_the_kinds_asked_for_are_searched(customer: ServiceUnderTest) -> None:
    own = await customer.person(("customer.*", "OWN"))
    firm = await account(customer, own, display_name="Kindly Firm")
    person = await contact(customer, own, display_name="Kindly Person")
    assert await found(customer, own, "kindly", kinds=["accounts"]) == [firm]
    assert await found(customer, own, "kindly", kinds=["contacts"]) == [person]
    assert set(await found(customer, own, "kindly")) == {firm, person}
    error = await refused(customer, own, "kindly", kinds=["accounts", "tasks"])
    assert details_of(error)["fields"] == ["kinds[1]"]


@pytest.mark.parametrize("few", [5_000, 0])
async def test_records_out_of_scope_take_no_places(
    customer: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """INVARIANT: what somebody may not see changes neither their results nor scores and order.

    Both ways are taken: through the records of who sees few, and through all for who sees many.
    """
    monkeypatch.setattr(search_query, "_FEW", few)
    search_query._count.cache_clear()
    other = await customer.person(("customer.*", "OWN"))
    own = await customer.person(("customer.*", "OWN"))
    prefix = "Crowdfew" if few else "Crowdmany"
    mine = [await contact(customer, own, display_name=f"{prefix} Zz {n}") for n in range(3)]
    alone = await search(customer, own, prefix)
    for number in range(search_query.MOST + 20):
        await contact(customer, other, display_name=f"{prefix} Aa {number}")
    for query in (prefix, prefix.lower()[:4], f"{prefix} zz", "zz", f"{prefix[:-1]}x zz"):
        assert set(await found(customer, own, query)) >= set(mine), query
        assert set(await found(customer, own, query, page_size=200)) <= set(mine) | set(
            await found(customer, own, "crowd", page_size=200)
        )
    assert await search(customer, own, prefix) == alone
    search_query._count.cache_clear()


async def test_a_team_and_those_with_whom_a_record_is_shared_find_it(
    customer: ServiceUnderTest,
) -> None:
    team = await customer.team()
    below = await customer.team(team)
    boss = await customer.person(("customer.*", "SUBTREE"), team=team)
    mate = await customer.person(("customer.*", "TEAM"), team=below)
    ada = await customer.person(("customer.*", "OWN"), team=below)
    bob = await customer.person(("customer.*", "OWN"))
    name = await contact(customer, ada, display_name="Teamwork Target")
    for person, expected in ((ada, [name]), (mate, [name]), (boss, [name]), (bob, [])):
        assert await found(customer, person, "teamwork") == expected
    await collaborator_pb2_grpc.CollaboratorServiceStub(customer.channel).CreateCollaborator(
        CreateCollaboratorRequest(
            parent=name, collaborator=Collaborator(user=bob.name, access=Collaborator.READ)
        ),
        metadata=ada.metadata,
    )
    assert await found(customer, bob, "teamwork") == [name]
    assert await found(customer, bob, "teamwrok") == [name]


async def test_who_may_claim_from_a_pool_finds_what_waits_in_it(
    customer: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: a search finds what a list shows: in pools of one's teams, before and after it is claimed;
    its tax id stays hidden. Strangers find nothing."""
    boss = await customer.person("*")
    own = ("customer.*", "OWN"), ("customer.accounts.read_sensitive", "OWN")
    sales = await customer.team()
    member = await customer.person(*own, team=await customer.team(sales))
    other, stranger = await customer.person(*own, team=sales), await customer.person(*own)
    firm = await account(customer, boss, display_name="Poolside Widgets", tax_id="XX90210333")
    pools: Any = customer_pool_pb2_grpc.CustomerPoolServiceStub(customer.channel)
    accounts: Any = account_pb2_grpc.AccountServiceStub(customer.channel)
    wanted = customer_pool_pb2.CustomerPool(display_name="Poolside", teams=[f"teams/{sales}"])
    create = customer_pool_pb2.CreateCustomerPoolRequest(customer_pool=wanted)
    pool = (await pools.CreateCustomerPool(create, metadata=boss.metadata)).name
    assert await found(customer, member, "poolside widgets") == []
    give = account_pb2.ReleaseAccountToPoolRequest(name=firm, pool=pool)
    await accounts.ReleaseAccountToPool(give, metadata=boss.metadata)
    for few in (5_000, 0):  # looked through, or found on the way
        monkeypatch.setattr(search_query, "_FEW", few)
        search_query._count.cache_clear()
        for query in ("poolside widgets", "widg pools", "poolsdie widgets"):
            assert await found(customer, member, query) == [firm], query
            assert await found(customer, stranger, query) == [], query
        assert await found(customer, member, "XX90210333") == []
    search_query._count.cache_clear()
    claim = account_pb2.ClaimAccountRequest(name=firm)
    await accounts.ClaimAccount(claim, metadata=member.metadata)
    assert await found(customer, member, "poolside widgets") == [firm]
    assert await found(customer, other, "poolside widgets") == []


async def test_a_hidden_field_neither_finds_nor_shows(customer: ServiceUnderTest) -> None:
    """INVARIANT: who may not read a tax id learns nothing of it, not even that a record has one like it."""
    owner = await customer.person(
        ("customer.*", "OWN"), ("customer.accounts.read_sensitive", "OWN")
    )
    firm = await account(customer, owner, display_name="Hidden 77123 GmbH", tax_id="XX77123456")
    (seen,) = (await search(customer, owner, "XX77123456")).results
    assert (seen.record, seen.matches[0].field) == (firm, "tax_id")
    blind = await customer.person("customer.accounts.list", SEARCH)
    other = await customer.person(
        "customer.accounts.list", SEARCH, ("customer.accounts.read_sensitive", "OWN")
    )
    for person in (blind, other):
        for query in ("XX77123456", "XX7712", "xx 77 123 456", "77123456"):
            assert await found(customer, person, query) == [], query
        (result,) = (await search(customer, person, "hidden 77123")).results
        assert [match.field for match in result.matches] == ["display_name"]


async def test_custom_fields_are_searched_while_they_can_be_filtered(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a field that is not filterable, or is gone, finds nothing."""
    ada = await customer.person("customer.*")
    stub: Any = custom_field_pb2_grpc.CustomFieldServiceStub(customer.channel)

    async def define(field_id: str, *, filterable: bool) -> str:
        field = custom_field_pb2.CustomField(
            resource="contacts", field_id=field_id, display_name=field_id, filterable=filterable,
            type=custom_field_pb2.CustomField.TEXT,
        )  # fmt: skip
        request = custom_field_pb2.CreateCustomFieldRequest(custom_field=field)
        return str((await stub.CreateCustomField(request, metadata=ada.metadata)).name)

    contract = await define("contract_no", filterable=True)
    await define("secret_note", filterable=False)
    values = {"contract_no": "Vertrag V-9001", "secret_note": "N-9002"}
    name = await contact(customer, ada, display_name="Customised", custom_fields=values)
    for query in ("vertrag v9", "V-9001", "Vertrag V-9001"):
        (result,) = (await search(customer, ada, query)).results
        assert (result.record, result.matches[0].field) == (name, "custom_fields.contract_no")
    assert await found(customer, ada, "N-9002") == []
    request = custom_field_pb2.DeleteCustomFieldRequest(name=contract)
    await stub.DeleteCustomField(request, metadata=ada.metadata)
    assert await found(customer, ada, "Vertrag V-9001") == []
