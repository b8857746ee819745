"""INVARIANT: docker-compose.yml runs every service, with settings that exist and no needless power.

That the containers really work is seen by tools/try_compose.py, which needs a container engine.
"""

import json
import re
from typing import Any

import pytest
import yaml

from crm_cli.services import NAMES, service
from crmkit.settings import KNOWN_ELSEWHERE, PREFIX, ServiceSettings, load
from gateway.settings import edge_settings, envoy_settings
from identity.settings import IdentitySettings

from .documents import ROOT

_LAST_PORT = 32767
_DEFAULT = re.compile(r"\$\{\w+:-([^{}]*)\}")


def _plain(text: str) -> str:
    """A text with every `${NAME:-default}` replaced by its default, from the inside out."""
    replaced = _DEFAULT.sub(r"\1", text)
    return replaced if replaced == text else _plain(replaced)


_FILE = json.loads(_plain(json.dumps(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))))
_CONTAINERS: dict[str, dict[str, Any]] = _FILE["services"]
_OURS = {name: c for name, c in _CONTAINERS.items() if "build" in c}


def _environment(name: str) -> dict[str, str]:
    return _CONTAINERS[name].get("environment", {})


def test_every_service_has_a_container_and_an_image_of_its_own() -> None:
    built = {name: c["build"]["args"]["SERVICE"] for name, c in _OURS.items()}
    assert set(NAMES) <= set(built)
    assert all(
        built[name] == name and _CONTAINERS[name]["image"] == f"crm-{name}" for name in NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_service_starts_with_its_settings(name: str) -> None:
    """The service's own loader takes them: nothing unknown, nothing missing, nothing wrong."""
    settings = load(service(name).settings, _environment(name))
    assert set(settings.services) == set(NAMES)
    assert settings.bind_host == "0.0.0.0"
    health = _CONTAINERS[name]["healthcheck"]["test"][-1]
    assert settings.services[name].split(":") == [name, health.split(":")[1]]


def test_the_gateway_starts_with_its_settings() -> None:
    edge = edge_settings(_environment("edge"))
    envoy = envoy_settings(ROOT / "api.binpb", _environment("envoy-config"))
    assert set(edge.services) == set(envoy.services) == set(NAMES)
    assert envoy.edge_http == f"edge:{edge.http_port}"
    assert envoy.edge_grpc == f"edge:{edge.grpc_port}"
    assert _CONTAINERS["envoy"]["ports"] == [f"127.0.0.1:{envoy.port}:{envoy.port}"]


def test_everybody_names_the_same_issuer() -> None:
    urls = {_environment(name).get("CRM_PUBLIC_URL") for name in (*NAMES, "edge", "envoy-config")}
    assert len(urls) == 1


@pytest.mark.parametrize("name", _CONTAINERS)
def test_a_container_has_only_settings_that_exist(name: str) -> None:
    fields = {**ServiceSettings.model_fields, **IdentitySettings.model_fields}
    known = {f"{PREFIX}{field.upper()}" for field in fields} | KNOWN_ELSEWHERE
    assert {n for n in _environment(name) if n.startswith(PREFIX)} <= known


@pytest.mark.parametrize("name", _CONTAINERS)
def test_a_container_has_no_power_that_it_does_not_need(name: str) -> None:
    container = _CONTAINERS[name]
    assert container["user"] not in {"root", "0", "0:0"}
    assert container["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in container["security_opt"]
    assert not {"privileged", "cap_add", "network"} & set(container)
    assert container.get("read_only") or name in {"postgres", "rabbitmq"}


@pytest.mark.parametrize("name", [n for n, c in _CONTAINERS.items() if "restart" in c])
def test_what_keeps_running_is_watched_bounded_and_given_time_to_stop(name: str) -> None:
    container = _CONTAINERS[name]
    assert container["healthcheck"]["test"][0] == "CMD", "without a shell"
    assert container["mem_limit"]
    if name in _OURS:
        assert container["stop_grace_period"] == "20s"


def test_only_the_gateway_is_reached_from_outside_and_only_from_this_machine() -> None:
    published = {name: c["ports"] for name, c in _CONTAINERS.items() if "ports" in c}
    assert set(published) == {"envoy"}
    assert all(port.startswith("127.0.0.1:") for port in published["envoy"])


def test_every_port_is_below_those_that_the_system_gives_to_clients() -> None:
    """A port that clients are given can be taken, or connect to itself."""
    text = json.dumps(_FILE)
    ports = {int(port) for port in re.findall(r":(\d{4,5})\b", text)}
    assert ports
    assert max(ports) <= _LAST_PORT
