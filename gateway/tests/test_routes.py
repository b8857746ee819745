"""Invariant: every method with an HTTP rule has exactly one address, and no address two methods."""

import json
import subprocess
from pathlib import Path

import pytest

from gateway.descriptors import descriptor_set, write_descriptors
from gateway.envoy import envoy_command, render
from gateway.openapi import openapi_document
from gateway.routes import route_table
from gateway.settings import EnvoySettings, SettingsError, edge_settings, envoy_settings


def test_no_two_methods_share_an_address() -> None:
    seen: dict[tuple[str, str], str] = {}
    for rule in route_table().rules:
        address = (rule.verb, rule.pattern)
        assert address not in seen, f"{rule.grpc_path} and {seen[address]}"
        seen[address] = rule.grpc_path


def test_a_collection_belongs_to_one_service() -> None:
    owners: dict[str, str] = {}
    for rule in route_table().rules:
        assert owners.setdefault(rule.collection, rule.service) == rule.service, rule.template


def test_each_rule_finds_itself() -> None:
    for rule in route_table().rules:
        path = rule.template.replace("**", "*").replace("*", "x1")
        for name, pattern in rule.variables.items():
            filled = pattern.replace("*", "x1")
            path = path.replace("{" + f"{name}={filled}" + "}", filled)
        assert route_table().find(rule.verb, path) == rule
        assert route_table().find(rule.verb, path + "/more/and/more") is None


def test_internal_services_are_not_routed() -> None:
    assert not any(name.startswith("crm.common.") for name in route_table().grpc_services)
    everything = {s.name for f in descriptor_set().file for s in f.service}
    assert "FeedService" in everything


@pytest.fixture
def settings(tmp_path: Path) -> EnvoySettings:
    names = route_table().services
    return EnvoySettings(
        services={name: f"127.0.0.1:{21000 + number}" for number, name in enumerate(names)},
        edge_http="127.0.0.1:21100",
        edge_grpc="127.0.0.1:21101",
        descriptors=tmp_path / "api.binpb",
        cors_origins=("https://console.example", "*"),
        access_log=True,
    )


def test_envoy_accepts_the_rendered_bootstrap(settings: EnvoySettings, tmp_path: Path) -> None:
    write_descriptors(settings.descriptors)
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(render(settings)))
    command = [*envoy_command(config), "--mode", "validate"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_every_service_has_a_cluster_that_is_asked_for_its_health(settings: EnvoySettings) -> None:
    clusters = {c["name"]: c for c in render(settings)["static_resources"]["clusters"]}
    for service in route_table().services:
        assert clusters[service]["health_checks"][0]["no_traffic_interval"] == "2s"


def test_the_administration_listens_on_this_machine_only(settings: EnvoySettings) -> None:
    admin = render(settings)["admin"]["address"]["socket_address"]
    assert admin["address"] == "127.0.0.1"


def test_the_openapi_document_is_valid_and_has_every_method() -> None:
    from openapi_spec_validator import validate  # noqa: PLC0415  slow to import

    document = openapi_document("http://127.0.0.1:8080")
    validate(document)
    operations = [o for verbs in document["paths"].values() for o in verbs.values()]
    identifiers = {operation["operationId"] for operation in operations}
    rules = route_table().rules
    assert len(identifiers) == len(operations) == len(rules)
    for rule in rules:
        name = f"{rule.service}_{rule.method}"
        assert identifiers & {name, f"{name}_{rule.collection}"}
    for operation in operations:
        assert operation["summary"], operation["operationId"]


def test_the_openapi_document_says_what_the_contracts_say() -> None:
    document = openapi_document("http://127.0.0.1:8080")
    account = document["components"]["schemas"]["customer.Account"]
    assert account["additionalProperties"] is False
    assert account["required"] == ["display_name"]
    assert account["properties"]["uid"]["readOnly"] is True
    assert account["properties"]["display_name"]["maxLength"] == 300
    assert account["properties"]["founded_year"]["minimum"] == 1000
    patch = document["paths"]["/v1/accounts/{account}"]["patch"]
    body = patch["requestBody"]["content"]["application/json"]["schema"]
    assert "required" not in body
    assert patch["x-permission"] == "customer.accounts.update"
    stream = document["paths"]["/v1/customer/events:stream"]["get"]
    assert "text/event-stream" in stream["responses"]["200"]["content"]
    upload = document["paths"]["/v1/customer/uploads"]["post"]
    assert "application/octet-stream" in upload["requestBody"]["content"]
    logo = document["paths"]["/v1/organization/logo"]["get"]
    assert logo["responses"]["200"]["content"]["*/*"]["schema"]["format"] == "binary"
    assert document["paths"]["/v1/sessions"]["post"]["security"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CRM_SERVICES", ""),
        ("CRM_SERVICES", "customer"),
        ("CRM_SERVICES", "customer=host"),
        ("CRM_SERVICES", "customer=host:99999"),
        ("CRM_EDGE", "host:1"),
        ("CRM_PORT", "none"),
        ("CRM_PUBLIC_URL", "example.com"),
        ("CRM_RATE_LIMIT", "0"),
        ("CRM_ACCESS_LOG", "maybe"),
        ("CRM_RATELIMIT", "60"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    environment = {"CRM_SERVICES": "customer=localhost:1234", name: value}
    with pytest.raises(SettingsError, match=name):
        envoy_settings(Path("api.binpb"), environment)


def test_an_unknown_service_is_named(settings: EnvoySettings) -> None:
    with pytest.raises(SettingsError, match="nonsense"):
        render(EnvoySettings({"nonsense": "h:1"}, "h:2", "h:3", settings.descriptors))


def test_settings_are_read_from_the_environment() -> None:
    environment = {
        "CRM_SERVICES": "identity=id:1, customer=[::1]:2",
        "CRM_EDGE": "edge:8081,8082",
        "CRM_REFLECTION": "off",
        "CRM_CORS_ORIGINS": "https://a.example, https://b.example",
        "CRM_HOSTS": "crm.example",
    }
    edge = edge_settings(environment)
    assert (edge.host, edge.http_port, edge.grpc_port, edge.reflection) == (
        "edge",
        8081,
        8082,
        False,
    )
    envoy = envoy_settings(Path("api.binpb"), environment)
    assert envoy.hosts == ("crm.example",)
    assert envoy.cors_origins == ("https://a.example", "https://b.example")
