"""Links to set a password, over gRPC and a real mail server: for whoever reads the mailbox, once."""

import re
from datetime import timedelta
from email.message import EmailMessage
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import pytest
import sqlalchemy as sa

from crm.identity.v1 import session_pb2, user_pb2
from crmkit.clock import clock
from crmkit.statements import compile_statement
from crmkit.testing.harness import ISSUER, details_of
from crmkit.testing.polling import eventually

if TYPE_CHECKING:
    from conftest import Identity

PASSWORD, NEW = "a long enough secret", "quite another good one"


def ask(identity: "Identity", email: str, **headers: str) -> grpc.aio.UnaryUnaryCall:
    request = user_pb2.RequestPasswordResetRequest(email=email)
    call: grpc.aio.UnaryUnaryCall = identity.users.RequestPasswordReset(
        request, metadata=tuple(headers.items())
    )
    return call


def use(identity: "Identity", token: str, password: str = NEW) -> grpc.aio.UnaryUnaryCall:
    request = user_pb2.SetPasswordRequest(token=token, new_password=password)
    call: grpc.aio.UnaryUnaryCall = identity.users.SetPassword(request)
    return call


def token_of(mail: EmailMessage, page: str = "reset-password") -> str:
    text = mail.get_content().replace("\r\n", "\n")
    found = re.search(rf"^{re.escape(ISSUER)}/{page}#token=(\S{{40,}})$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


async def refused(call: grpc.aio.UnaryUnaryCall) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    details = details_of(error.value)
    return details["reason"], details["fields"]


async def jobs_left(identity: "Identity") -> int:
    rows = await identity.under_test.database.fetch_all(
        compile_statement(sa.text("SELECT count(*) FROM job WHERE kind = 'send_password_link'"))
    )
    return int(rows[0][0])


async def mails_are_sent(identity: "Identity") -> None:
    async def none_left() -> bool:
        return await jobs_left(identity) == 0

    await eventually(none_left)


async def test_a_forgotten_password_is_set_anew(identity: "Identity") -> None:
    """INVARIANT: the link works once; the old password and every session end."""
    ada = await identity.person()
    await ask(identity, f"  {ada.email.upper()} ")
    (mail,) = await identity.mailbox.to(ada.email)
    assert (mail["From"], mail["Subject"]) == ("CRM <crm@crm.test>", "Set a new password")
    token = token_of(mail)
    await use(identity, token)
    await identity.refused(ada.metadata)
    stale = session_pb2.RefreshSessionRequest(refresh_token=ada.session.refresh_token)
    assert (await refused(identity.sessions.RefreshSession(stale)))[0] == "INVALID_REFRESH_TOKEN"
    assert (await refused(use(identity, token, "something else now"))) == (
        "INVALID_LINK",
        ["token"],
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.sign_in(ada.email)
    assert (await identity.sign_in(ada.email, NEW)).access_token


async def test_a_second_link_ends_the_first(identity: "Identity") -> None:
    ada = await identity.user()
    await ask(identity, ada.email)
    (first,) = await identity.mailbox.to(ada.email)
    await ask(identity, ada.email)
    _, second = await identity.mailbox.to(ada.email, count=2)
    assert (await refused(use(identity, token_of(first))))[0] == "INVALID_LINK"
    assert (await refused(use(identity, token_of(second), "short"))) == (
        "WEAK_PASSWORD", ["new_password"],
    )  # fmt: skip
    await use(identity, token_of(second))


async def test_a_link_ends_after_half_an_hour(identity: "Identity") -> None:
    ada = await identity.user()
    await ask(identity, ada.email)
    (mail,) = await identity.mailbox.to(ada.email)
    with clock.shifted(timedelta(minutes=31)):
        assert (await refused(use(identity, token_of(mail))))[0] == "INVALID_LINK"


@pytest.mark.parametrize("change", ["email", "password", "deactivate"])
async def test_a_link_ends_when_the_account_changes(identity: "Identity", change: str) -> None:
    """INVARIANT: a link in the mailbox of before opens nothing."""
    ada, admin = await identity.user(), await identity.administrator()
    await ask(identity, ada.email)
    (mail,) = await identity.mailbox.to(ada.email)
    if change == "deactivate":
        request: Any = user_pb2.DeactivateUserRequest(name=ada.name)
        await identity.users.DeactivateUser(request, metadata=admin.metadata)
        request = user_pb2.ActivateUserRequest(name=ada.name)
        await identity.users.ActivateUser(request, metadata=admin.metadata)
    else:
        value = f"{uuid4()}@example.com" if change == "email" else "their new secret"
        user = user_pb2.User(name=ada.name, **{change: value})
        await identity.users.UpdateUser(
            user_pb2.UpdateUserRequest(user=user), metadata=admin.metadata
        )
    assert (await refused(use(identity, token_of(mail))))[0] == "INVALID_LINK"


async def test_the_link_leads_to_us_whatever_the_request_claims(identity: "Identity") -> None:
    """INVARIANT: no header of a request gets into the mail."""
    ada = await identity.user()
    evil = dict.fromkeys(("x-forwarded-host", "forwarded", "x-host", "origin"), "evil.example")
    await ask(identity, ada.email, **evil)
    (mail,) = await identity.mailbox.to(ada.email)
    assert "evil.example" not in mail.as_string()
    assert token_of(mail)


async def test_nobody_learns_who_has_an_account(identity: "Identity") -> None:
    """INVARIANT: the same answer in the same time, known or not; an unknown address gets no mail."""
    users = [await identity.user() for _ in range(6)]
    known = [user.email for user in users]
    unknown = [f"nobody{number}@example.net" for number in range(6)]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for pair in zip(known, unknown, strict=True):
        for email in pair:
            started = perf_counter()
            await ask(identity, email)
            seconds[email in known].append(perf_counter() - started)
    assert abs(median(seconds[True]) - median(seconds[False])) < 0.010
    await mails_are_sent(identity)
    addressed = {address for recipients, _ in identity.mailbox.mails for address in recipients}
    assert set(known) <= addressed
    assert not addressed & set(unknown)


@pytest.mark.parametrize("known", [True, False])
async def test_a_mailbox_is_not_flooded(identity: "Identity", *, known: bool) -> None:
    """The sixth request within a quarter of an hour waits, known or not."""
    email = (await identity.user()).email if known else "flooded@example.net"
    for _ in range(5):
        await ask(identity, email)
    assert (await refused(ask(identity, email)))[0] == "TOO_MANY_ATTEMPTS"


async def test_who_is_created_without_a_password_is_invited(identity: "Identity") -> None:
    """INVARIANT: whoever invites never sees the password or the link."""
    admin = await identity.administrator()
    user = user_pb2.User(email="newcomer@example.com", display_name="Nina {link}")
    made = await identity.users.CreateUser(
        user_pb2.CreateUserRequest(user=user), metadata=admin.metadata
    )
    (first,) = await identity.mailbox.to(made.email)
    invite = user_pb2.InviteUserRequest(name=made.name, request_id=str(uuid4()))
    for _ in range(2):  # a repeat sends nothing again
        await identity.users.InviteUser(invite, metadata=admin.metadata)
    _, second = await identity.mailbox.to(made.email, count=2)
    await mails_are_sent(identity)
    assert len(await identity.mailbox.to(made.email)) == 2
    assert (await refused(use(identity, token_of(first, "welcome"))))[0] == "INVALID_LINK"
    with clock.shifted(timedelta(days=6)):
        await use(identity, token_of(second, "welcome"))
    assert (await identity.sign_in(made.email, NEW)).access_token
    again = user_pb2.InviteUserRequest(name=made.name)
    call = identity.users.InviteUser(again, metadata=admin.metadata)
    assert (await refused(call))[0] == "PASSWORD_SET"


async def test_without_a_mail_server_nothing_else_fails(
    identity: "Identity", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs mail says which settings are missing, for every address alike."""
    admin, ada = await identity.administrator(), await identity.user()
    monkeypatch.setattr(identity.under_test.running.home.settings, "smtp_url", None)
    user = user_pb2.User(email="unmailed@example.com", display_name="U")
    made = await identity.users.CreateUser(
        user_pb2.CreateUserRequest(user=user), metadata=admin.metadata
    )
    invite = user_pb2.InviteUserRequest(name=made.name)
    for call in (
        ask(identity, ada.email),
        ask(identity, "nobody@example.net"),
        identity.users.InviteUser(invite, metadata=admin.metadata),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert details_of(error.value)["reason"] == "MAIL_NOT_CONFIGURED"
        assert "CRM_SMTP_URL" in str(error.value.details())
    assert await jobs_left(identity) == 0


async def test_no_link_and_no_address_is_kept(identity: "Identity") -> None:
    """INVARIANT: neither tables nor events hold a token that works, or the address in a job."""
    ada = await identity.user()
    await ask(identity, ada.email)
    (mail,) = await identity.mailbox.to(ada.email)
    for table in ("one_time_tokens", "job", "event_log", "sign_in_attempts"):
        rows = await identity.under_test.database.fetch_all(
            compile_statement(sa.text(f'SELECT t::text FROM "{table}" t'))
        )
        for (row,) in rows:
            for secret in (token_of(mail), ada.email):
                assert secret not in row
                assert secret.encode().hex() not in row
