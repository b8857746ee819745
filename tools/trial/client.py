"""A signed-in caller of the REST API, and waiting for what takes a moment."""

import time
from collections.abc import Callable
from typing import Any

import httpx

PATIENCE_SECONDS = 30


class Client:
    """Calls as somebody; `ok` wants an answer, `refused` a refusal."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, headers=headers, timeout=30)

    def ok(self, verb: str, path: str, body: Any = None, **params: Any) -> Any:
        """The answer's JSON; ends the trial where there is none."""
        answer = self._send(verb, path, body, params)
        if answer.status_code != httpx.codes.OK:
            msg = f"{verb} {path} {body}: {answer.status_code} {answer.text}"
            raise SystemExit(msg)
        return answer.json() if "json" in answer.headers["content-type"] else answer.content

    def refused(self, verb: str, path: str, body: Any = None, **params: Any) -> tuple[int, str]:
        """Status and reason of a refusal; ends the trial where it was not refused."""
        answer = self._send(verb, path, body, params)
        if answer.status_code == httpx.codes.OK:
            msg = f"{verb} {path} {body} was not refused: {answer.text}"
            raise SystemExit(msg)
        return answer.status_code, reason(answer.json())

    def sign_in(self, email: str, password: str, **more: str) -> "Client":
        """Another caller, signed in."""
        body = {"email": email, "password": password, **more}
        token = self.ok("POST", "/v1/sessions", body)["access_token"]
        return Client(self.url, {"authorization": f"Bearer {token}"})

    def job(self, path: str, body: Any) -> Any:
        """Starts an import, export or the like under `/v1/<service>/…` and waits for its end."""
        service = path.split("/")[2]
        run = self.ok("POST", path, body)
        return wait(
            lambda: self.ok("GET", f"/v1/{service}/{run['name']}"),
            lambda now: now["state"] not in {"QUEUED", "RUNNING"},
        )

    def _send(self, verb: str, path: str, body: Any, params: dict[str, Any]) -> httpx.Response:
        if isinstance(body, bytes):
            kind = {"content-type": "application/octet-stream"}
            return self.http.request(verb, path, content=body, headers=kind, params=params)
        return self.http.request(verb, path, json=body, params=params)


def reason(body: Any) -> str:
    """The reason of a google.rpc.Status."""
    return next(str(detail["reason"]) for detail in body["details"] if "reason" in detail)


def wait(ask: Callable[[], Any], enough: Callable[[Any], Any]) -> Any:
    """What `ask` answers once it is enough; ends the trial after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not enough(answer := ask()):
        if time.monotonic() > deadline:
            msg = f"after {PATIENCE_SECONDS} s still {answer}"
            raise SystemExit(msg)
        time.sleep(0.1)
    return answer


def expect(found: Any, expected: Any) -> None:
    """Ends the trial where something is not as promised."""
    if found != expected:
        msg = f"{found!r} instead of {expected!r}"
        raise SystemExit(msg)
