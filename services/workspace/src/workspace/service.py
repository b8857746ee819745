"""The workspace service's table of contents."""

from pathlib import Path

from crmkit.service import Service
from workspace.rpc.saved_view import SavedViewService
from workspace.storage.saved_view import SAVED_VIEWS

SERVICE = Service(
    name="workspace",
    migrations=Path(__file__).parent / "migrations",
    collections=[SAVED_VIEWS],
    servicers={"crm.workspace.v1.SavedViewService": SavedViewService()},
)
