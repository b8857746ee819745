"""What imports and exports add to a service: two gRPC services and their jobs."""

from crmkit.service import Part, Service
from crmtransfer.exports.service import ExportService
from crmtransfer.imports.service import ImportService


def imports_and_exports(service: Service) -> Part:
    """Imports into and exports from the service's own collections."""
    collections = {c.name: c for c in service.collections}
    imports = ImportService(service.name, collections)
    exports = ExportService(collections)
    package = f"crm.{service.name}.v1"
    return Part(
        servicers={f"{package}.ImportService": imports, f"{package}.ExportService": exports},
        jobs={**imports.job_handlers(), **exports.job_handlers()},
    )
