"""Identity providers: where people sign in who have an account elsewhere; and whom we let in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument, Unauthenticated

_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LONGEST_NAME = 300
_LONGEST_SUBJECT = 255
_LONGEST_EMAIL = 254


@dataclass(kw_only=True)
class IdentityProvider(Record):
    """An OpenID Connect provider that an administrator trusts to say who somebody is."""

    display_name: str
    issuer: str
    client_id: str
    allowed_email_domains: list[str] = field(default_factory=list)
    default_roles: list[UUID] = field(default_factory=list)
    create_users: bool = False
    sealed_client_secret: bytes | None = field(default=None, repr=False)

    def check(self) -> None:
        """Writes domains in lower case.

        Raises:
            InvalidArgument: The issuer is no https URL, a domain is none; or anyone in the world could
                become a user: `ALLOWED_DOMAINS_REQUIRED`.
        """
        if not is_safe_url(self.issuer) or urlsplit(self.issuer).query:
            msg = "identity_provider.issuer must be an https URL without query and fragment."
            raise InvalidArgument(msg, field="identity_provider.issuer")
        domains = [domain.strip().lower() for domain in self.allowed_email_domains]
        for index, domain in enumerate(domains):
            if not _DOMAIN.fullmatch(domain):
                path = f"identity_provider.allowed_email_domains[{index}]"
                msg = f"{path} must be a domain such as example.com."
                raise InvalidArgument(msg, field=path)
        self.allowed_email_domains = list(dict.fromkeys(domains))
        self.default_roles = list(dict.fromkeys(self.default_roles))
        if self.create_users and not self.allowed_email_domains:
            msg = "Users are made at their first sign-in only for allowed_email_domains: name them."
            path = "identity_provider.allowed_email_domains"
            raise InvalidArgument(msg, reason="ALLOWED_DOMAINS_REQUIRED", field=path)

    def refuse_address(self, email: str) -> None:
        """Raises Unauthenticated `EMAIL_NOT_ALLOWED` for an address of another domain."""
        if self.allowed_email_domains:
            domain = email.rpartition("@")[2].lower()
            if domain not in self.allowed_email_domains:
                msg = "Addresses of this domain do not sign in here."
                raise Unauthenticated(msg, reason="EMAIL_NOT_ALLOWED")


@dataclass(frozen=True)
class Person:
    """Whom a provider has named.

    Attributes:
        subject: The provider's own name for the person; never given to another.
        email: Their address; empty unless the provider has verified it.
    """

    subject: str
    email: str = field(repr=False)
    display_name: str = field(repr=False)

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> "Person":
        """The person in the claims of a verified ID token.

        Raises:
            Unauthenticated: `INVALID_ID_TOKEN`: a claim is not what it should be.
        """
        subject = _text(claims, "sub", _LONGEST_SUBJECT)
        verified = claims.get("email_verified") is True
        email = _text(claims, "email", _LONGEST_EMAIL) if verified else ""
        name = "".join(sign for sign in str(claims.get("name") or "") if sign.isprintable())
        shown = name.strip() or email.partition("@")[0] or "Unnamed"
        return cls(subject, email, shown[:_LONGEST_NAME])


def _text(claims: Mapping[str, Any], name: str, longest: int) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= longest:
        msg = f"The identity provider's claim {name} is not usable."
        raise Unauthenticated(msg, reason="INVALID_ID_TOKEN")
    return value


def is_safe_url(url: str) -> bool:
    """True for https, and on this machine for http: what we send there are secrets."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    plain = all(33 <= ord(sign) < 127 for sign in url)  # noqa: PLR2004 - printable ASCII
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    return plain and secure and bool(host) and "@" not in parts.netloc and not parts.fragment


def local_page(path: str) -> str:
    """A page of ours to show after the sign-in; the first one if the path leads anywhere else."""
    ours = re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", path)
    return path if ours else "/"
