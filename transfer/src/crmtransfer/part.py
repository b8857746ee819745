"""What imports, exports and bulk actions add to a service: gRPC services and their jobs."""

from crmkit.service import Part, Service
from crmtransfer.bulk.changes import Target
from crmtransfer.bulk.service import BulkActionService
from crmtransfer.exports.service import ExportService
from crmtransfer.imports.service import ImportService
from crmtransfer.personal import RunsAboutPeople


def imports_and_exports(service: Service) -> Part:
    """Imports into and exports from the service's own collections."""
    collections = {c.name: c for c in service.collections}
    imports = ImportService(service.name, collections)
    exports = ExportService(collections)
    package = f"crm.{service.name}.v1"
    return Part(
        servicers={f"{package}.ImportService": imports, f"{package}.ExportService": exports},
        jobs={**imports.job_handlers(), **exports.job_handlers()},
        keeper=RunsAboutPeople(),
    )


def bulk_actions(service: Service) -> Part:
    """The same change to many records of the service's own collections."""
    package = f"crm.{service.name}.v1"
    targets = {
        c.name: Target.of(c, service.servicers.get(f"{package}.{c.contract.noun}Service"))
        for c in service.collections
    }
    bulk = BulkActionService({name: target for name, target in targets.items() if target.methods})
    return Part(servicers={f"{package}.BulkActionService": bulk}, jobs=bulk.job_handlers())
