"""What `crm up` reads from the environment; faults are told all at once."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crm_cli.system import SystemOptions
from crmkit.file_store_url import FileStoreUrl
from crmkit.mail import SmtpUrl
from crmkit.settings import PREFIX, load


def _list(value: Any) -> Any:
    """`https://a.example,https://b.example` as a tuple."""
    if not isinstance(value, str):
        return value
    return tuple(origin.strip() for origin in value.split(",") if origin.strip())


def _networks(value: str) -> str:
    """Refuses at the start what the service workspace would refuse; it reads the text itself."""
    for part in value.split(","):
        if part.strip():
            ipaddress.ip_network(part.strip())
    return value


class UpSettings(BaseSettings):
    """The settings of `crm up`; docs/operations/configuration.md explains each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(gt=0, lt=65536)] = 8080
    public_url: str = ""
    admin_email: Annotated[str, Field(pattern=r"^[^\s@]+@[^\s@]+$")] = "admin@example.com"
    admin_password: SecretStr = SecretStr("")
    amqp_url: SecretStr = SecretStr("")
    smtp_url: SmtpUrl = None
    mail_from: str = ""
    attachments_url: FileStoreUrl = ""
    attachments_access_key: str = ""
    attachments_secret_key: SecretStr = SecretStr("")
    attachments_max_mib: Annotated[int, Field(ge=1, le=100)] = 25
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)] = ()
    hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)] = ()
    rate_limit: Annotated[int, Field(gt=0)] = 6000
    reflection: Literal["on", "off"] = "on"
    webhook_allow_networks: Annotated[str, AfterValidator(_networks)] = ""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"

    def options(self) -> SystemOptions:
        """The same, as the system takes it."""
        return SystemOptions(
            data_dir=self.data_dir,
            host=self.host,
            port=self.port,
            public_url=self.public_url,
            admin_email=self.admin_email,
            admin_password=self.admin_password.get_secret_value(),
            amqp_url=self.amqp_url.get_secret_value(),
            smtp_url=self.smtp_url.get_secret_value() if self.smtp_url else "",
            mail_from=self.mail_from,
            attachments_url=self.attachments_url,
            attachments_access_key=self.attachments_access_key,
            attachments_secret_key=self.attachments_secret_key.get_secret_value(),
            attachments_max_mib=self.attachments_max_mib,
            rate_limit=self.rate_limit,
            reflection=self.reflection == "on",
            webhook_allow_networks=self.webhook_allow_networks,
            cors_origins=self.cors_origins,
            hosts=self.hosts,
        )


def from_environment() -> UpSettings:
    """Reads the settings; raises SettingsError naming every unknown and wrong one."""
    return load(UpSettings)
