"""What every record can: custom fields, history, trash, views, files in and out."""

import csv
import io
import uuid
from typing import Any

from trial.client import Client, expect, wait
from trial.identity import People


def custom_fields(p: People) -> None:
    """A field of one's own: checked, filtered by, ordered by, in the history."""
    field_id = f"region_{uuid.uuid4().hex[:8]}"
    path = f"custom_fields.{field_id}"
    field = {
        "resource": "accounts", "field_id": field_id, "display_name": "Region", "type": "OPTION",
        "options": [{"option_id": "north", "display_name": "North"}],
        "filterable": True, "sortable": True, "personal": False,
    }  # fmt: skip
    made = p.admin.ok("POST", "/v1/customer/customFields", field)
    body = {"display_name": "With a region", "custom_fields": {field_id: "north"}}
    account = _soon(p.admin, "/v1/accounts", body)
    wrong = body | {"custom_fields": {field_id: "east"}}
    expect(p.admin.refused("POST", "/v1/accounts", wrong)[0], 400)
    found = p.admin.ok("GET", "/v1/accounts", filter=f'{path} = "north"', order_by=path)
    expect([a["name"] for a in found["accounts"]], [account["name"]])
    revisions = p.admin.ok("GET", f"/v1/{account['name']}/revisions")["revisions"]
    assert path in [c["field"] for c in revisions[-1]["changes"]], revisions
    p.admin.ok("DELETE", f"/v1/customer/{made['name']}")


def history_and_trash(p: People) -> None:
    """Who changed what; deleted, restored, deleted again and purged."""
    product = p.admin.ok("POST", "/v1/products", {"display_name": "Trial", "sku": uuid.uuid4().hex})
    path = f"/v1/{product['name']}"
    p.admin.ok("PATCH", path, {"display_name": "Renamed", "etag": product["etag"]})
    stale = {"display_name": "Lost", "etag": product["etag"]}
    expect(p.admin.refused("PATCH", path, stale), (409, "ETAG_MISMATCH"))
    (change,) = p.admin.ok("GET", f"{path}/revisions")["revisions"][0]["changes"]
    expect((change["old_value"], change["new_value"]), ("Trial", "Renamed"))
    p.admin.ok("DELETE", path)
    p.admin.ok("POST", f"{path}:undelete", {})
    p.admin.ok("DELETE", path)
    p.admin.ok("POST", f"{path}:purge", {})
    expect(p.admin.refused("GET", path)[0], 404)


def saved_views(p: People) -> None:
    """A view is kept, chosen and refused where its filter makes no sense."""
    view = {"resource": "accounts", "display_name": "Mine", "filter": 'display_name = "A*"'}
    made = p.rep.ok("POST", "/v1/savedViews", view)
    expect(p.rep.ok("POST", f"/v1/{made['name']}:choose", {})["default_for_caller"], True)
    expect(p.rep.refused("POST", "/v1/savedViews", view | {"filter": "OR 1=1)--"})[0], 400)


def files(p: People) -> None:
    """An import with a wrong row, then an export, in which a formula is text."""
    mark = uuid.uuid4().hex[:8]
    text = f"display_name,external_id,employee_count\n=Sum {mark},{mark}-1,5\nB,{mark}-2,many\n,{mark}-3,7\n"
    upload = p.admin.ok("POST", "/v1/customer/uploads", text.encode())["name"]
    body = {"resource": "accounts", "upload": upload}
    preview = p.admin.job("/v1/customer/imports", body | {"validate_only": True})
    upload = p.admin.ok("POST", "/v1/customer/uploads", text.encode())["name"]
    run = p.admin.job("/v1/customer/imports", body | {"upload": upload})
    counts = ("total_rows", "created_count", "failed_count", "warning_count")
    expect([run[c] for c in counts], ["3", "2", "1", "1"])
    expect([preview[c] for c in counts], ["3", "2", "1", "1"])
    issues = p.admin.ok("GET", f"/v1/customer/{run['name']}/issues")["issues"]
    expect(len(issues), 2)
    asked = {"resource": "accounts", "filter": f'external_id = "{mark}*"'}
    export = p.admin.job("/v1/customer/exports", asked)
    written = p.admin.ok("GET", f"/v1/customer/{export['name']}:download")
    rows = list(csv.DictReader(io.StringIO(written.decode("utf-8-sig"))))
    expect(sorted(r["display_name"] for r in rows), [f"'=Sum {mark}", "B"])


def _soon(client: Client, path: str, body: Any) -> Any:
    """A record with a new custom field, once every replica knows of the field."""

    def attempt() -> Any:
        answer = client.http.post(path, json=body)
        return answer.json() if answer.is_success else None

    return wait(attempt, bool)
