"""What Envoy itself answers: every error of its own is a google.rpc.Status.

REST callers get it as JSON; gRPC callers in `grpc-status-details-bin`, as the services send it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.rpc import code_pb2

from gateway.envoy_headers import ORIGINAL_PATH
from gateway.statuses import DOMAIN, ERROR_INFO, status_header

# Envoy's own words: which header or parameter was wrong.
_ENVOY_TEXT = "%LOCAL_REPLY_BODY%"


@dataclass(frozen=True)
class Reply:
    """How one HTTP status that Envoy makes reads as google.rpc.Status.

    Attributes:
        status: the HTTP status.
        code: the google.rpc.Code.
        reason: UPPER_SNAKE, for programs.
        message: for people.
        envoy_text: whether Envoy's own words say more than `message`.
        grpc_code: the google.rpc.Code for gRPC callers, where theirs is another.
    """

    status: int
    code: int
    reason: str
    message: str
    envoy_text: bool = False
    grpc_code: int | None = None


_UNAVAILABLE = Reply(
    503, code_pb2.UNAVAILABLE, "SERVICE_UNAVAILABLE", "The service is down; try again."
)
_BAD_TOKEN = Reply(
    401, code_pb2.UNAUTHENTICATED, "INVALID_ACCESS_TOKEN", "The access token is not valid."
)
_EXPIRED = Reply(
    401, code_pb2.UNAUTHENTICATED, "INVALID_ACCESS_TOKEN", "The access token has expired."
)
_BAD_PATH = Reply(400, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", "The path is not valid.")
_NO_BODY = Reply(400, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", "GET and DELETE take no body.")

REPLIES = (
    Reply(
        400,
        code_pb2.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "The request is not valid.",
        envoy_text=True,
    ),
    _BAD_TOKEN,
    Reply(403, code_pb2.PERMISSION_DENIED, "FORBIDDEN", "The call is refused.", envoy_text=True),
    Reply(
        404,
        code_pb2.NOT_FOUND,
        "ROUTE_NOT_FOUND",
        "No method answers this verb on this path.",
        grpc_code=code_pb2.UNIMPLEMENTED,
    ),
    Reply(
        405,
        code_pb2.UNIMPLEMENTED,
        "METHOD_NOT_ALLOWED",
        "The path does not take this verb; see Allow.",
    ),
    Reply(408, code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "The call took too long."),
    Reply(
        413,
        code_pb2.INVALID_ARGUMENT,
        "REQUEST_TOO_LARGE",
        "The body is too large: 4 MiB, a file 512 MB.",
        grpc_code=code_pb2.RESOURCE_EXHAUSTED,
    ),
    Reply(
        415,
        code_pb2.INVALID_ARGUMENT,
        "UNSUPPORTED_CONTENT",
        "This kind of content is not understood.",
        envoy_text=True,
    ),
    Reply(
        421,
        code_pb2.FAILED_PRECONDITION,
        "MISDIRECTED_REQUEST",
        "The gateway is not known by this host name; see CRM_PUBLIC_URL and CRM_HOSTS.",
    ),
    Reply(429, code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED", "Too many calls; see Retry-After."),
    Reply(431, code_pb2.INVALID_ARGUMENT, "HEADERS_TOO_LARGE", "The headers are too large."),
    Reply(502, code_pb2.UNAVAILABLE, "SERVICE_UNAVAILABLE", "The service broke off; try again."),
    _UNAVAILABLE,
    Reply(504, code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "The call took too long."),
)
_FALLBACK = Reply(
    400, code_pb2.UNKNOWN, "GATEWAY_ERROR", "The gateway refused the call.", envoy_text=True
)

_JWT = "response.code_details.startsWith('jwt_authn_access_denied{"
# Why the token was refused → what to answer; the first that fits. Envoy makes a wrong audience a 403.
_SPECIAL = (
    # Without keys no token can be judged: that is our failure, not the caller's.
    (f"{_JWT}Jwks') && !response.code_details.contains('kid_or_alg')", _UNAVAILABLE),
    (f"{_JWT}Jwt_is_expired')", _EXPIRED),
    (f"{_JWT}')", _BAD_TOKEN),
    ("response.code_details == 'path_normalization_failed'", _BAD_PATH),
    (
        "response.code_details == 'request_payload_too_large' && request.method in ['GET', 'DELETE']",
        _NO_BODY,
    ),
)


def local_reply_config() -> dict[str, Any]:
    """Envoy's `local_reply_config`; the first mapping that fits is used."""
    return {"mappers": list(_mappers())}


def _mappers() -> Iterator[dict[str, Any]]:
    # The check service's answer is a google.rpc.Status already.
    denied = [_details("response.code_details == 'ext_authz_denied'")]
    as_it_is = {"text_format_source": {"inline_string": _ENVOY_TEXT}}
    yield _mapper([*denied, _rest_only()], _body(as_it_is, "application/json"))
    yield _mapper([*denied, _grpc_only()], _body(as_it_is, "text/plain"))
    for expression, reply in _SPECIAL:
        for mapper in _both([_details(expression)], reply):
            yield mapper | {"status_code": reply.status}
    for reply in REPLIES:
        yield from _both([_status("EQ", reply.status)], reply)
    yield from _both([_status("GE", _FALLBACK.status)], _FALLBACK)


def _both(filters: list[dict[str, Any]], reply: Reply) -> Iterator[dict[str, Any]]:
    message = _ENVOY_TEXT if reply.envoy_text else reply.message
    info = {"@type": ERROR_INFO, "reason": reply.reason, "domain": DOMAIN}
    status = {"code": reply.code, "message": message, "details": [info]}
    yield _mapper([*filters, _rest_only()], _body({"json_format": status}, "application/json"))
    code = reply.code if reply.grpc_code is None else reply.grpc_code
    text = {"text_format_source": {"inline_string": message}}
    headers = {
        "grpc-status": str(code),
        "grpc-status-details-bin": status_header(code, reply.reason, reply.message),
    }
    yield _mapper([*filters, _grpc_only()], _body(text, "text/plain")) | {
        "headers_to_add": [
            {
                "header": {"key": key, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for key, value in headers.items()
        ]
    }


def _mapper(filters: list[dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
    return {"filter": {"and_filter": {"filters": filters}}, "body_format_override": body}


def _body(body: dict[str, Any], content_type: str) -> dict[str, Any]:
    return body | {"content_type": content_type}


def _status(operator: str, status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"gateway.reply.{operator}.{status}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _details(expression: str) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {
        "extension_filter": {
            "name": "cel",
            "typed_config": {"@type": kind, "expression": expression},
        }
    }


# A transcoded request has become gRPC by the time the router fails, but keeps its first path.


def _rest_only() -> dict[str, Any]:
    return {"or_filter": {"filters": [_header(_NOT_GRPC), _header(_TRANSCODED)]}}


def _grpc_only() -> dict[str, Any]:
    filters = [_header(_inverted(_NOT_GRPC)), _header(_inverted(_TRANSCODED))]
    return {"and_filter": {"filters": filters}}


_NOT_GRPC: dict[str, Any] = {
    "name": "content-type",
    "string_match": {"safe_regex": {"regex": r"application/grpc(?:[+;].*)?"}},
    "invert_match": True,
    "treat_missing_header_as_empty": True,
}
_TRANSCODED: dict[str, Any] = {"name": ORIGINAL_PATH, "present_match": True}


def _inverted(matcher: dict[str, Any]) -> dict[str, Any]:
    return matcher | {"invert_match": not matcher.get("invert_match", False)}


def _header(matcher: dict[str, Any]) -> dict[str, Any]:
    return {"header_filter": {"header": matcher}}
