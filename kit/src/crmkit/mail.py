"""Outgoing mail: one message to one person, handed to the server of `CRM_SMTP_URL`.

Call it from a durable job (`crmkit.jobs`), never inside a transaction: an attempt hands the message over at
most once, and the job repeats what the server could not take now.
"""

from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
from pydantic import BeforeValidator, SecretStr

from crmkit import clock
from crmkit.errors import FailedPrecondition, Unavailable

_SECONDS = 20.0
_PORTS = {"smtp": 587, "smtps": 465}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PERMANENT = 500  # and above: the server will not take it later either
_SETTINGS = "CRM_SMTP_URL and CRM_MAIL_FROM"


@dataclass(frozen=True)
class Mail:
    """A message to a person; with `html` their program shows that instead of the text."""

    to: str
    subject: str
    text: str
    html: str = ""


def _checked(value: Any) -> Any:
    """Nothing, or `smtp://user:password@host:587` (STARTTLS), `smtps://…` (TLS)."""
    if value in ("", None):
        return None
    url = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        msg = "must look like smtp://user:password@host:587 or smtps://user:password@host:465"
        raise ValueError(msg)
    return value


SmtpUrl = Annotated[SecretStr | None, BeforeValidator(_checked)]


def is_configured(settings: Any) -> bool:
    """True if mail can be sent."""
    return settings.smtp_url is not None and bool(settings.mail_from)


def require_configured(settings: Any) -> None:
    """Raises FailedPrecondition `MAIL_NOT_CONFIGURED`, which names the settings."""
    if not is_configured(settings):
        msg = f"Outgoing mail is not set up: {_SETTINGS} are needed."
        raise FailedPrecondition(msg, reason="MAIL_NOT_CONFIGURED")


async def send(settings: Any, mail: Mail) -> None:
    """Hands a message to the mail server.

    Raises:
        FailedPrecondition: `MAIL_NOT_CONFIGURED`, or `MAIL_REFUSED`: the server never takes it.
        Unavailable: `MAIL_SERVER_UNAVAILABLE`: it has not taken it and may do so later;
            `MAIL_OUTCOME_UNKNOWN`: the connection ended before it said whether it has.
    """
    require_configured(settings)
    try:
        await aiosmtplib.send(_message(settings.mail_from, mail), **_server(settings.smtp_url))
    except aiosmtplib.SMTPRecipientsRefused as error:
        _fail(error, min((r.code for r in error.recipients), default=_PERMANENT))
    except aiosmtplib.SMTPAuthenticationError as error:
        _fail(error, 0)  # mended by the operator, not by giving up
    except aiosmtplib.SMTPResponseException as error:
        _fail(error, error.code)
    except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPNotSupported) as error:
        _fail(error, 0)
    except (aiosmtplib.SMTPException, OSError) as error:
        _fail(error, 0, "MAIL_OUTCOME_UNKNOWN")


def _fail(error: Exception, code: int, reason: str = "MAIL_SERVER_UNAVAILABLE") -> None:
    """Raises what it means for the sender; the server's words may name people, so they stay out."""
    what = f"{type(error).__name__}, code {code}" if code else type(error).__name__
    if code >= _PERMANENT:
        msg = f"The mail server refuses the message ({what})."
        raise FailedPrecondition(msg, reason="MAIL_REFUSED") from None
    msg = f"The mail server cannot take the message now ({what})."
    raise Unavailable(msg, reason=reason) from None


def _message(sender: str, mail: Mail) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    try:
        message["To"] = Address(addr_spec=mail.to)
    except (ValueError, HeaderParseError):
        msg = "The recipient is no e-mail address."
        raise FailedPrecondition(msg, reason="MAIL_REFUSED") from None
    message["Subject"] = " ".join(mail.subject.split())  # a line break would begin another header
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = make_msgid(
        domain=parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    )
    message["Auto-Submitted"] = "auto-generated"  # keeps absence notes away (RFC 3834)
    message.set_content(mail.text)
    if mail.html:
        message.add_alternative(mail.html, subtype="html")
    return message


def _server(url: SecretStr) -> dict[str, Any]:
    parts = urlsplit(url.get_secret_value())
    with_tls = parts.scheme == "smtps"
    # A password never travels in clear, but to a server on this machine.
    must_start_tls = bool(parts.username) and parts.hostname not in _LOOPBACK
    return {
        "hostname": parts.hostname,
        "port": parts.port or _PORTS[parts.scheme],
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password or "") if parts.username else None,
        "use_tls": with_tls,
        "start_tls": None if with_tls or not must_start_tls else True,
        "timeout": _SECONDS,
    }
