"""Settings of the identity service."""

from typing import Annotated

from pydantic import Field, SecretStr

from crmkit.settings import ServiceSettings


class IdentitySettings(ServiceSettings):
    """What identity needs beyond what every service needs.

    Attributes:
        admin_email: Whom the first start makes administrator.
        admin_password: Their password; without one the first start makes nobody. The operator is
            taken at their word: a weak one is noted in the log, not refused.
        signing_key_days: After how many days a new key signs access tokens.
    """

    admin_email: str = "admin@example.com"
    signing_key_days: Annotated[int, Field(gt=0, le=3650)] = 90
    admin_password: SecretStr | None = None
