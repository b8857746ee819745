"""Settings of the identity service."""

from pydantic import SecretStr

from crmkit.settings import ServiceSettings


class IdentitySettings(ServiceSettings):
    """What identity needs beyond what every service needs.

    Attributes:
        admin_email: Whom the first start makes administrator.
        admin_password: Their password; without one the first start makes nobody. The operator is
            taken at their word: a weak one is noted in the log, not refused.
    """

    admin_email: str = "admin@example.com"
    admin_password: SecretStr | None = None
