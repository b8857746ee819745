"""Settings from the environment: typed, complete, and refused as a whole when one is wrong."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crmkit.file_store_url import FileStoreUrl
from crmkit.mail import SmtpUrl

PREFIX = "CRM_"

# Names that other parts of the system read; any other CRM_ name is a typing error.
KNOWN_ELSEWHERE = frozenset(
    {
        "CRM_URL", "CRM_EMAIL", "CRM_PASSWORD", "CRM_API_KEY",  # clients
        "CRM_DATA_DIR", "CRM_ADMIN_EMAIL", "CRM_ADMIN_PASSWORD",  # crm up, first start
        "CRM_SIGNING_KEY_DAYS",  # identity
        "CRM_WEBHOOK_ALLOW_NETWORKS",  # workspace
        "CRM_HOST", "CRM_PORT", "CRM_ENVOY_BIN", "CRM_EDGE", "CRM_REFLECTION",  # gateway
        "CRM_CORS_ORIGINS", "CRM_HOSTS", "CRM_RATE_LIMIT", "CRM_AUDIENCE", "CRM_TRUSTED_PROXIES",
        "CRM_ENVOY_ADMIN_PORT", "CRM_ACCESS_LOG",
        "CRM_TEST_DATABASE_URL", "CRM_TEST_AMQP_URL",  # tests
    }
)  # fmt: skip

S = TypeVar("S", bound=BaseSettings)


class SettingsError(Exception):
    """Every fault of the settings at once, one a line."""


def _addresses(value: Any) -> Any:
    """`identity=host:port,customer=host:port` as a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not name.strip() or ":" not in address for name, _, address in pairs):
        msg = "must look like identity=host:port,customer=host:port"
        raise ValueError(msg)
    return {name.strip(): address.strip() for name, _, address in pairs}


Addresses = Annotated[dict[str, str], NoDecode, BeforeValidator(_addresses)]


class ServiceSettings(BaseSettings):
    """What a service needs to run.

    Attributes:
        database_url: libpq URL; `{service}` stands for the service's name.
        amqp_url: The message bus; without it consumers pull.
        services: Address of every service, `host:port`.
        bind_host: Interface to listen on; the port is the one in `services`.
        keys_dir: Folder with the services' keys.
        public_url: What people type; the issuer of tokens and the start of links.
        smtp_url: The server that outgoing mail is handed to; without it none is sent.
        mail_from: The sender of outgoing mail.
        attachments_url: Where attached files are kept; without it none are taken.
        attachments_access_key: The key id for a bucket; without it the machine's own rights count.
        attachments_secret_key: The key itself.
        attachments_max_mib: How large an attached file may be.
        metrics_port: Prometheus metrics over HTTP; none if 0.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    database_url: SecretStr
    amqp_url: SecretStr | None = None
    services: Addresses
    bind_host: str = "127.0.0.1"
    keys_dir: Path
    public_url: str = "http://127.0.0.1:8080"
    smtp_url: SmtpUrl = None
    mail_from: str = ""
    attachments_url: FileStoreUrl = ""
    attachments_access_key: str = ""
    attachments_secret_key: SecretStr | None = None
    attachments_max_mib: Annotated[int, Field(ge=1, le=100)] = 25
    metrics_port: int = 0
    log_level: str = "info"
    otlp_endpoint: str = ""
    max_connections: int = 10

    def url_of(self, service: str) -> str:
        """The database of a service."""
        return self.database_url.get_secret_value().replace("{service}", service)


def load(settings: type[S], environ: Mapping[str, str] | None = None, **given: Any) -> S:
    """Reads settings; `NAME_FILE` gives a value from a file.

    Raises:
        SettingsError: Names every unknown, missing and wrong setting.
    """
    environ = os.environ if environ is None else environ
    ours = {k: v for k, v in environ.items() if k.startswith(PREFIX)}
    fields = {f"{PREFIX}{name.upper()}": name for name in settings.model_fields}
    values: dict[str, Any] = dict(given)
    known = KNOWN_ELSEWHERE | {f"{PREFIX}{name.upper()}" for name in ServiceSettings.model_fields}
    faults = []
    for name, value in sorted(ours.items()):
        plain = name.removesuffix("_FILE")
        if name in fields:
            values.setdefault(fields[name], value)
        elif plain != name and plain in fields:
            try:
                values.setdefault(fields[plain], Path(value).read_text(encoding="utf-8").strip())
            except OSError as error:
                faults.append(f"{name}: {error.strerror}")
        elif name not in known and plain not in known:
            faults.append(f"{name}: there is no such setting")
    try:
        loaded = settings.model_validate(values)
    except ValidationError as error:
        faults += [
            f"{PREFIX}{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors()
        ]
    if faults:
        raise SettingsError("\n".join(faults))
    return loaded
