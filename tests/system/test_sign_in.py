"""Signing in through the gateway, as browsers and programs do."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import oidc_provider_mock
import pyotp
import pytest

from crmkit.clock import now

from .conftest import RunningSystem

PASSWORD = "a long enough secret"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A real OpenID Connect provider; answers its issuer."""
    with oidc_provider_mock.run_server_in_thread(require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


def browser(crm: RunningSystem) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=crm.system.url, trust_env=False, follow_redirects=False)


async def new_user(crm: RunningSystem) -> Any:
    email = f"{uuid4()}@example.com"
    return await crm.admin.post(
        "/v1/users", {"email": email, "display_name": "Ada", "password": PASSWORD}
    )


def reason(answer: httpx.Response) -> tuple[int, str, dict[str, str]]:
    info = answer.json()["details"][0]
    return answer.status_code, info["reason"], info.get("metadata", {})


async def test_a_browser_signs_in_elsewhere_and_gets_its_session(
    crm: RunningSystem, provider: str
) -> None:
    """INVARIANT: scripts of ours or others never see a lasting token; a callback works once, here."""
    user = await new_user(crm)
    claims = {"email": user["email"], "email_verified": True, "name": "Ada"}
    async with httpx.AsyncClient(trust_env=False) as person:
        known = await person.put(f"{provider}/users/{quote(user['uid'])}", json=claims)
        assert known.is_success
    body = {"display_name": f"Work {uuid4()}", "issuer": provider, "client_id": "crm"}
    made = await crm.admin.post("/v1/identityProviders", {**body, "client_secret": "s3cret"})
    async with browser(crm) as here, browser(crm) as other:
        offered = (await here.get("/v1/singleSignOn:providers")).json()["providers"]
        assert made["name"] in [p["name"] for p in offered]
        begun = await here.get(f"/sso/{made['uid']}/start", params={"return_to": "/docs"})
        assert begun.status_code == 302
        kept = begun.headers["set-cookie"]
        assert all(part in kept for part in ("HttpOnly", "SameSite=lax", "Path=/sso"))
        back = await other.post(begun.headers["location"], data={"sub": user["uid"]})
        callback = urlsplit(back.headers["location"])
        path = f"{callback.path}?{callback.query}"
        stranger = await other.get(path)
        assert stranger.headers["location"] == "/sign-in?error=INVALID_TRANSACTION"
        arrived = await here.get(path)
        assert (arrived.status_code, arrived.headers["location"]) == (303, "/docs")
        assert [c.name for c in here.cookies.jar] == ["crm_refresh"]
        again = await here.get(path)
        assert again.headers["location"] == "/sign-in?error=INVALID_TRANSACTION"
        refreshed = (await here.post("/v1/sessions:refresh", json={})).json()
        assert (refreshed["user"], refreshed["refresh_token"]) == (user["name"], "")
        headers = {"authorization": f"Bearer {refreshed['access_token']}"}
        (session,) = (await here.get("/v1/sessions", headers=headers)).json()["sessions"]
        assert (session["client_address"], session["current"]) == ("127.0.0.1", True)
        assert session["user_agent"].startswith("python-httpx")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/sso/callback", "PROVIDER_REFUSED"),
        ("/sso/callback?error=access_denied&state=x", "PROVIDER_REFUSED"),
        ("/sso/callback?code=x&state=y", "INVALID_TRANSACTION"),
        ("/sso/nobody/start", "INVALID_FIELD"),
        (f"/sso/{uuid4()}/start", "RECORD_NOT_FOUND"),
    ],
)
async def test_a_sign_in_that_fails_leads_to_the_page_that_says_why(
    crm: RunningSystem, path: str, error: str
) -> None:
    async with browser(crm) as here:
        answer = await here.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/sign-in?error={error}"
        assert (await here.post(path.split("?", maxsplit=1)[0])).status_code in (400, 404, 405)


async def test_a_second_factor_is_asked_for_over_rest(crm: RunningSystem) -> None:
    """401 with the challenge; then with the code a session."""
    user = await new_user(crm)
    credentials = {"email": user["email"], "password": PASSWORD}
    ada = await crm.sign_in(user["email"], PASSWORD)
    enrolled = await ada.post("/v1/secondFactor:enroll", {"password": PASSWORD})
    app = pyotp.TOTP(enrolled["secret"])
    confirmed = await ada.post("/v1/secondFactor:confirm", {"code": app.at(now())})
    async with browser(crm) as here:
        status, why, metadata = reason(await here.post("/v1/sessions", json=credentials))
        assert (status, why) == (401, "SECOND_FACTOR_REQUIRED")
        step = {"challenge": metadata["challenge"], "code": confirmed["codes"][0]}
        answer = await here.post("/v1/sessions:completeSignIn", json=step)
        assert answer.json()["user"] == user["name"]
        answer = await here.post("/v1/sessions", json={**credentials, "code": "000000"})
        assert reason(answer)[:2] == (401, "WRONG_CODE")


async def test_a_limited_key_of_a_service_account_works_in_every_service(
    crm: RunningSystem,
) -> None:
    """INVARIANT: the limits of a key hold where its tokens are used, not only where it was made."""
    roles = await crm.admin.get("/v1/roles", filter='display_name = "Administrator"')
    bot = {
        "email": f"{uuid4()}@example.com", "display_name": "Bot", "kind": "SERVICE",
        "roles": [roles["roles"][0]["name"]],
    }  # fmt: skip
    account = await crm.admin.post("/v1/users", bot)
    wanted = {"display_name": "CI", "owner": account["name"], "permissions": ["sales.products.*"]}
    key = (await crm.admin.post("/v1/apiKeys", wanted))["key"]
    headers = {"authorization": f"Bearer {key}"}
    async with browser(crm) as here:
        assert (await here.get("/v1/products", headers=headers)).status_code == 200
        for path in ("/v1/opportunities", "/v1/accounts", "/v1/users"):
            answer = await here.get(path, headers=headers)
            assert reason(answer)[:2] == (403, "PERMISSION_DENIED")
        everywhere = await here.post("/v1/sessions:endAll", headers=headers, json={})
        assert reason(everywhere)[:2] == (403, "KEY_IS_LIMITED")
