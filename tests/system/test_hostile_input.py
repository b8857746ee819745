"""Bad input through the gateway.

INVARIANT: it is refused as INVALID_ARGUMENT, names the field at fault and changes nothing; no input may
cause an error of ours.
"""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from crmkit.testing import eventually

from .conftest import ADMIN, RunningSystem

NUL = "a\x00b"
SERVICES = ["identity", "customer", "sales", "marketing", "support"]


def refusal(answer: httpx.Response) -> tuple[int, int, list[str]]:
    """Status, code and the fields at fault."""
    details = answer.json()["details"]
    fields = [v["field"] for d in details for v in d.get("field_violations", [])]
    return answer.status_code, answer.json()["code"], fields


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("sessions", {"email": NUL, "password": "x"}, "email"),
        ("accounts", {"display_name": NUL}, "account.display_name"),
        ("accounts", {"display_name": " \u200b\u3000"}, "account.display_name"),
        ("accounts", {"display_name": "\u202eevil"}, "account.display_name"),
        ("accounts", {"display_name": "a\r\nBcc: x@example.com"}, "account.display_name"),
        ("accounts", {"display_name": "a\x1b[31m"}, "account.display_name"),
        ("accounts", {"display_name": "A", "labels": {"": "x"}}, "account.labels"),
        ("accounts", {"display_name": "A", "website": "https://a b"}, "account.website"),
        ("accounts", {"display_name": "A", "website": "https://h:99999"}, "account.website"),
        ("campaigns", {"display_name": "a\r\nBcc: x@example.com"}, "campaign.display_name"),
    ],
)
async def test_hostile_text_is_refused_and_named(
    crm: RunningSystem, path: str, body: Any, field: str
) -> None:
    answer = await crm.admin.http.post(f"/v1/{path}", json=body)
    status, code, fields = refusal(answer)
    assert (status, code) == (400, 3), answer.text
    assert [name.partition("[")[0] for name in fields] == [field]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_nul_in_a_query_is_refused_and_named(crm: RunningSystem, service: str) -> None:
    answer = await crm.admin.http.get(f"/v1/{service}/events", params={"subject": NUL})
    assert refusal(answer) == (400, 3, ["subject"])


@pytest.mark.parametrize("quantity", ["1E+999999999", "1_0", "\u0661", " 1 ", "NaN", "1e3", ""])
async def test_only_what_a_person_writes_is_a_number(crm: RunningSystem, quantity: str) -> None:
    product = await crm.admin.post("/v1/products", {"display_name": f"P {uuid4()}"})
    body = {"display_name": "A", "lines": [{"product": product["name"], "quantity": quantity}]}
    status, code, fields = refusal(await crm.admin.http.post("/v1/opportunities", json=body))
    assert (status, code) == (400, 3)
    assert fields[0].startswith("opportunity.lines")


@pytest.mark.parametrize(
    ("collection", "body", "verb", "field"),
    [
        ("opportunities", {"display_name": "A"}, "lose", "reason"),
        ("tickets", {"subject": "A"}, "resolve", "resolution"),
    ],
)
async def test_a_refused_step_leaves_the_record_as_it_was(
    crm: RunningSystem, collection: str, body: Any, verb: str, field: str
) -> None:
    record = await crm.admin.post(f"/v1/{collection}", body)
    answer = await crm.admin.http.post(f"/v1/{record['name']}:{verb}", json={field: NUL})
    assert refusal(answer) == (400, 3, [field])
    assert await crm.admin.get(f"/v1/{record['name']}") == record


async def test_an_empty_external_id_is_none(crm: RunningSystem) -> None:
    """Forms send empty fields; two of them are no duplicates of one another."""
    for _ in range(2):
        account = await crm.admin.post("/v1/accounts", {"display_name": "A", "external_id": ""})
        assert account.get("external_id", "") == ""


async def test_blanks_around_a_text_are_not_kept(crm: RunningSystem) -> None:
    account = await crm.admin.post("/v1/accounts", {"display_name": "  Acme \u00a0"})
    assert account["display_name"] == "Acme"


async def test_reports_and_references_name_nothing_that_the_caller_may_not_see(
    crm: RunningSystem,
) -> None:
    """INVARIANT: neither a reference nor a label of a report tells of a record out of scope."""
    secret = f"Secret {uuid4()}"
    account = await crm.admin.post("/v1/accounts", {"display_name": secret})
    roles = await crm.admin.get("/v1/roles", page_size=100)
    sales = next(r["name"] for r in roles["roles"] if r["display_name"] == "Sales")
    email = f"{uuid4()}@crm.test"
    password = ADMIN["password"]
    await crm.admin.post(
        "/v1/users",
        {"email": email, "display_name": "Bob", "roles": [sales], "password": password},
    )
    bob = await crm.sign_in(email, password)
    for path, body in (
        ("/v1/opportunities", {"display_name": "A", "account": account["name"]}),
        ("/v1/contacts", {"display_name": "A", "account": account["name"]}),
        ("/v1/accounts", {"display_name": "A", "parent_account": account["name"]}),
    ):
        answer = await bob.http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, 5), answer.text
    own = await bob.post("/v1/opportunities", {"display_name": "B"})
    await crm.admin.http.patch(f"/v1/{own['name']}", json={"account": account["name"]})
    query = {"metrics": ["opportunities_open"], "group_by": ["account"]}

    async def reported() -> str:
        text = (await bob.http.post("/v1/metrics:query", json=query)).text
        return text if account["name"] in text else ""

    assert secret not in await eventually(reported)
    assert secret in (await crm.admin.http.post("/v1/metrics:query", json=query)).text
    await bob.http.aclose()
