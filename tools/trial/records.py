"""What every record can: custom fields, history, trash, views, files in and out."""

import csv
import io
import uuid
from typing import Any

from trial.client import Client, expect, wait
from trial.identity import People, person


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
    run = p.admin.job("/v1/customer/imports", body)
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


def sensitive_fields(p: People) -> None:
    """What somebody may not see is named, not shown, and left as it is by their changes."""
    grants = [
        {"permission": f"customer.accounts.{verb}", "record_scope": "ALL"}
        for verb in ("get", "list", "update")
    ]
    role = p.admin.ok("POST", "/v1/roles", {"display_name": uuid.uuid4().hex, "grants": grants})
    clerk, _, _ = person(p.admin, "Clerk", role["name"])
    body = {"display_name": "With a number", "tax_id": "DE123456789"}
    path = f"/v1/{p.admin.ok('POST', '/v1/accounts', body)['name']}"
    seen = clerk.ok("GET", path)
    expect((seen.get("tax_id"), seen["hidden_fields"]), (None, ["tax_id"]))
    expect(clerk.refused("PATCH", path, {"tax_id": "X"}), (403, "FIELD_HIDDEN"))
    expect(clerk.refused("GET", "/v1/accounts", filter='tax_id = "DE123456789"')[0], 400)
    clerk.ok("PATCH", path, {"display_name": "Renamed"})
    expect(p.admin.ok("GET", path)["tax_id"], "DE123456789")


def comments_and_followers(p: People) -> None:
    """A comment with a reply; whoever is mentioned follows; who may not read the record is not mentioned."""
    path = f"/v1/{p.rep.ok('POST', '/v1/accounts', {'display_name': 'Talked about'})['name']}"
    me = p.admin.ok("GET", "/v1/users:current")["name"]
    said = p.rep.ok("POST", f"{path}/comments", {"text": f"Please look, @{me}"})
    expect(said["mentions"], [me])
    p.admin.ok("POST", f"{path}/comments", {"text": "I have", "reply_to": said["name"]})
    followers = [f["user"] for f in p.rep.ok("GET", f"{path}/followers")["followers"]]
    expect(sorted(followers), sorted([me, p.rep_name]))
    expect(p.colleague.refused("POST", f"{path}/comments", {"text": "Me too"})[0], 404)
    stranger = {"text": f"Look, @{p.colleague_name}"}
    expect(p.rep.refused("POST", f"{path}/comments", stranger)[0], 400)


def collaborators(p: People) -> None:
    """A record is shared with somebody who could not see it, and taken back."""
    path = f"/v1/{p.rep.ok('POST', '/v1/accounts', {'display_name': 'Shared'})['name']}"
    share = {"user": p.colleague_name, "access": "READ"}
    expect(p.colleague.refused("POST", f"{path}/collaborators", share)[0], 404)
    made = p.rep.ok("POST", f"{path}/collaborators", share)
    expect(p.colleague.ok("GET", path)["display_name"], "Shared")
    expect(p.colleague.refused("PATCH", path, {"display_name": "Mine"})[0], 403)
    p.rep.ok("DELETE", f"/v1/{made['name']}")
    expect(p.colleague.refused("GET", path)[0], 404)


def attachments(p: People) -> None:
    """A file is known by its bytes, not by its name, and only ever saved, never shown."""
    path = f"/v1/{p.rep.ok('POST', '/v1/accounts', {'display_name': 'With a file'})['name']}"
    page = b"<!doctype html><script>alert(1)</script>"
    disguised = p.rep.refused("POST", f"{path}/attachments", page, file_name="offer.png")
    expect(disguised, (400, "CONTENT_CONTRADICTS_NAME"))
    made = p.rep.ok("POST", f"{path}/attachments", page, file_name="../../offer.html")
    expect(made["file_name"], "offer.html")
    answer = p.rep.http.get(f"/v1/{made['name']}:download")
    expect(answer.content, page)
    expect(answer.headers["x-content-type-options"], "nosniff")
    assert answer.headers["content-disposition"].startswith("attachment"), answer.headers
    expect(p.colleague.refused("GET", f"/v1/{made['name']}")[0], 404)


def bulk_actions(p: People) -> None:
    """Many records changed at once, seen beforehand, and taken back but for what somebody changed since."""
    mark = uuid.uuid4().hex[:8]
    for n in range(3):
        p.admin.ok("POST", "/v1/accounts", {"display_name": f"{mark} {n}", "industry": "retail"})
    asked = {
        "resource": "accounts",
        "action": "UPDATE",
        "filter": f'display_name = "{mark}*"',
        "values": {"industry": "logistics"},
    }
    preview = p.admin.ok("POST", "/v1/customer/bulkActions", asked, validate_only=True)
    expect(len(preview["samples"]), 3)
    run = p.admin.job("/v1/customer/bulkActions", asked)
    expect((run["state"], run["changed_count"]), ("SUCCEEDED", "3"))
    listed = p.admin.ok("GET", "/v1/accounts", filter=asked["filter"])["accounts"]
    expect({a["industry"] for a in listed}, {"logistics"})
    p.admin.ok("PATCH", f"/v1/{listed[0]['name']}", {"industry": "software"})
    back = p.admin.job(f"/v1/customer/{run['name']}:revert", {})
    expect((back["changed_count"], back["failed_count"]), ("2", "1"))


def _soon(client: Client, path: str, body: Any) -> Any:
    """A record with a new custom field, once every replica knows of the field."""

    def attempt() -> Any:
        answer = client.http.post(path, json=body)
        return answer.json() if answer.is_success else None

    return wait(attempt, bool)
