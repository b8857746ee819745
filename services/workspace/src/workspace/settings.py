"""Settings of the workspace service."""

import ipaddress
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from crmkit.safe_http import Network
from crmkit.settings import ServiceSettings


def _networks(value: Any) -> Any:
    """`10.20.0.0/16,fd00:1::/64` as networks."""
    if not isinstance(value, str):
        return value
    return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())


class WorkspaceSettings(ServiceSettings):
    """What workspace needs beyond what every service needs.

    Attributes:
        webhook_allow_networks: Private networks that webhooks may lead into, also without TLS.
    """

    webhook_allow_networks: Annotated[
        tuple[Network, ...], NoDecode, BeforeValidator(_networks)
    ] = ()
