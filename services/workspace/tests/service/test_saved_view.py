"""Saved views over gRPC: who sees which, and what cannot be saved."""

from collections.abc import Iterable
from typing import Any

import grpc
import pytest

from crm.common.v1 import event_pb2
from crm.workspace.v1 import event_pb2_grpc, saved_view_pb2, saved_view_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

View = saved_view_pb2.SavedView
ALL = "workspace.*"
OWN = ("workspace.*", "OWN")


def stub(workspace: ServiceUnderTest) -> Any:
    return saved_view_pb2_grpc.SavedViewServiceStub(workspace.channel)


async def create(workspace: ServiceUnderTest, person: Person, **fields: Any) -> Any:
    view = View(**{"resource": "opportunities", "display_name": "Mine", **fields})
    request = saved_view_pb2.CreateSavedViewRequest(saved_view=view)
    return await stub(workspace).CreateSavedView(request, metadata=person.metadata)


async def seen(workspace: ServiceUnderTest, person: Person, **request: Any) -> set[str]:
    """The names that a person is shown; the same by Get, List and BatchGet."""
    listing = saved_view_pb2.ListSavedViewsRequest(page_size=1000, **request)
    listed = await stub(workspace).ListSavedViews(listing, metadata=person.metadata)
    return {view.name for view in listed.saved_views}


async def found_one_by_one(
    workspace: ServiceUnderTest, person: Person, names: Iterable[str]
) -> set[str]:
    found = set()
    for name in names:
        try:
            get = saved_view_pb2.GetSavedViewRequest(name=name)
            await stub(workspace).GetSavedView(get, metadata=person.metadata)
            batch = saved_view_pb2.BatchGetSavedViewsRequest(names=[name])
            await stub(workspace).BatchGetSavedViews(batch, metadata=person.metadata)
            found.add(name)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
    return found


async def test_a_view_starts_private_as_a_table(workspace: ServiceUnderTest) -> None:
    """What is not said has the contract's defaults; its event has neither name nor filter."""
    ada = await workspace.person(OWN)
    view = await create(
        workspace,
        ada,
        filter='amount > 1000 AND state = OPEN AND display_name : "Big"',
        order_by="close_time desc, display_name",
        columns=["display_name", "amount.currency_code"],
    )
    assert (view.layout, view.density, view.visibility) == (
        View.TABLE,
        View.COMFORTABLE,
        View.PRIVATE,
    )
    (event,) = await workspace.events(view.name)
    assert event.routing_key == "workspace.saved_view.created"
    published = event.message.saved_view
    assert (published.display_name, published.filter) == ("", "")
    assert published.order_by == "close_time desc, display_name"


async def test_a_view_is_not_filtered_by_what_is_hidden(workspace: ServiceUnderTest) -> None:
    """INVARIANT: to a view a hidden field is an unknown one, as it is to the list."""
    lists = ("marketing.campaigns.list", "ALL")
    bob = await workspace.person(OWN, lists)
    ada = await workspace.person(OWN, lists, ("marketing.campaigns.read_sensitive", "ALL"))
    texts = {}
    for field in ("budget", "badget"):
        for name, text in (("filter", f"{field} > 1"), ("order_by", field)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await create(workspace, bob, resource="campaigns", **{name: text})
            texts[field, name] = str(refused.value.details()).replace(field, "…")
    for name in ("filter", "order_by"):
        assert texts["budget", name] == texts["badget", name]
    view = await create(
        workspace, ada, resource="campaigns", filter="budget > 1", order_by="budget"
    )
    assert (view.filter, view.order_by) == ("budget > 1", "budget")


async def test_who_sees_which_view(workspace: ServiceUnderTest) -> None:
    """INVARIANT: a private view is its owner's, whatever others' roles; List, Get and BatchGet agree.

    Broken by a list that forgets the condition, or by a role that reaches everything.
    """
    team, other_team = await workspace.team(), await workspace.team()
    below = await workspace.team(parent=team)
    ada = await workspace.person(OWN, team=team)
    views = {
        v: (await create(workspace, ada, visibility=v)).name
        for v in (View.PRIVATE, View.TEAM, View.PUBLIC)
    }
    private, for_team, public = views[View.PRIVATE], views[View.TEAM], views[View.PUBLIC]
    below_ada = await workspace.person(OWN, team=below)
    mate, stranger = (
        await workspace.person(OWN, team=team),
        await workspace.person(OWN, team=other_team),
    )
    above = await workspace.team()
    boss = await workspace.person(("workspace.*", "SUBTREE"), team=team)
    unrelated_boss = await workspace.person(("workspace.*", "SUBTREE"), team=above)
    expected = {
        ada: {private, for_team, public},
        mate: {for_team, public},
        stranger: {public},
        below_ada: {public},
        boss: {for_team, public},
        unrelated_boss: {public},
        await workspace.person(ALL): {for_team, public},
    }
    for person, names in expected.items():
        assert await seen(workspace, person) & set(views.values()) == names
        assert await found_one_by_one(workspace, person, views.values()) == names


async def test_events_of_views_reach_their_owner_only(workspace: ServiceUnderTest) -> None:
    """INVARIANT: not even a role for everything reads of other people's views in the events."""
    ada, admin = await workspace.person(OWN), await workspace.person("*")
    view = await create(workspace, ada)
    await workspace.events(view.name)
    events = event_pb2_grpc.EventServiceStub(workspace.channel)
    request = event_pb2.ListEventsRequest(subject=view.name)
    for person, count in ((ada, 1), (admin, 0)):
        listed = await events.ListEvents(request, metadata=person.metadata)
        assert len(listed.events) == count


async def test_only_whoever_it_reaches_changes_a_view(workspace: ServiceUnderTest) -> None:
    """A public view that somebody may see is refused with a reason; a private one is not there."""
    ada, bob = await workspace.person(OWN), await workspace.person(OWN)
    admin = await workspace.person(ALL)
    public = await create(workspace, ada, visibility=View.PUBLIC)
    private = await create(workspace, ada)

    async def rename(person: Person, name: str) -> Any:
        request = saved_view_pb2.UpdateSavedViewRequest(
            saved_view=View(name=name, display_name="New")
        )
        return await stub(workspace).UpdateSavedView(request, metadata=person.metadata)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rename(bob, public.name)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert details_of(refused.value)["reason"] == "NOT_YOUR_VIEW"
    assert (await rename(admin, public.name)).display_name == "New"
    for person in (bob, admin):
        with pytest.raises(grpc.aio.AioRpcError) as hidden:
            await rename(person, private.name)
        assert hidden.value.code() == grpc.StatusCode.NOT_FOUND
    assert (await rename(ada, private.name)).etag == '"2"'


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"resource": "passwords"}, "resource", "UNKNOWN_RESOURCE"),
        ({"filter": "OR 1=1)--"}, "filter", "INVALID_FILTER"),
        ({"filter": "password_hash = 'x'"}, "filter", "INVALID_FILTER"),
        ({"filter": "amount > much"}, "filter", "INVALID_FILTER"),
        ({"filter": "!!python/object/apply:os.system ['id']"}, "filter", "INVALID_FILTER"),
        ({"filter": "(" * 200 + "state = OPEN" + ")" * 200}, "filter", "INVALID_FILTER"),
        ({"order_by": "amount;select pg_sleep(5)"}, "order_by", "INVALID_ORDER_BY"),
        ({"order_by": "labels"}, "order_by", "INVALID_ORDER_BY"),
        ({"columns": ["display_name", "owner.token"]}, "columns[1]", "UNKNOWN_COLUMN"),
        ({"columns": ["amount", "amount"]}, "columns", "INVALID_FIELD"),
        ({"visibility": View.TEAM}, "visibility", "TEAM_NEEDED"),
    ],
)  # fmt: skip
async def test_what_cannot_be_saved_is_refused_and_named(
    workspace: ServiceUnderTest, fields: dict[str, Any], field: str, reason: str
) -> None:
    """INVARIANT: a saved view holds nothing that its resource does not know; nothing is stored."""
    ada = await workspace.person(OWN)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(workspace, ada, **fields)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(refused.value)
    assert (details["fields"], details["reason"]) == ([f"saved_view.{field}"], reason)
    assert not await seen(workspace, ada, filter=f'owner = "{ada.name}"')


async def test_custom_fields_are_left_to_the_owning_service(workspace: ServiceUnderTest) -> None:
    """Their definitions lie elsewhere; a view may filter by them, sort by them and show them."""
    ada = await workspace.person(OWN)
    view = await create(
        workspace, ada, filter='custom_fields.region = "north"', order_by="custom_fields.region desc",
        columns=["custom_fields.region", "labels.tier"],
    )  # fmt: skip
    assert view.columns[0] == "custom_fields.region"


async def test_everyone_has_one_default_for_a_resource(workspace: ServiceUnderTest) -> None:
    """Choosing another one ends the one before; it is the caller's and changes nobody else's."""
    ada, bob = await workspace.person(OWN), await workspace.person(OWN)
    first, second = [await create(workspace, ada, visibility=View.PUBLIC) for _ in range(2)]

    async def chosen(person: Person) -> list[str]:
        listing = saved_view_pb2.ListSavedViewsRequest(filter=f'owner = "{ada.name}"')
        listed = await stub(workspace).ListSavedViews(listing, metadata=person.metadata)
        return [v.name for v in listed.saved_views if v.default_for_caller]

    for view in (first, second):
        request = saved_view_pb2.ChooseSavedViewRequest(name=view.name)
        answer = await stub(workspace).ChooseSavedView(request, metadata=bob.metadata)
        assert answer.default_for_caller
    assert (await chosen(bob), await chosen(ada)) == ([second.name], [])
    unchoose = saved_view_pb2.UnchooseSavedViewRequest(name=second.name)
    await stub(workspace).UnchooseSavedView(unchoose, metadata=bob.metadata)
    assert await chosen(bob) == []


async def test_views_are_paged_in_their_order(workspace: ServiceUnderTest) -> None:
    """The condition of visibility holds on every page."""
    ada, bob = await workspace.person(OWN), await workspace.person(OWN)
    for position in (3, 1, 2):
        await create(workspace, ada, position=position)
        await create(workspace, bob, position=position)
    token, found = "", []
    while True:
        request = saved_view_pb2.ListSavedViewsRequest(
            page_size=1, order_by="position", page_token=token, filter=f'owner = "{ada.name}"'
        )
        page = await stub(workspace).ListSavedViews(request, metadata=ada.metadata)
        found += [view.position for view in page.saved_views]
        token = page.next_page_token
        if not token:
            break
    assert found == [1, 2, 3]
