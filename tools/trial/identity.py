"""Who may do what: sign-in, roles and record scope, keys, settings of the organisation, the audit log."""

import uuid
from dataclasses import dataclass

import pyotp

from trial.client import Client, expect, reason, wait

PASSWORD = "a phrase that nobody else has"  # noqa: S105 - of a trial


@dataclass
class People:
    """The callers of a trial."""

    admin: Client
    rep: Client
    rep_email: str
    rep_name: str
    colleague: Client
    colleague_name: str
    team: str


def people(admin: Client) -> People:
    """Two sales people of one team, who see their own records only."""
    team = admin.ok("POST", "/v1/teams", {"display_name": f"Trial {uuid.uuid4()}"})["name"]
    roles = admin.ok("GET", "/v1/roles", page_size=1000)["roles"]
    sales = next(r["name"] for r in roles if r["display_name"] == "Sales")
    rep, rep_email, rep_name = person(admin, "Rep", sales, team)
    colleague, _, colleague_name = person(admin, "Colleague", sales, team)
    return People(admin, rep, rep_email, rep_name, colleague, colleague_name, team)


def person(admin: Client, display_name: str, role: str, team: str = "") -> tuple[Client, str, str]:
    """A new user: signed in, with their e-mail address and name."""
    email = f"{uuid.uuid4()}@example.com"
    user = {"email": email, "display_name": display_name, "roles": [role], "password": PASSWORD}
    made = admin.ok("POST", "/v1/users", user | ({"team": team} if team else {}))
    return admin.sign_in(email, PASSWORD), email, made["name"]


def sign_in(p: People) -> None:
    """Second factor with recovery codes, sessions, a changed password, sign-out everywhere."""
    public = Client(p.rep.url)
    wrong = {"email": p.rep_email, "password": "wrong"}
    expect(public.refused("POST", "/v1/sessions", wrong), (401, "INVALID_CREDENTIALS"))
    enrolled = p.rep.ok("POST", "/v1/secondFactor:enroll", {"password": PASSWORD})
    code = pyotp.TOTP(enrolled["secret"]).now()
    codes = p.rep.ok("POST", "/v1/secondFactor:confirm", {"code": code})["codes"]
    again = public.sign_in(p.rep_email, PASSWORD, code=codes[0])
    expect(again.ok("GET", "/v1/secondFactor")["recovery_code_count"], len(codes) - 1)
    expect(len(again.ok("GET", "/v1/sessions")["sessions"]), 2)
    again.ok("POST", "/v1/secondFactor:disable", {"password": PASSWORD})
    again.ok("POST", "/v1/sessions:endAll", {"keep_current": True})
    p.rep = public.sign_in(p.rep_email, PASSWORD)


def rights(p: People) -> None:
    """Own records only; nobody grants what they lack; the last administrator stays."""
    account = p.rep.ok("POST", "/v1/accounts", {"display_name": "Mine"})
    path = f"/v1/{account['name']}"
    expect(p.colleague.refused("GET", path)[0], 404)
    expect(p.rep.refused("POST", f"{path}:purge", {})[0], 403)
    expect(p.rep.refused("POST", "/v1/roles", {"display_name": "More", "grants": []})[0], 403)
    me = p.admin.ok("GET", "/v1/users:current")
    p.rep.refused("POST", f"/v1/{me['name']}:deactivate", {})


def keys(p: People) -> None:
    """An API key that may read accounts reads them, and nothing else; signing keys rotate unnoticed."""
    made = p.admin.ok(
        "POST",
        "/v1/apiKeys",
        {"display_name": "Reader", "permissions": ["customer.accounts.list"]},
    )
    reader = Client(p.admin.url, {"authorization": f"Bearer {made['key']}"})
    reader.ok("GET", "/v1/accounts")
    expect(reader.refused("GET", "/v1/products")[0], 403)
    answer = p.admin.http.post("/v1/signingKeys:rotate", json={})
    # A trial a moment ago has begun one.
    assert answer.is_success or reason(answer.json()) == "ROTATION_IN_PROGRESS", answer.text
    p.rep.ok("GET", "/v1/accounts")
    p.admin.ok("DELETE", f"/v1/{made['name']}")


def organization(p: People) -> None:
    """Settings with their rules, and pick lists with labels."""
    zone = p.admin.ok("GET", "/v1/organization")["time_zone"]
    p.admin.ok("PATCH", "/v1/organization", {"time_zone": zone})
    expect(p.admin.refused("PATCH", "/v1/organization", {"time_zone": "Mars/Base"})[0], 400)
    lists = {x["key"]: x for x in p.admin.ok("GET", "/v1/pickLists")["pick_lists"]}
    assert {"industry", "source", "lost_reason"} <= lists.keys(), lists.keys()


def hand_over(p: People) -> None:
    """Who leaves hands their records over, and can sign in no more."""
    roles = p.admin.ok("GET", "/v1/users:batchGet", names=p.rep_name)["users"][0]["roles"]
    leaver, email, name = person(p.admin, "Leaver", roles[0], p.team)
    account = leaver.ok("POST", "/v1/accounts", {"display_name": "Left behind"})
    p.admin.ok("POST", f"/v1/{name}:deactivate", {"successor": p.rep_name})
    path = f"/v1/{account['name']}"
    wait(lambda: p.admin.ok("GET", path)["owner"], lambda owner: owner == p.rep_name)
    (handover,) = wait(
        lambda: p.admin.ok("GET", "/v1/handovers", filter=f'user = "{name}"')["handovers"],
        lambda found: found[0]["state"] not in {"QUEUED", "RUNNING"},
    )
    expect(handover["state"], "SUCCEEDED")
    body = {"email": email, "password": PASSWORD}
    expect(Client(p.admin.url).refused("POST", "/v1/sessions", body)[0], 401)


def audit(p: People) -> None:
    """The refused sign-in, the new key and the purge that was not allowed stand in the log."""
    asked = f'subject = "{p.rep_name}" OR actor = "{p.rep_name}"'
    entries = p.admin.ok("GET", "/v1/auditEntries", filter=asked, page_size=1000)["audit_entries"]
    assert entries, "nothing was recorded"
    expect(p.rep.refused("GET", "/v1/auditEntries")[0], 403)
    entry = entries[0]["name"]
    assert p.admin.refused("DELETE", f"/v1/{entry}")[0] in {404, 405}
