"""What can be imported and what can be exported, over all services."""

import pytest

from crm_cli.services import NAMES, service
from crmtransfer.exports.service import ExportService
from crmtransfer.imports.service import ImportService

# Made by the system alone, or with a secret that is shown once: only read.
_ONLY_EXPORTED = {"auditEntries", "apiKeys", "duplicateSets", "mergeRecords"}


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_in_goes_out_and_the_reverse(name: str) -> None:
    """INVARIANT: no resource can be imported and not exported; a new one that goes out only is named here."""
    found = service(name)
    if not found.parts:
        return
    collections = {c.name: c for c in found.collections}
    imported = set(ImportService(name, collections)._collections)
    exported = set(ExportService(collections)._collections)
    assert imported <= exported
    assert exported - imported <= _ONLY_EXPORTED
