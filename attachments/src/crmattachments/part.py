"""What attachments add to a service: a gRPC service, and the job that removes files."""

from crmattachments.service import AttachmentService
from crmkit.children.attached_files import REMOVAL_JOB
from crmkit.service import Part, Service


def attachments(service: Service) -> Part:
    """Attachments of the records of the service's own collections."""
    servicer = AttachmentService({c.name: c for c in service.collections})
    return Part(
        servicers={f"crm.{service.name}.v1.AttachmentService": servicer},
        jobs={REMOVAL_JOB: servicer.remove},
    )
