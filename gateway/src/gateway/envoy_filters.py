"""Envoy's HTTP connection manager: the filters that every request passes, in their order."""

from typing import Any

from gateway.envoy_headers import SUBJECT_HEADER, strip_claims
from gateway.envoy_replies import local_reply_config
from gateway.envoy_routes import CHECK_PREFIX, EDGE_HTTP, MAX_UNARY_BYTES, route_config
from gateway.routes import Rule, route_table
from gateway.settings import EnvoySettings

# A page ends at 3 MiB of protobuf; as JSON it is larger.
MAX_RESPONSE_BYTES = 32 << 20
MAX_HEADERS_KIB = 96
MAX_SUBJECTS = 10_000
API_KEY_PREFIX = "Bearer crm_"

_REQUEST_ID = "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
_HTTP = "envoy.extensions.filters.http"


def connection_manager(settings: EnvoySettings) -> dict[str, Any]:
    """The network filter that speaks HTTP/1.1 and HTTP/2 (without TLS) on one port."""
    name = "envoy.filters.network.http_connection_manager"
    kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    config: dict[str, Any] = {
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "server_name": "crm",
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.trusted_proxies,
        "request_headers_timeout": "10s",
        # A thousand names of a batch in the query, and room beside them.
        "max_request_headers_kb": MAX_HEADERS_KIB,
        "stream_idle_timeout": "300s",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        # Without this Envoy would write its tracing decision into the caller's id.
        "request_id_extension": {
            "typed_config": {"@type": _REQUEST_ID, "pack_trace_reason": False}
        },
        "access_log": [_access_log()] if settings.access_log else [],
        "local_reply_config": local_reply_config(),
        "early_header_mutation_extensions": [strip_claims()],
        "route_config": route_config(settings),
        "http_filters": _filters(settings),
    }
    return _typed(name, kind, config)


def _filters(settings: EnvoySettings) -> list[dict[str, Any]]:
    # A compressed answer would lose its ETag, which clients send back as If-Match.
    compress = {
        "common_config": {"enabled": {"default_value": True, "runtime_key": "compress"}},
        "disable_on_etag_header": True,
    }
    gzip = _typed("gzip", "envoy.extensions.compression.gzip.compressor.v3.Gzip", {})
    return [
        _http(
            "compressor",
            "Compressor",
            {"response_direction_config": compress, "compressor_library": gzip},
        ),
        _http("cors", "Cors", {}),
        # Limits bodies where a route asks for it: see envoy_routes.
        _http("buffer", "Buffer", {"max_request_bytes": MAX_UNARY_BYTES}) | {"disabled": True},
        _http("jwt_authn", "JwtAuthentication", _jwt(settings)),
        # Off unless a route asks for it: see envoy_routes.
        _http("ext_authz", "ExtAuthz", _check()) | {"disabled": True},
        _http("local_ratelimit", "LocalRateLimit", _rate_limit(settings.rate_limit)),
        _http("grpc_web", "GrpcWeb", {}),
        _http("grpc_stats", "FilterConfig", {"stats_for_all_methods": True}),
        _http("grpc_json_transcoder", "GrpcJsonTranscoder", _transcoder(settings)),
        _http("router", "Router", {}),
    ]


def _jwt(settings: EnvoySettings) -> dict[str, Any]:
    key_set = f"http://{settings.edge_http}/.well-known/jwks.json"
    provider = {
        "issuer": settings.public_url,
        "audiences": [settings.audience],
        "remote_jwks": {
            "http_uri": {"uri": key_set, "cluster": EDGE_HTTP, "timeout": "2s"},
            "cache_duration": "30s",
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
        },
        # Services verify the token themselves and need to see it.
        "forward": True,
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "claim_to_headers": [{"header_name": SUBJECT_HEADER, "claim_name": "sub"}],
    }
    api_key = {
        "name": "authorization",
        "string_match": {"prefix": API_KEY_PREFIX, "ignore_case": True},
    }
    either = [{"provider_name": "crm"}, {"allow_missing": {}}]
    return {
        "providers": {"crm": provider},
        "bypass_cors_preflight": True,
        "rules": [
            # An API key is no JWT; the check service exchanges it for one.
            {"match": {"prefix": "/", "headers": [api_key]}},
            # Whoever signs in may still carry an expired token.
            *(rule for public in _public_rules() for rule in _without_token(public)),
            # Methods that need a token are refused by their service: Envoy judges what is sent.
            {"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": either}}},
        ],
    }


def _public_rules() -> list[Rule]:
    return [rule for rule in route_table().rules if rule.is_public]


def _without_token(rule: Rule) -> list[dict[str, Any]]:
    verb = {"name": ":method", "string_match": {"exact": rule.verb}}
    return [
        {"match": {"safe_regex": {"regex": rule.pattern}, "headers": [verb]}},
        {"match": {"path": rule.grpc_path}},
    ]


def _check() -> dict[str, Any]:
    def headers(*names: str) -> dict[str, Any]:
        return {"patterns": [{"exact": name, "ignore_case": True} for name in names]}

    return {
        "transport_api_version": "V3",
        "failure_mode_allow": False,
        "status_on_error": {"code": "ServiceUnavailable"},
        "with_request_body": {"max_request_bytes": MAX_UNARY_BYTES, "allow_partial_message": False},
        "allowed_headers": headers("authorization", "content-type", "x-request-id"),
        "http_service": {
            "server_uri": {"uri": "http://edge", "cluster": EDGE_HTTP, "timeout": "3s"},
            "path_prefix": CHECK_PREFIX,
            "authorization_response": {
                "allowed_upstream_headers": headers("authorization", SUBJECT_HEADER),
                "allowed_client_headers": headers(
                    "content-type", "www-authenticate", "grpc-status-details-bin"
                ),
            },
        },
    }


def _rate_limit(per_minute: int) -> dict[str, Any]:
    # One bucket for each value of the last entry (an empty value means any); anonymous callers are
    # counted by address. The filter's own bucket is so large that it never limits.
    bucket = {"max_tokens": per_minute, "tokens_per_fill": per_minute, "fill_interval": "60s"}
    anonymous = {
        "header_value_match": {
            "descriptor_value": "anonymous",
            "expect_match": False,
            "headers": [{"name": SUBJECT_HEADER, "present_match": True}],
        }
    }
    subject = {"request_headers": {"header_name": SUBJECT_HEADER, "descriptor_key": "subject"}}
    everyone = {"enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}}
    return {
        "stat_prefix": "gateway",
        "token_bucket": {"max_tokens": 1 << 30, "tokens_per_fill": 1 << 30, "fill_interval": "60s"},
        "rate_limits": [{"actions": [subject]}, {"actions": [anonymous, {"remote_address": {}}]}],
        "descriptors": [
            {"entries": [{"key": "subject"}], "token_bucket": bucket},
            {
                "entries": [
                    {"key": "header_match", "value": "anonymous"},
                    {"key": "remote_address"},
                ],
                "token_bucket": bucket,
            },
        ],
        "max_dynamic_descriptors": MAX_SUBJECTS,
        "filter_enabled": everyone["enabled"],
        "filter_enforced": everyone["enabled"],
        "response_headers_to_add": [{"header": {"key": "retry-after", "value": "60"}}],
        "rate_limited_as_resource_exhausted": True,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }


def _transcoder(settings: EnvoySettings) -> dict[str, Any]:
    return {
        "proto_descriptor": str(settings.descriptors),
        "services": route_table().grpc_services,
        "convert_grpc_status": True,
        "match_incoming_request_route": True,
        "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
        "query_param_unescape_plus": True,
        "match_unregistered_custom_verb": True,
        "max_request_body_size": MAX_UNARY_BYTES,
        "max_response_body_size": MAX_RESPONSE_BYTES,
        "print_options": {
            "always_print_primitive_fields": True,
            "preserve_proto_field_names": True,
            "stream_sse_style_delimited": True,
        },
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
    }


def _access_log() -> dict[str, Any]:
    # No query string, no address, no subject: the log may leave the machine.
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "milliseconds": "%DURATION%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "service": "%UPSTREAM_CLUSTER%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    kind = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    return _typed("stdout", kind, {"log_format": {"json_format": line}})


def _http(name: str, message: str, config: dict[str, Any]) -> dict[str, Any]:
    return _typed(f"envoy.filters.http.{name}", f"{_HTTP}.{name}.v3.{message}", config)


def _typed(name: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{kind}", **config}}
