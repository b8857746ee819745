"""The organisation's settings over gRPC."""

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from crm.identity.v1 import organization_pb2 as pb
from crm.identity.v1.organization_pb2_grpc import OrganizationServiceStub
from crmkit.testing.harness import details_of
from crmkit.testing.polling import eventually

if TYPE_CHECKING:
    from conftest import Identity


def stub(identity: "Identity") -> Any:
    return OrganizationServiceStub(identity.under_test.channel)  # type: ignore[no-untyped-call]


async def read(identity: "Identity", metadata: Any) -> pb.Organization:
    found: pb.Organization = await stub(identity).GetOrganization(
        pb.GetOrganizationRequest(), metadata=metadata
    )
    return found


async def change(
    identity: "Identity", metadata: Any, *paths: str, **values: Any
) -> pb.Organization:
    request = pb.UpdateOrganizationRequest(
        organization=pb.Organization(**values), update_mask=FieldMask(paths=paths)
    )
    changed: pb.Organization = await stub(identity).UpdateOrganization(request, metadata=metadata)
    return changed


async def test_there_is_one_from_the_first_start_and_everybody_may_read_it(
    identity: "Identity",
) -> None:
    """INVARIANT: somebody without any role knows in which zone and language to show things."""
    person = await identity.person()
    found = await read(identity, person.metadata)
    assert (found.name, found.time_zone, found.trash_retention_days) == ("organization", "UTC", 30)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(identity).GetOrganization(pb.GetOrganizationRequest())
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_change_is_published_and_known_to_every_call(identity: "Identity") -> None:
    """INVARIANT: the settings a call has are those that were set last."""
    admin = await identity.administrator()
    changed = await change(
        identity, admin.metadata, time_zone="Asia/Shanghai", brand_colors={"primary": "#1A5FB4"}
    )
    assert changed.time_zone == "Asia/Shanghai"
    assert changed == await read(identity, admin.metadata)
    events = await identity.under_test.events("organization", count=2)
    assert [event.routing_key for event in events][:2] == [
        "identity.organization.created", "identity.organization.updated",
    ]  # fmt: skip
    assert list(events[1].message.changed_fields) == ["brand_colors", "time_zone"]

    async def known() -> bool:
        return identity.rights.organization.time_zone == "Asia/Shanghai"

    await eventually(known)
    await change(identity, admin.metadata, "time_zone", time_zone="UTC")


async def test_a_cleared_setting_is_that_of_a_new_installation(identity: "Identity") -> None:
    admin = await identity.administrator()
    await change(identity, admin.metadata, trash_retention_days=90)
    changed = await change(identity, admin.metadata, "trash_retention_days")
    assert changed.trash_retention_days == 30


async def test_the_settings_are_changed_with_the_permission_only(identity: "Identity") -> None:
    person = await identity.person(("identity.users.*", "ALL"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await change(identity, person.metadata, time_zone="Europe/Berlin")
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("paths", "values", "code", "reason", "field"),
    [
        ([], {"time_zone": "Nowhere"}, "INVALID_ARGUMENT", "UNKNOWN_TIME_ZONE", "time_zone"),
        ([], {"fiscal_year_start_month": 13}, "INVALID_ARGUMENT", "INVALID_FIELD", "fiscal_year_start_month"),
        (["colour"], {}, "INVALID_ARGUMENT", None, None),
        ([], {"etag": '"999"', "legal_name": "X"}, "ABORTED", "ETAG_MISMATCH", None),
    ],
)  # fmt: skip
async def test_a_fault_is_named(
    identity: "Identity",
    paths: list[str],
    values: dict[str, Any],
    code: str,
    reason: str | None,
    field: str | None,
) -> None:
    admin = await identity.administrator()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await change(identity, admin.metadata, *paths, **values)
    details = details_of(refused.value)
    assert refused.value.code().name == code
    assert reason in {None, details["reason"]}
    assert field is None or details["fields"] == [f"organization.{field}"]
