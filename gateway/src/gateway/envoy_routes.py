"""Envoy's routes: which request goes to which cluster, with which deadline and which checks.

The check service (ext_authz) costs a round trip, so only routes that need it ask: those reached
with an API key, and REST writes, whose JSON is checked. Everything else goes straight through.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from gateway.envoy_refusals import (
    DISABLED,
    GRPC_CONTENT,
    after_all,
    before_all,
    too_long,
    wrong_verb,
)
from gateway.routes import Rule, route_table
from gateway.settings import EnvoySettings

EDGE_HTTP = "edge-http"
EDGE_GRPC = "edge-grpc"
# Where the edge app answers Envoy's questions; not reachable from outside.
CHECK_PREFIX = "/_check"
CHECK_FILTER = "envoy.filters.http.ext_authz"

# Tells the services where a request comes from; of the proxies in front only trusted ones are believed.
CLIENT_ADDRESS = "x-crm-client-address"
_REMOTE_ADDRESS = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"

BUFFER_FILTER = "envoy.filters.http.buffer"

MAX_UNARY_BYTES = 4 << 20
# A gRPC message travels in a frame with five bytes before it.
FRAME_BYTES = 5
REST_DEADLINE_SECONDS = 10
MAX_DEADLINE_SECONDS = 60
UPLOAD_IDLE = "60s"

EDGE_PATHS = (
    "/",
    "/docs",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/healthz",
    "/readyz",
)
EDGE_PREFIXES = ("/static/", "/sso/")
EDGE_GRPC_SERVICES = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)

# The edge's own pages: nothing to translate, nobody to know.
_PLAIN = {
    "typed_per_filter_config": {
        "envoy.filters.http.grpc_json_transcoder": DISABLED,
        "envoy.filters.http.jwt_authn": DISABLED,
    }
}

Route = dict[str, Any]


def route_config(settings: EnvoySettings) -> dict[str, Any]:
    """All routes; the first that matches is taken."""
    hosts = (urlsplit(settings.public_url).hostname or "", *settings.hosts)
    routes: list[Route] = [*before_all(hosts), *_preflights(), *_edge_routes()]
    for service in settings.services:
        routes += _service_routes(service)
    for service in settings.services:
        routes += wrong_verb(route_table().of(service))
    routes += after_all()
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": routes,
        "typed_per_filter_config": {"envoy.filters.http.cors": _cors(settings.cors_origins)},
        "response_headers_to_add": [
            _header("x-content-type-options", "nosniff"),
            _header("cache-control", "no-store"),
        ],
    }
    # What a client sends under this name was removed before: see envoy_filters.
    address = {"header": {"key": CLIENT_ADDRESS, "value": _REMOTE_ADDRESS}}
    return {"name": "gateway", "virtual_hosts": [host], "request_headers_to_add": [address]}


def _service_routes(service: str) -> Iterator[Route]:
    rules = route_table().of(service)
    for rule in rules:
        if rule.client_streaming:
            upload = _rest_rule(rule, {"idle_timeout": UPLOAD_IDLE})
            yield too_long(upload["match"])
            yield from _with_api_key(upload)
        elif rule.server_streaming:
            stream = _rest_rule(rule, {"idle_timeout": "0s"})
            yield from _with_api_key(_limited(stream, MAX_UNARY_BYTES if rule.body else 1))
    unary = [rule for rule in rules if not (rule.client_streaming or rule.server_streaming)]
    for verb in sorted({rule.verb for rule in unary}):
        route = _rest(service, verb, [rule.pattern for rule in unary if rule.verb == verb])
        if verb in ("GET", "DELETE"):
            yield from _with_api_key(_limited(route, 1))
        else:
            yield _checked(route, body=True)
    streams = sorted({r.grpc_path for r in rules if r.client_streaming or r.server_streaming})
    for path in streams:
        yield from _with_api_key(_forward(_grpc({"path": path}), service, {"idle_timeout": "0s"}))
    for name in sorted({rule.grpc_service for rule in rules}):
        calls = _forward(_grpc({"prefix": f"/{name}/"}), service, _deadline())
        # The deadline is Envoy's alone: the service's gRPC library would end the call without a reason.
        # Envoy answers with one and cancels the call in the service, which is what a deadline is for.
        calls["request_headers_to_remove"] = ["grpc-timeout"]
        yield from _with_api_key(_limited(calls, MAX_UNARY_BYTES + FRAME_BYTES))


def _rest_rule(rule: Rule, limits: dict[str, Any]) -> Route:
    match = {"safe_regex": {"regex": rule.pattern}, "headers": [_verb(rule.verb)]}
    return _forward(match, rule.service, limits)


def _rest(service: str, verb: str, patterns: list[str]) -> Route:
    match = {"safe_regex": {"regex": "|".join(patterns)}, "headers": [_verb(verb)]}
    # Envoy waits a second longer than the service, whose answer says more.
    route = _forward(match, service, _deadline(REST_DEADLINE_SECONDS + 1))
    default = _header("grpc-timeout", f"{REST_DEADLINE_SECONDS}S")
    return route | {"request_headers_to_add": [default]}


def _grpc(match: dict[str, Any]) -> dict[str, Any]:
    return match | {"headers": [_verb("POST"), GRPC_CONTENT]}


def _deadline(seconds: int = MAX_DEADLINE_SECONDS) -> dict[str, Any]:
    return {
        "max_stream_duration": {
            "max_stream_duration": f"{seconds}s",
            "grpc_timeout_header_max": f"{MAX_DEADLINE_SECONDS}s",
            # The caller's own library gives up at the deadline: the answer must be there before.
            "grpc_timeout_header_offset": "0.05s",
        }
    }


def _forward(match: dict[str, Any], cluster: str, limits: dict[str, Any]) -> Route:
    retry = {"retry_on": "connect-failure,refused-stream", "num_retries": 2}
    return {
        "match": match,
        # `timeout` counts from the end of the request and would cut streams: durations do the work.
        "route": {"cluster": cluster, "timeout": "0s", "retry_policy": retry, **limits},
    }


def _with_api_key(route: Route) -> Iterator[Route]:
    match = route["match"]
    api_key = {
        "name": "authorization",
        "string_match": {"prefix": "Bearer crm_", "ignore_case": True},
    }
    with_key = match | {"headers": [*match.get("headers", ()), api_key]}
    yield _checked(route | {"match": with_key}, body=False)
    yield route


def _checked(route: Route, *, body: bool) -> Route:
    settings = {} if body else {"disable_request_body_buffering": True}
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    return _filtered(route, CHECK_FILTER, {"@type": kind, "check_settings": settings})


def _limited(route: Route, most_bytes: int) -> Route:
    """A longer body is answered 413. One byte is the least that Envoy can allow: it means none."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
    limit = {"@type": kind, "buffer": {"max_request_bytes": most_bytes}}
    return _filtered(route, BUFFER_FILTER, limit)


def _filtered(route: Route, name: str, config: dict[str, Any]) -> Route:
    others = route.get("typed_per_filter_config", {})
    return route | {"typed_per_filter_config": others | {name: config}}


def _preflights() -> Iterator[Route]:
    """The CORS filter answers them, on routes that forward; of those it does not, the edge knows no path."""
    asked = {"name": "access-control-request-method", "present_match": True}
    for prefix in ("/v1/", "/crm."):
        match = {"prefix": prefix, "headers": [_verb("OPTIONS"), asked]}
        yield _forward(match, EDGE_HTTP, {"timeout": "10s"}) | _PLAIN


def _edge_routes() -> Iterator[Route]:
    limits = {"timeout": "10s"}
    for path in EDGE_PATHS:
        yield _forward({"path": path}, EDGE_HTTP, limits) | _PLAIN
    for prefix in EDGE_PREFIXES:
        yield _forward({"prefix": prefix}, EDGE_HTTP, limits) | _PLAIN
    for name in EDGE_GRPC_SERVICES:
        yield _forward(_grpc({"prefix": f"/{name}/"}), EDGE_GRPC, {"idle_timeout": "0s"}) | _PLAIN


def _cors(origins: tuple[str, ...]) -> dict[str, Any]:
    exposed = (
        "grpc-status, grpc-message, grpc-status-details-bin, etag, x-request-id, retry-after, "
        "x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, content-disposition"
    )
    allowed = (
        "authorization, content-type, x-grpc-web, x-user-agent, grpc-timeout, idempotency-key, "
        "if-match, x-request-id, accept-language"
    )
    any_origin = {"safe_regex": {"regex": ".*"}}
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [
            any_origin if origin == "*" else {"exact": origin} for origin in origins
        ],
        "allow_methods": "GET, POST, PATCH, PUT, DELETE, OPTIONS",
        "allow_headers": allowed,
        "expose_headers": exposed,
        "max_age": "600",
    }


def _verb(pattern: str) -> dict[str, Any]:
    return {"name": ":method", "string_match": {"safe_regex": {"regex": pattern}}}


def _header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "ADD_IF_ABSENT"}
