"""The demo company into a running system, as people and programs would: imports, then custom methods."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress

from crm_cli.api import Api, ApiError
from crm_cli.demo.company import Row
from crm_cli.runs import count, ended, upload
from crmkit import contract

_ABOUT_ACCOUNT = {"column": "account", "field": "related", "lookup": "accounts.external_id"}
_WITH_CONTACT = {
    "column": "contact",
    "field": "participants",
    "lookup": "contacts.external_id",
}
_LOOKUPS = {
    "users": [{"column": "roles", "field": "roles", "lookup": "roles.display_name"}],
    "interactions": [_ABOUT_ACCOUNT, _WITH_CONTACT],
    "tasks": [_ABOUT_ACCOUNT],
}


@dataclass(frozen=True)
class Filled:
    """What became of one collection's rows."""

    collection: str
    created: int
    skipped: int


def fill(api: Api, collection: str, rows: Sequence[Row], progress: Progress) -> Filled:
    """Imports rows; those that are there already stay as they are.

    Raises:
        ApiError: The import failed, or a row of it.
    """
    service = contract.collections()[collection].service
    data = _csv(rows)
    sent = upload(api, service, iter([data]), len(data), progress)
    wanted = {
        "resource": collection,
        "upload": sent["name"],
        "mappings": _LOOKUPS.get(collection, []),
        "duplicate_policy": "SKIP",
    }
    begun = api.post(f"/v1/{service}/imports", wanted)
    run = ended(api, service, begun, progress, collection)
    if run["state"] != "SUCCEEDED" or count(run, "failed_count") or count(run, "warning_count"):
        raise ApiError(_complaint(api, service, run))
    return Filled(collection, count(run, "created_count"), count(run, "skipped_count"))


def _complaint(api: Api, service: str, run: dict[str, Any]) -> str:
    issues = api.get(f"/v1/{service}/{run['name']}/issues", page_size=3).get("issues", [])
    reasons = [f"line {i['row']} {i['field']}: {i['message']}" for i in issues]
    return "\n".join(
        [f"{run['resource']}: {run['state']} {run.get('error_message', '')}", *reasons]
    )


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def open_stages(api: Api) -> list[str]:
    """The open stages of the pipeline that opportunities enter; raises ApiError if there is none."""
    found = api.get("/v1/pipelines", filter="is_default = true")["pipelines"]
    if not found:
        msg = "There is no default pipeline; make one first."
        raise ApiError(msg)
    return [s["display_name"] for s in found[0]["stages"] if s["category"] == "OPEN"]


def schedule_campaigns(api: Api, rows: Sequence[Row]) -> int:
    """Schedules the company's campaigns that are drafts still; answers how many."""
    ids = {row["external_id"] for row in rows}
    drafts = api.get("/v1/campaigns", filter="state = DRAFT", page_size=1000)["campaigns"]
    ours = [campaign for campaign in drafts if campaign.get("external_id") in ids]
    for campaign in ours:
        api.post(f"/v1/{campaign['name']}:schedule", {"etag": campaign["etag"]})
    return len(ours)
