"""What attachments add to a service: two gRPC services, and the jobs that remove files and tell of time."""

from crmattachments.adding import Files
from crmattachments.document_service import DocumentService
from crmattachments.documents import EXPIRY_JOB
from crmattachments.personal import FilesOfPeople
from crmattachments.service import AttachmentService
from crmkit.children.attached_files import REMOVAL_JOB
from crmkit.service import Part, Service


def attachments(service: Service) -> Part:
    """Attachments of the records of the service's own collections, as versions of documents."""
    collections, files = {c.name: c for c in service.collections}, Files()
    of_files, of_documents = (
        AttachmentService(collections, files),
        DocumentService(collections, files),
    )
    return Part(
        servicers={
            f"crm.{service.name}.v1.AttachmentService": of_files,
            f"crm.{service.name}.v1.DocumentService": of_documents,
        },
        jobs={REMOVAL_JOB: of_files.remove, EXPIRY_JOB: of_documents.expire},
        keeper=FilesOfPeople(),
    )
