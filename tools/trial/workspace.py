"""What tells people and other systems: webhooks and notifications."""

import json
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from trial.client import expect, wait
from trial.identity import People


def notifications(p: People) -> None:
    """Somebody who is given a record is told, until they say that they need not be."""
    account = p.admin.ok("POST", "/v1/accounts", {"display_name": "Given away"})
    p.admin.ok("PATCH", f"/v1/{account['name']}", {"owner": p.rep_name})
    unread = wait(
        lambda: p.rep.ok("GET", "/v1/notifications")["notifications"],
        lambda found: account["name"] in [n["subject"] for n in found],
    )
    p.rep.ok("POST", f"/v1/{unread[0]['name']}:markRead", {})


def rules(p: People) -> None:
    """A rule does its work once for each event that it is about, and tells what it did."""
    mark = uuid.uuid4().hex[:8]
    rule = {
        "display_name": "New ones are hot",
        "event_types": ["customer.account.created"],
        "condition": f"record.external_id == '{mark}'",
        "actions": [{"set_fields": {"values": {"labels": {"heat": "hot"}}}}],
    }
    made = p.admin.ok("POST", "/v1/rules", rule)
    wrong = rule | {"actions": [{"notify": {"recipient": "RULE_OWNER", "text": "{{no.such}}"}}]}
    expect(p.admin.refused("POST", "/v1/rules", wrong)[0], 400)
    account = p.admin.ok("POST", "/v1/accounts", {"display_name": "New", "external_id": mark})
    wait(
        lambda: p.admin.ok("GET", f"/v1/{account['name']}")["labels"],
        lambda labels: labels == {"heat": "hot"},
    )
    wait(
        lambda: [r["state"] for r in p.admin.ok("GET", f"/v1/{made['name']}/runs")["runs"]],
        lambda states: states == ["SUCCEEDED"],
    )
    p.admin.ok("DELETE", f"/v1/{made['name']}")


def webhooks(p: People, host: str) -> None:
    """Private addresses are refused; an allowed one hears of the event, and the log says so."""
    hook = {"display_name": "ERP", "event_types": ["customer.account.created"]}
    private = hook | {"url": "https://169.254.169.254/"}
    expect(p.admin.refused("POST", "/v1/webhooks", private)[0], 400)
    if not host:
        return
    heard: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://{host}:{server.server_port}/"
    made = p.admin.ok("POST", "/v1/webhooks", hook | {"url": url})
    account = p.admin.ok("POST", "/v1/accounts", {"display_name": "Heard of"})
    wait(lambda: [json.loads(body)["subject"] for body in heard], lambda s: account["name"] in s)
    wait(
        lambda: p.admin.ok("GET", f"/v1/{made['name']}/deliveries")["deliveries"],
        lambda found: "DELIVERED" in [d["state"] for d in found],
    )
    p.admin.ok("POST", f"/v1/{made['name']}:pause", {})
    server.shutdown()
