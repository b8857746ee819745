"""google.rpc.Status, the one shape of every error: as JSON over REST, as metadata over gRPC."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
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
    http: int | None = None,
) -> JSONResponse:
    """An HTTP answer that carries a google.rpc.Status.

    Args:
        code: google.rpc.Code.
        reason: UPPER_SNAKE, for programs.
        message: for people.
        violations: pairs of a field's path and what is wrong with it.
        headers: further HTTP headers.
        http: the HTTP status where it says more than the code does.
    """
    details: list[dict[str, Any]] = [{"@type": ERROR_INFO, "reason": reason, "domain": DOMAIN}]
    if violations:
        fields = [{"field": field, "description": text} for field, text in violations]
        details.append({"@type": BAD_REQUEST, "field_violations": fields})
    body = {"code": code, "message": message, "details": details}
    return JSONResponse(body, http or http_status(code), headers)


def status_header(code: int, reason: str, message: str) -> str:
    """The value of `grpc-status-details-bin` that says the same to a gRPC caller, in base64."""
    return base64.b64encode(status_bytes(code, reason, message)).decode().rstrip("=")


def status_bytes(code: int, reason: str, message: str) -> bytes:
    """The same as bytes, for a gRPC library."""
    details = any_pb2.Any()
    details.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    status = status_pb2.Status(code=code, message=message, details=[details])
    serialized: bytes = status.SerializeToString(deterministic=True)
    return serialized
