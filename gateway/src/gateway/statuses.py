"""google.rpc.Status as JSON: the one shape of every error over REST."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.rpc import code_pb2
from starlette.responses import JSONResponse

DOMAIN = "gateway.crm"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

_HTTP = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.NOT_FOUND: 404,
    code_pb2.UNAVAILABLE: 503,
}


def http_status(code: int) -> int:
    """The HTTP status of a google.rpc.Code; 500 for those the edge never answers."""
    return _HTTP.get(code, 500)


def status_json(
    code: int,
    reason: str,
    message: str,
    *,
    violations: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An HTTP answer that carries a google.rpc.Status.

    Args:
        code: google.rpc.Code.
        reason: UPPER_SNAKE, for programs.
        message: for people.
        violations: pairs of a field's path and what is wrong with it.
        headers: further HTTP headers.
    """
    details: list[dict[str, Any]] = [{"@type": ERROR_INFO, "reason": reason, "domain": DOMAIN}]
    if violations:
        fields = [{"field": field, "description": text} for field, text in violations]
        details.append({"@type": BAD_REQUEST, "field_violations": fields})
    body = {"code": code, "message": message, "details": details}
    return JSONResponse(body, http_status(code), headers)
