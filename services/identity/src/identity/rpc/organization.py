"""OrganizationService: one record that everybody reads."""

from crm.common.v1 import revision_pb2
from crm.identity.v1 import organization_pb2 as pb
from crmkit import revisions
from crmkit.call import Call
from crmkit.fieldmask import masked_fields
from crmkit.resources import set_field
from identity.domain.organization import ORGANIZATION_ID, Organization
from identity.storage.organization import ORGANIZATION, the_organization


class OrganizationService:
    """The organisation's settings."""

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
