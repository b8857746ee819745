"""INVARIANT: docs/operations/configuration.md lists every setting, with the default that holds."""

from pathlib import Path
from typing import Any

import pytest

from crm_cli.services import NAMES, service
from crm_cli.system import SystemOptions
from crm_cli.up_settings import from_environment
from crmkit.settings import KNOWN_ELSEWHERE, PREFIX
from gateway.settings import edge_settings, envoy_settings

from .documents import ROOT, table_rows

_SETTINGS = {
    row[0].strip("`"): row[1].strip("`")
    for row in table_rows(ROOT / "docs/operations/configuration.md")
    if row[0].startswith("`")
}
# `crm up` has its own: it shows a person what went wrong, and keeps quiet otherwise.
_OTHER_IN_UP = {"CRM_PUBLIC_URL"}


def _shown(value: Any) -> str:
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _of_services() -> dict[str, str]:
    kinds = [service(name).settings for name in NAMES]
    fields = {name: field for kind in kinds for name, field in kind.model_fields.items()}
    return {
        f"{PREFIX}{name.upper()}": "required" if field.is_required() else _shown(field.default)
        for name, field in fields.items()
    }


def test_every_setting_is_listed_and_nothing_else() -> None:
    """A service refuses names that are not known; the list has exactly those that are."""
    assert set(_SETTINGS) == set(_of_services()) | KNOWN_ELSEWHERE


def test_defaults_of_services_are_as_listed() -> None:
    defaults = _of_services()
    assert {name: _SETTINGS[name] for name in defaults} == defaults


def test_defaults_of_crm_up_are_as_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `crm up` reads them from an environment that says nothing."""
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)
    options: SystemOptions = from_environment().options()
    found = {f"{PREFIX}{name.upper()}": _shown(value) for name, value in vars(options).items()}
    compared = (set(found) & set(_SETTINGS)) - _OTHER_IN_UP - {"CRM_SERVICES"}
    assert len(compared) > 7
    assert {name: found[name] for name in compared} == {name: _SETTINGS[name] for name in compared}
    assert options.url == _SETTINGS["CRM_PUBLIC_URL"]


def test_defaults_of_the_gateway_are_as_listed() -> None:
    """As the edge and Envoy's bootstrap read them."""
    least = {"CRM_SERVICES": "identity=127.0.0.1:20301"}
    edge, envoy = edge_settings(least), envoy_settings(Path("api.binpb"), least)
    found = {
        f"{PREFIX}{name.upper()}": _shown(value)
        for settings in (edge, envoy)
        for name, value in vars(settings).items()
    }
    found["CRM_REFLECTION"] = _shown(edge.reflection)
    found["CRM_EDGE"] = f"{envoy.edge_http},{envoy.edge_grpc.rpartition(':')[2]}"
    found["CRM_HOST"] = envoy.host
    compared = (set(found) & set(_SETTINGS)) - set(least)
    assert {name: found[name] for name in compared} == {name: _SETTINGS[name] for name in compared}
