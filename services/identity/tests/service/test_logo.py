"""The organisation's logo over gRPC."""

import io
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from PIL import Image

from crm.identity.v1 import organization_pb2 as pb
from crm.identity.v1.organization_pb2_grpc import OrganizationServiceStub
from crmkit.testing.harness import details_of

if TYPE_CHECKING:
    from conftest import Identity


def stub(identity: "Identity") -> Any:
    return OrganizationServiceStub(identity.under_test.channel)  # type: ignore[no-untyped-call]


def picture(color: str) -> bytes:
    output = io.BytesIO()
    Image.new("RGB", (30, 20), color).save(output, "JPEG")
    return output.getvalue()


async def upload(
    identity: "Identity", metadata: Any, content: bytes, **fields: str
) -> pb.Organization:
    request = pb.UploadLogoRequest(image={"data": content, "content_type": "text/html"}, **fields)
    answer: pb.Organization = await stub(identity).UploadLogo(request, metadata=metadata)
    return answer


async def shown(identity: "Identity", digest: str = "") -> tuple[dict[str, Any], Any]:
    """What a stranger gets: the headers and the body."""
    call = stub(identity).GetLogo(pb.GetLogoRequest(digest=digest))
    body = await call
    return dict(await call.initial_metadata()), body


async def test_a_logo_is_set_shown_to_anyone_replaced_and_removed(identity: "Identity") -> None:
    """INVARIANT: an address that is kept for ever shows one picture for ever."""
    admin = await identity.administrator()
    first = await upload(identity, admin.metadata, picture("red"))
    second = await upload(identity, admin.metadata, picture("blue"))
    digests = [o.logo_uri.removeprefix("/v1/organization/logo?digest=") for o in (first, second)]
    assert digests[0] != digests[1]
    headers, body = await shown(identity, digests[1])
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert body.content_type == "image/png"
    assert Image.open(io.BytesIO(body.data), formats=["PNG"]).size == (30, 20)
    for other in (digests[0], ""):
        headers, _ = await shown(identity, other)
        assert headers["cache-control"] == "public, max-age=300"
    gone = await stub(identity).RemoveLogo(pb.RemoveLogoRequest(), metadata=admin.metadata)
    assert not gone.HasField("logo_uri")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shown(identity)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    events = await identity.under_test.events("organization", count=4)
    assert [list(e.message.changed_fields) for e in events[-3:]] == [["logo_uri"]] * 3


async def test_the_same_picture_again_changes_nothing(identity: "Identity") -> None:
    admin = await identity.administrator()
    first = await upload(identity, admin.metadata, picture("green"))
    again = await upload(identity, admin.metadata, picture("green"), etag=first.etag)
    assert again == first
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await upload(identity, admin.metadata, picture("white"), etag='"999"')
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"


async def test_only_who_may_change_the_settings_sets_a_logo(identity: "Identity") -> None:
    person = await identity.person()
    for work in (
        upload(identity, person.metadata, picture("red")),
        stub(identity).RemoveLogo(pb.RemoveLogoRequest(), metadata=person.metadata),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await work
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_a_logo_is_not_set_by_its_address(identity: "Identity") -> None:
    """INVARIANT: no address of elsewhere is ever shown or fetched."""
    admin = await identity.administrator()
    request = pb.UpdateOrganizationRequest(
        organization=pb.Organization(logo_uri="https://evil.example/x.png")
    )
    changed = await stub(identity).UpdateOrganization(request, metadata=admin.metadata)
    assert "evil" not in changed.logo_uri


async def test_what_is_no_picture_is_refused_with_its_field(identity: "Identity") -> None:
    admin = await identity.administrator()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await upload(identity, admin.metadata, b"<svg onload='alert(1)'/>")
    details = details_of(refused.value)
    assert (details["reason"], details["fields"]) == ("UNREADABLE_PICTURE", ["image"])
