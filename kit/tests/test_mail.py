"""Outgoing mail, against a real server on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import BaseModel, ValidationError

from crmkit import mail
from crmkit.errors import FailedPrecondition, Unavailable
from crmkit.mail import Mail, SmtpUrl
from crmkit.ports import free_port

MAIL = Mail("ada@example.com", "Grüße\r\nBcc: all@example.com", "您好\n.\nEnd")


class Settings(BaseModel):
    smtp_url: SmtpUrl = None
    mail_from: str = "CRM <crm@example.com>"


@dataclass
class Server:
    """A mail server that answers as it is told."""

    answer: str = "250 OK"
    recipient_answer: str = "250 OK"
    received: list[Any] = field(default_factory=list)

    async def handle_RCPT(self, *arguments: Any) -> str:
        envelope, address = arguments[2], arguments[3]
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        self.received.append(envelope)
        if self.answer == "hang up":
            server.transport.abort()
        return self.answer


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    handler = Server()

    def login(*arguments: Any) -> AuthResult:
        given = arguments[4]
        wanted = LoginPassword(b"crm", b"p@ss/word")
        return AuthResult(success=given == wanted)

    controller = Controller(
        handler, hostname="127.0.0.1", port=free_port(), authenticator=login,
        auth_require_tls=False,
    )  # fmt: skip
    controller.start()
    yield handler, f"127.0.0.1:{controller.port}"
    controller.stop()


async def test_a_mail_arrives_as_it_was_written(server: tuple[Server, str]) -> None:
    """INVARIANT: one recipient, and no line break makes another header."""
    handler, address = server
    await mail.send(Settings(smtp_url=f"smtp://crm:p%40ss%2Fword@{address}"), MAIL)
    (envelope,) = handler.received
    assert (envelope.mail_from, envelope.rcpt_tos) == ("crm@example.com", ["ada@example.com"])
    head = envelope.content.split(b"\r\n\r\n")[0]
    assert b"\nBcc:" not in head
    assert b"Message-ID: <" in head


@pytest.mark.parametrize(
    ("answers", "failure", "reason"),
    [
        ({"answer": "451 later"}, Unavailable, "MAIL_SERVER_UNAVAILABLE"),
        ({"answer": "554 spam"}, FailedPrecondition, "MAIL_REFUSED"),
        ({"recipient_answer": "450 busy"}, Unavailable, "MAIL_SERVER_UNAVAILABLE"),
        ({"recipient_answer": "550 ada@example.com"}, FailedPrecondition, "MAIL_REFUSED"),
        ({"answer": "hang up"}, Unavailable, "MAIL_OUTCOME_UNKNOWN"),
    ],
)
async def test_what_the_server_says_decides_whether_to_repeat(
    server: tuple[Server, str], answers: dict[str, str], failure: type[Exception], reason: str
) -> None:
    """INVARIANT: an attempt hands the mail over at most once; the message names nobody."""
    handler, address = server
    for name, value in answers.items():
        setattr(handler, name, value)
    with pytest.raises(failure) as refused:
        await mail.send(Settings(smtp_url=f"smtp://{address}"), MAIL)
    assert refused.value.reason == reason  # type: ignore[attr-defined]
    assert "ada@" not in str(refused.value)
    assert len(handler.received) <= 1


async def test_a_wrong_password_of_ours_can_be_mended(server: tuple[Server, str]) -> None:
    """The mail waits until the operator has."""
    handler, address = server
    with pytest.raises(Unavailable):
        await mail.send(Settings(smtp_url=f"smtp://crm:wrong@{address}"), MAIL)
    assert not handler.received


async def test_no_server_is_a_reason_to_repeat() -> None:
    with pytest.raises(Unavailable) as refused:
        await mail.send(Settings(smtp_url=f"smtp://127.0.0.1:{free_port()}"), MAIL)
    assert refused.value.reason == "MAIL_SERVER_UNAVAILABLE"


async def test_a_mail_may_have_a_second_form(server: tuple[Server, str]) -> None:
    """Both are there; a program shows the one that it can."""
    handler, address = server
    both = Mail("ada@example.com", "S", "plain", "<p>html</p>")
    await mail.send(Settings(smtp_url=f"smtp://{address}"), both)
    content = handler.received[0].content
    assert b"multipart/alternative" in content
    assert content.index(b"plain") < content.index(b"<p>html</p>")


@pytest.mark.parametrize("to", ["a@example.com, b@example.com", "nobody", "a@example.com\r\nX: y"])
async def test_a_recipient_is_one_address(server: tuple[Server, str], to: str) -> None:
    handler, address = server
    with pytest.raises(FailedPrecondition):
        await mail.send(Settings(smtp_url=f"smtp://{address}"), Mail(to, "S", "T"))
    assert not handler.received


async def test_without_settings_the_failure_names_them() -> None:
    for settings in (Settings(), Settings(smtp_url="smtp://127.0.0.1:25", mail_from="")):
        with pytest.raises(FailedPrecondition, match="CRM_SMTP_URL and CRM_MAIL_FROM"):
            await mail.send(settings, MAIL)


@pytest.mark.parametrize(
    "url", ["mail.example.com", "http://x", "smtp://", "smtp://h:x", "smtp://h:0"]
)
def test_a_wrong_address_of_the_server_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError, match="smtps://user:password@host:465"):
        Settings(smtp_url=url)


def test_a_password_never_travels_in_clear() -> None:
    """INVARIANT: credentials for another machine need TLS from the beginning or STARTTLS."""

    def server_of(url: str) -> dict[str, Any]:
        settings = Settings(smtp_url=url)
        assert settings.smtp_url is not None
        return mail._server(settings.smtp_url)

    remote = server_of("smtp://u:p@mail.example.com")
    assert (remote["port"], remote["use_tls"], remote["start_tls"]) == (587, False, True)
    tls = server_of("smtps://u:p@mail.example.com")
    assert (tls["port"], tls["use_tls"], tls["start_tls"]) == (465, True, None)
    assert server_of("smtp://127.0.0.1:25")["start_tls"] is None
