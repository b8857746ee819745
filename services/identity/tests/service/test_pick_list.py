"""Pick lists over gRPC, and what they learn from other services' events."""

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from crm.customer.v1.account_pb2 import Account, AccountCreated
from crm.identity.v1 import pick_list_pb2 as pb
from crm.identity.v1.pick_list_pb2_grpc import PickListServiceStub
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.testing.harness import details_of
from crmkit.testing.polling import eventually
from identity.messaging.consumed import HANDLERS

if TYPE_CHECKING:
    from conftest import Identity


def stub(identity: "Identity") -> Any:
    return PickListServiceStub(identity.under_test.channel)  # type: ignore[no-untyped-call]


async def by_key(identity: "Identity", key: str) -> pb.PickList:
    person = await identity.person(("identity.pickLists.list", "ALL"))
    page = await stub(identity).ListPickLists(
        pb.ListPickListsRequest(filter=f'key = "{key}"'), metadata=person.metadata
    )
    found: pb.PickList = page.pick_lists[0]
    return found


async def test_every_installation_has_the_same_lists(identity: "Identity") -> None:
    """Every service knows them, so that a value can be checked."""
    reasons = await by_key(identity, "lost_reason")
    assert (reasons.open, reasons.built_in) == (False, True)
    assert "price" in {entry.id for entry in reasons.entries}

    async def known() -> bool:
        return {
            "industry",
            "source",
            "lost_reason",
            "ticket_category",
            "remedy",
            "job_role",
            "consent_purpose",
        } <= set(identity.rights.pick_lists)

    await eventually(known)


async def test_an_entry_is_renamed_and_retired_but_not_removed(identity: "Identity") -> None:
    admin = await identity.administrator()
    remedies = await by_key(identity, "remedy")
    remedies.entries[0].labels["de"] = "Reparatur"
    remedies.entries[1].retired = True
    changed = await stub(identity).UpdatePickList(
        pb.UpdatePickListRequest(pick_list=remedies), metadata=admin.metadata
    )
    assert list(changed.entries) == list(remedies.entries)
    without = pb.PickList(name=changed.name, entries=changed.entries[1:])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(identity).UpdatePickList(
            pb.UpdatePickListRequest(pick_list=without), metadata=admin.metadata
        )
    assert details_of(refused.value)["reason"] == "ENTRY_REMOVED"


async def test_a_key_is_unique_and_stays(identity: "Identity") -> None:
    admin = await identity.administrator()
    create = stub(identity).CreatePickList
    region = pb.PickList(key="region", display_name="Region", entries=[{"id": "emea"}])
    made = await create(pb.CreatePickListRequest(pick_list=region), metadata=admin.metadata)
    with pytest.raises(grpc.aio.AioRpcError) as taken:
        await create(pb.CreatePickListRequest(pick_list=region), metadata=admin.metadata)
    assert taken.value.code() == grpc.StatusCode.ALREADY_EXISTS
    other = pb.PickList(name=made.name, key="zone")
    with pytest.raises(grpc.aio.AioRpcError) as moved:
        await stub(identity).UpdatePickList(
            pb.UpdatePickListRequest(pick_list=other), metadata=admin.metadata
        )
    assert details_of(moved.value)["reason"] == "IMMUTABLE_FIELD"


class Heard:
    """An event of customer as identity's handlers get it."""

    routing_key = "customer.account.created"

    def __init__(self, industry: str) -> None:
        self.message = AccountCreated(account=Account(industry=industry))


async def test_an_open_list_takes_up_what_records_have(identity: "Identity") -> None:
    """INVARIANT: once, however often and from wherever it is heard; what it has stays as it is."""
    home = identity.under_test.running.home
    before = await by_key(identity, "industry")
    for industry in ("Beekeeping", "Beekeeping", "beekeeping", "Retail", ""):
        async with home.database.transaction() as tx:
            call = new_call(home, service_principal("identity"), tx)
            await HANDLERS["customer.account.*"](Heard(industry), call)  # type: ignore[arg-type]
    after = await by_key(identity, "industry")
    assert list(after.entries[:-1]) == list(before.entries)
    assert after.entries[-1] == pb.PickList.Entry(id="Beekeeping", labels={"en": "Beekeeping"})
