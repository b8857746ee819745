"""The system as the command line reaches it: REST through the gateway.

Where the environment names neither a system nor a person, it is the system that `crm up` has made
here, and its administrator.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_TRIES = 4
_TRY_AGAIN = {429, 503}
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


class ApiError(Exception):
    """A call that failed; `str()` is what a person should read.

    Attributes:
        reason: UPPER_SNAKE, as the system says it.
    """

    def __init__(self, message: str, reason: str = "", violations: tuple[str, ...] = ()) -> None:
        first = f"{reason}: {message}" if reason else message
        super().__init__("\n".join([first, *(f"  {line}" for line in violations)]))
        self.reason = reason


class Api:
    """Calls with JSON; signs in when first needed and again when the token has expired."""

    def __init__(self) -> None:
        here = f"http://127.0.0.1:{os.environ.get('CRM_PORT', '8080')}"
        self.url = os.environ.get("CRM_URL", here).rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=_TIMEOUT)
        self._token = os.environ.get("CRM_API_KEY", "")

    def get(self, path: str, **parameters: str | int) -> Any:
        """Reads; raises ApiError."""
        return self._send("GET", path, params=parameters)

    def post(self, path: str, body: Any) -> Any:
        """Posts JSON; raises ApiError."""
        return self._send("POST", path, json=body)

    def upload(self, path: str, chunks: Iterator[bytes], size: int) -> Any:
        """Sends a file as it is read; raises ApiError."""
        headers = {"content-type": "text/csv", "content-length": str(size)}
        return self._once("POST", path, content=chunks, headers=headers)

    def download(self, path: str) -> Iterator[bytes]:
        """Fetches a file in pieces; raises ApiError, also where it ends too early."""
        if not self._token:
            self._token = self._sign_in()
        headers = {"authorization": f"Bearer {self._token}"}
        try:
            with self._http.stream("GET", path, headers=headers) as response:
                if not response.is_success:
                    response.read()
                    _answer(response)
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            msg = f"The file did not arrive whole: {error or type(error).__name__}"
            raise ApiError(msg) from error

    def _send(self, method: str, path: str, **arguments: Any) -> Any:
        for attempt in range(_TRIES):
            response = self._response(method, path, **arguments)
            expired = response.status_code == httpx.codes.UNAUTHORIZED and self._may_sign_in_again()
            busy = response.status_code in _TRY_AGAIN and method == "GET"
            if not (expired or busy) or attempt == _TRIES - 1:
                break
            if busy:
                time.sleep(min(float(response.headers.get("retry-after", 2**attempt)), 10.0))
        return _answer(response)

    def _once(self, method: str, path: str, **arguments: Any) -> Any:
        return _answer(self._response(method, path, **arguments))

    def _response(
        self, method: str, path: str, headers: dict[str, str] | None = None, **arguments: Any
    ) -> httpx.Response:
        if not self._token:
            self._token = self._sign_in()
        signed = {"authorization": f"Bearer {self._token}", **(headers or {})}
        return self._request(method, path, headers=signed, **arguments)

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx.ConnectError as error:
            msg = f"There is no system at {self.url}; is it running? CRM_URL says where it is."
            raise ApiError(msg) from error
        except httpx.HTTPError as error:
            msg = f"The call to {self.url} failed: {error or type(error).__name__}"
            raise ApiError(msg) from error

    def _may_sign_in_again(self) -> bool:
        if os.environ.get("CRM_API_KEY"):
            return False
        self._token = ""
        return True

    def _sign_in(self) -> str:
        email, password = os.environ.get("CRM_EMAIL", ""), os.environ.get("CRM_PASSWORD", "")
        # A password kept here is never sent to a system somewhere else.
        if not email and not password and "CRM_URL" not in os.environ:
            email, password = _administrator_here()
        if not email or not password:
            msg = "Set CRM_API_KEY, or CRM_EMAIL and CRM_PASSWORD, to sign in."
            raise ApiError(msg)
        body = {"email": email, "password": password}
        token: str = _answer(self._request("POST", "/v1/sessions", json=body))["access_token"]
        return token


def _administrator_here() -> tuple[str, str]:
    """Address and first password of the administrator of a system that `crm up` has made here."""
    kept = Path(os.environ.get("CRM_DATA_DIR", "data")) / "admin.json"
    try:
        administrator = json.loads(kept.read_text())
        return administrator["email"], administrator["password"]
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    try:
        status = response.json()
        details = {detail["@type"]: detail for detail in status.get("details", [])}
        message = status["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        msg = f"HTTP {response.status_code}: {response.text[:500]}"
        raise ApiError(msg) from None
    violations = tuple(
        f"{violation.get('field', '')}: {violation.get('description', '')}"
        for violation in details.get(_BAD_REQUEST, {}).get("field_violations", [])
    )
    raise ApiError(message, details.get(_ERROR_INFO, {}).get("reason", ""), violations)
