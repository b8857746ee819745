"""OrganizationService: one record that everybody reads, and its logo, which anyone may see."""

import asyncio
import hashlib

from google.api import httpbody_pb2

from crm.common.v1 import revision_pb2
from crm.identity.v1 import organization_pb2 as pb
from crmkit import revisions
from crmkit.call import Call
from crmkit.errors import NotFound
from crmkit.fieldmask import masked_fields
from crmkit.resources import set_field
from identity.domain.organization import ORGANIZATION_ID, Organization
from identity.storage.logo import delete_logo, put_logo, the_logo
from identity.storage.organization import ORGANIZATION, the_organization
from identity.usecases.picture import as_png

_LOGO_PIXELS = 1024  # a side
_FOR_EVER = "public, max-age=31536000, immutable"
_FOR_A_WHILE = "public, max-age=300"
# It is shown by pages of other origins, and is nothing but a picture in any of them.
_LOGO_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cross-origin-resource-policy", "cross-origin"),
)


class OrganizationService:
    """The organisation's settings."""

    def __init__(self) -> None:
        self._one_picture = asyncio.Lock()

    async def GetOrganization(
        self, request: pb.GetOrganizationRequest, call: Call
    ) -> pb.Organization:
        """The settings."""
        return _message(await the_organization(call.reader))

    async def UpdateOrganization(
        self, request: pb.UpdateOrganizationRequest, call: Call
    ) -> pb.Organization:
        """Changes the settings."""
        given, codec = request.organization, ORGANIZATION.codec
        names = masked_fields(request.update_mask.paths, given, codec.writable)
        values = codec.read(given, names)
        settings = await ORGANIZATION.for_change(call, ORGANIZATION_ID, given.etag)
        for name, value in values.items():
            set_field(ORGANIZATION, settings, name, value)
        return _message(await ORGANIZATION.save(call, settings))

    async def UploadLogo(self, request: pb.UploadLogoRequest, call: Call) -> pb.Organization:
        """Keeps a picture as the logo."""
        content = request.image.data
        async with self._one_picture:
            png = await asyncio.to_thread(
                as_png, content, most_pixels_a_side=_LOGO_PIXELS, field="image"
            )
        digest = hashlib.sha256(png).hexdigest()[:32]
        settings = await ORGANIZATION.for_change(call, ORGANIZATION_ID, request.etag)
        await put_logo(call.tx, digest, png)
        settings.show_logo(digest)
        return _message(await ORGANIZATION.save(call, settings))

    async def RemoveLogo(self, request: pb.RemoveLogoRequest, call: Call) -> pb.Organization:
        """There is none any more."""
        settings = await ORGANIZATION.for_change(call, ORGANIZATION_ID, request.etag)
        await delete_logo(call.tx)
        settings.logo_uri = None
        return _message(await ORGANIZATION.save(call, settings))

    async def GetLogo(self, request: pb.GetLogoRequest, call: Call) -> httpbody_pb2.HttpBody:
        """The logo, with how long it may be kept."""
        found = await the_logo(call.reader)
        if found is None:
            msg = "There is no logo."
            raise NotFound(msg, metadata={"resource": "organization/logo"})
        digest, png = found
        kept = _FOR_EVER if request.digest == digest else _FOR_A_WHILE
        call.response_headers += [("cache-control", kept), *_LOGO_HEADERS]
        return httpbody_pb2.HttpBody(content_type="image/png", data=png)

    async def ListRevisions(
        self, request: revision_pb2.ListRevisionsRequest, call: Call
    ) -> revision_pb2.ListRevisionsResponse:
        """The history of the settings."""
        if request.parent != ORGANIZATION.name:
            raise ORGANIZATION.not_found(request.parent)
        return await revisions.page(call, ORGANIZATION.codec, ORGANIZATION_ID, request)


def _message(settings: Organization) -> pb.Organization:
    message: pb.Organization = ORGANIZATION.message(settings)
    return message
