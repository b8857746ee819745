"""What Envoy itself answers: every error of its own as google.rpc.Status JSON for REST callers.

gRPC callers get a `grpc-status` from Envoy without help, so the mappings leave them alone.
"""

from dataclasses import dataclass
from typing import Any

from google.rpc import code_pb2

from gateway.statuses import DOMAIN, ERROR_INFO

# Envoy's own words: which header or parameter was wrong.
_ENVOY_TEXT = "%LOCAL_REPLY_BODY%"


@dataclass(frozen=True)
class Reply:
    """How one HTTP status that Envoy makes reads as google.rpc.Status."""

    status: int
    code: int
    reason: str
    message: str


REPLIES = (
    Reply(400, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", _ENVOY_TEXT),
    Reply(401, code_pb2.UNAUTHENTICATED, "INVALID_ACCESS_TOKEN", _ENVOY_TEXT),
    Reply(403, code_pb2.PERMISSION_DENIED, "FORBIDDEN", _ENVOY_TEXT),
    Reply(404, code_pb2.NOT_FOUND, "ROUTE_NOT_FOUND", "No method answers this verb on this path."),
    Reply(408, code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "The call took too long."),
    Reply(413, code_pb2.INVALID_ARGUMENT, "REQUEST_TOO_LARGE", "The body is over 4 MiB."),
    Reply(429, code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED", "Too many calls; see Retry-After."),
    Reply(431, code_pb2.INVALID_ARGUMENT, "HEADERS_TOO_LARGE", "The headers are too large."),
    Reply(502, code_pb2.UNAVAILABLE, "SERVICE_UNAVAILABLE", "The service broke off; try again."),
    Reply(503, code_pb2.UNAVAILABLE, "SERVICE_UNAVAILABLE", "The service is down; try again."),
    Reply(504, code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "The call took too long."),
)
_BAD_PATH = Reply(400, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", "The path is not valid.")
_FALLBACK = Reply(400, code_pb2.UNKNOWN, "GATEWAY_ERROR", _ENVOY_TEXT)
_UNAVAILABLE = next(reply for reply in REPLIES if reply.status == 503)  # noqa: PLR2004


def local_reply_config() -> dict[str, Any]:
    """Envoy's `local_reply_config`; the first mapping that fits is used."""
    unavailable = [_details("response.code_details.startsWith('jwt_authn_access_denied{Jwks')")]
    return {
        "mappers": [
            # The check service's answer is a google.rpc.Status already.
            _mapper(
                [_details("response.code_details == 'ext_authz_denied'")],
                {"text_format_source": {"inline_string": _ENVOY_TEXT}},
            ),
            # Without keys no token can be judged: that is our failure, not the caller's.
            _mapper(unavailable, _format(_UNAVAILABLE)) | {"status_code": _UNAVAILABLE.status},
            _mapper(
                [_details("response.code_details == 'path_normalization_failed'")],
                _format(_BAD_PATH),
            ),
            *(_mapper([_status("EQ", reply.status)], _format(reply)) for reply in REPLIES),
            _mapper([_status("GE", _FALLBACK.status)], _format(_FALLBACK)),
        ]
    }


def _mapper(filters: list[dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
    return {
        "filter": {"and_filter": {"filters": [*filters, _rest_only()]}},
        "body_format_override": body | {"content_type": "application/json"},
    }


def _format(reply: Reply) -> dict[str, Any]:
    info = {"@type": ERROR_INFO, "reason": reply.reason, "domain": DOMAIN}
    return {"json_format": {"code": reply.code, "message": reply.message, "details": [info]}}


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


def _rest_only() -> dict[str, Any]:
    # A transcoded request has become gRPC by the time the router fails, but keeps its first path.
    not_grpc = {
        "name": "content-type",
        "string_match": {"prefix": "application/grpc"},
        "invert_match": True,
        "treat_missing_header_as_empty": True,
    }
    transcoded = {"name": "x-envoy-original-path", "present_match": True}
    return {
        "or_filter": {
            "filters": [
                {"header_filter": {"header": not_grpc}},
                {"header_filter": {"header": transcoded}},
            ]
        }
    }
