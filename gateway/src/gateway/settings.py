"""What the gateway must be told, as plain values."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

MAX_PORT = 65535
PREFIX = "CRM_"
# What the edge and Envoy's configuration are made from, and what clients read. Any other name is a
# typing error, and a setting that does nothing is worse than one that refuses to start.
_KNOWN = frozenset(
    {
        "CRM_SERVICES", "CRM_EDGE", "CRM_PUBLIC_URL", "CRM_REFLECTION", "CRM_HOST", "CRM_PORT",
        "CRM_ENVOY_ADMIN_PORT", "CRM_ENVOY_BIN", "CRM_AUDIENCE", "CRM_CORS_ORIGINS", "CRM_HOSTS",
        "CRM_RATE_LIMIT", "CRM_TRUSTED_PROXIES", "CRM_ACCESS_LOG",
        "CRM_URL", "CRM_EMAIL", "CRM_PASSWORD", "CRM_API_KEY",
    }
)  # fmt: skip


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it."""


@dataclass(frozen=True)
class EdgeSettings:
    """What the edge app needs.

    Attributes:
        services: where each service listens, `{"customer": "127.0.0.1:20301"}`.
        http_port: port of the HTTP app; 0 takes a free one.
        grpc_port: port of reflection and health; 0 takes a free one.
        host: address both listen on.
        public_url: where clients reach the gateway; named in the OpenAPI document.
        reflection: whether gRPC reflection is offered.
    """

    services: Mapping[str, str]
    http_port: int
    grpc_port: int
    host: str = "127.0.0.1"
    public_url: str = "http://127.0.0.1:8080"
    reflection: bool = True


@dataclass(frozen=True)
class EnvoySettings:
    """What Envoy's bootstrap is made from.

    Attributes:
        services: where each service listens; all addresses of a DNS name share the load.
        edge_http: `host:port` of the edge app.
        edge_grpc: `host:port` of the edge's reflection and health.
        descriptors: the file `write_descriptors` wrote, as Envoy sees it.
        host: address to listen on.
        port: port for REST, gRPC and gRPC-Web.
        admin_port: port of Envoy's administration on 127.0.0.1; 0 takes a free one.
        public_url: the issuer that access tokens must name.
        audience: the audience that access tokens must name.
        cors_origins: origins whose pages may call; `*` for any.
        hosts: further names that clients may call the gateway by.
        rate_limit: calls a minute for each subject, or for each address without one.
        trusted_proxies: number of proxies in front whose `x-forwarded-for` is believed.
        access_log: whether to log requests to standard output.
    """

    services: Mapping[str, str]
    edge_http: str
    edge_grpc: str
    descriptors: Path
    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 0
    public_url: str = "http://127.0.0.1:8080"
    audience: str = "crm"
    cors_origins: tuple[str, ...] = field(default=())
    hosts: tuple[str, ...] = field(default=())
    rate_limit: int = 6000
    trusted_proxies: int = 0
    access_log: bool = False


def address(text: str, setting: str) -> tuple[str, int]:
    """Splits `host:port`.

    Raises:
        SettingsError: `text` is not `host:port`; names `setting`.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT:
        message = f"{setting}: {text!r} is not host:port"
        raise SettingsError(message)
    return host.removeprefix("[").removesuffix("]"), int(port)


def edge_settings(environment: Mapping[str, str] = os.environ) -> EdgeSettings:
    """Reads the edge's settings from CRM_* variables.

    Raises:
        SettingsError: a variable is missing, wrong or unknown.
    """
    _refuse_unknown(environment)
    host, http_port, grpc_port = _edge(environment)
    return EdgeSettings(
        services=_services(environment),
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        public_url=_public_url(environment),
        reflection=_switch(environment, "CRM_REFLECTION", default=True),
    )


def envoy_settings(descriptors: Path, environment: Mapping[str, str] = os.environ) -> EnvoySettings:
    """Reads Envoy's settings from CRM_* variables.

    Args:
        descriptors: path of the descriptor file as Envoy will see it.
        environment: where to read.

    Raises:
        SettingsError: a variable is missing, wrong or unknown.
    """
    _refuse_unknown(environment)
    host, http_port, grpc_port = _edge(environment)
    return EnvoySettings(
        services=_services(environment),
        edge_http=f"{host}:{http_port}",
        edge_grpc=f"{host}:{grpc_port}",
        descriptors=descriptors,
        host=environment.get("CRM_HOST", "127.0.0.1"),
        port=_number(environment, "CRM_PORT", 8080, maximum=MAX_PORT),
        admin_port=_number(environment, "CRM_ENVOY_ADMIN_PORT", 0, maximum=MAX_PORT),
        public_url=_public_url(environment),
        audience=environment.get("CRM_AUDIENCE", "crm"),
        cors_origins=_list(environment, "CRM_CORS_ORIGINS"),
        hosts=_list(environment, "CRM_HOSTS"),
        rate_limit=_number(environment, "CRM_RATE_LIMIT", 6000, minimum=1),
        trusted_proxies=_number(environment, "CRM_TRUSTED_PROXIES", 0),
        access_log=_switch(environment, "CRM_ACCESS_LOG", default=False),
    )


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    unknown = sorted(n for n in environment if n.startswith(PREFIX) and n not in _KNOWN)
    if unknown:
        message = f"there is no such setting of the gateway: {', '.join(unknown)}"
        raise SettingsError(message)


def _services(environment: Mapping[str, str]) -> dict[str, str]:
    text = environment.get("CRM_SERVICES", "")
    if not text:
        message = "CRM_SERVICES is missing: identity=host:port,customer=host:port,…"
        raise SettingsError(message)
    services: dict[str, str] = {}
    for entry in text.split(","):
        name, _, target = entry.strip().partition("=")
        address(target, f"CRM_SERVICES, {name}")
        services[name] = target
    return services


def _edge(environment: Mapping[str, str]) -> tuple[str, int, int]:
    text = environment.get("CRM_EDGE", "127.0.0.1:8081,8082")
    target, _, grpc_port = text.partition(",")
    host, http_port = address(target, "CRM_EDGE")
    return host, http_port, address(f"{host}:{grpc_port}", "CRM_EDGE")[1]


def _public_url(environment: Mapping[str, str]) -> str:
    port = environment.get("CRM_PORT", "8080")
    url = environment.get("CRM_PUBLIC_URL", f"http://127.0.0.1:{port}").rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        message = f"CRM_PUBLIC_URL: {url!r} is not an http or https address"
        raise SettingsError(message)
    return url


def _list(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environment.get(name, "").split(",") if part.strip())


def _switch(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(name, "on" if default else "off").lower()
    if text not in ("on", "off", "true", "false", "1", "0"):
        message = f"{name}: {text!r} is neither on nor off"
        raise SettingsError(message)
    return text in ("on", "true", "1")


def _number(
    environment: Mapping[str, str],
    name: str,
    default: int,
    *,
    minimum: int = 0,
    maximum: int = 1_000_000_000,
) -> int:
    text = environment.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not minimum <= int(text) <= maximum:
        message = f"{name}: {text!r} is not a number from {minimum} to {maximum}"
        raise SettingsError(message)
    return int(text)
