"""The refresh token as a cookie: for browsers, which keep it out of reach of scripts."""

from crmkit.call import Call
from crmkit.errors import PermissionDenied
from identity.domain.session import REFRESH_LIFETIME

_NAME = "crm_refresh"
_PATH = "/v1/sessions:refresh"


def set_refresh_cookie(call: Call, token: str) -> None:
    """Sends the refresh token as a cookie; an empty one removes it."""
    seconds = int(REFRESH_LIFETIME.total_seconds()) if token else 0
    parts = [
        f"{_NAME}={token}",
        f"Path={_PATH}",
        "HttpOnly",
        "SameSite=Strict",
        f"Max-Age={seconds}",
    ]
    if call.home.settings.public_url.startswith("https://"):
        parts.append("Secure")
    call.response_headers.append(("set-cookie", "; ".join(parts)))


def refresh_cookie_of(call: Call) -> str:
    """The refresh token of the request's cookie; empty if there is none.

    Raises:
        PermissionDenied: `ORIGIN_NOT_ALLOWED`: a page of another site sent the browser here.
    """
    for pair in call.metadata.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == _NAME and value:
            _check_origin(call)
            return value
    return ""


def _check_origin(call: Call) -> None:
    origin = call.metadata.get("origin", "")
    if origin and origin != call.home.settings.public_url.rstrip("/"):
        msg = "The session's cookie works on pages of this system only."
        raise PermissionDenied(msg, reason="ORIGIN_NOT_ALLOWED")
