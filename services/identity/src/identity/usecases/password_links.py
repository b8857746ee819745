"""Mails with a link to set a password: promised with the request, sent by a job."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from crmkit import mail
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.jobs import enqueue
from identity.domain.one_time_token import Purpose
from identity.domain.password import check_password
from identity.domain.password_link import link_of, text_of
from identity.domain.user import User
from identity.storage.one_time_token import new_token, use_token, user_of_token
from identity.storage.sign_in_attempts import (
    Counter,
    check_attempts,
    count_failure,
    forget_failures,
)
from identity.storage.user import acting_as, put_password, user_by_email, user_by_id
from identity.usecases.passwords import hash_password

JOB = "send_password_link"
_LINKS = (Purpose.RESET_PASSWORD, Purpose.INVITATION)
_MAILS_TO_ADDRESS = 5
_MAILS_FROM_ADDRESS = 50
_INVITATION_WAITS = timedelta(hours=24)
_log = structlog.get_logger("crm.identity")


async def request_reset(call: Call, email: str) -> None:
    """Promises a mail with a link, if somebody signs in with this address.

    The same is done for an unknown address: a job, which then finds nobody.

    Raises:
        ResourceExhausted: `TOO_MANY_ATTEMPTS`: nobody's mailbox is flooded.
        FailedPrecondition: `MAIL_NOT_CONFIGURED`.
    """
    mail.require_configured(call.home.settings)
    counted = [Counter("reset", email.strip().lower(), _MAILS_TO_ADDRESS)]
    if call.client_address:
        counted.append(Counter("reset-from", call.client_address, _MAILS_FROM_ADDRESS))
    await check_attempts(call.home.database, counted, call.now)
    await count_failure(call.home.database, counted, call.now)
    user = await user_by_email(call.home.database, email)
    known = user is not None and user.may_sign_in and not user.is_service
    await _promise(call, user.id if user is not None and known else uuid7(), Purpose.RESET_PASSWORD)


async def invite(call: Call, user: User) -> None:
    """Promises a mail with a link; where mail is not set up the log says so, and nothing else fails."""
    if mail.is_configured(call.home.settings):
        await _promise(call, user.id, Purpose.INVITATION)
    else:
        _log.warning(
            "no invitation was sent: set CRM_SMTP_URL and CRM_MAIL_FROM", user=f"users/{user.id}"
        )


async def _promise(call: Call, user: UUID, purpose: Purpose) -> None:
    waits = min(purpose.lifetime, _INVITATION_WAITS)
    arguments = {
        "user": str(user),
        "purpose": purpose.value,
        "until": (call.now + waits).isoformat(),
    }
    await enqueue(call.tx, JOB, arguments)


async def send_link(call: Call, arguments: dict[str, Any]) -> None:
    """The job: makes the token as it sends it, so that none waits anywhere; a repeat makes another."""
    home, purpose = call.home, Purpose(arguments["purpose"])
    user = await user_by_id(home.database, UUID(arguments["user"]))
    late = call.now > datetime.fromisoformat(arguments["until"])
    if user is None or not user.may_sign_in or late:
        return
    async with home.database.transaction() as tx:
        token = await new_token(call, tx, user.id, purpose)
    organization = call.organization
    subject, text = text_of(
        purpose,
        organization.language_code,
        person=user.display_name,
        organization=organization.display_name or "CRM",
        link=link_of(home.settings.public_url, purpose, token),
    )
    try:
        await mail.send(home.settings, mail.Mail(user.email, subject, text))
    except FailedPrecondition as failure:  # a repeat would not help
        _log.warning("mail not sent", reason=failure.reason, user=f"users/{user.id}")


async def set_password(call: Call, token: str, new_password: str) -> None:
    """Sets the password of whoever got the link; every session of theirs ends.

    Raises:
        InvalidArgument: `INVALID_LINK` for an unknown, used, replaced or expired token;
            `WEAK_PASSWORD`, which leaves the link valid.
    """
    user_id = await user_of_token(call.home.database, call, token, *_LINKS)
    user = await user_by_id(call.home.database, user_id) if user_id is not None else None
    if user is None or not user.may_sign_in:
        raise _invalid_link()
    check_password(new_password, user.email, field="new_password")
    password_hash = await hash_password(new_password)
    if await use_token(call.tx, call, token, *_LINKS) is None:
        raise _invalid_link()
    await put_password(acting_as(call, user), user, password_hash)
    await forget_failures(call.tx, user.email)


def _invalid_link() -> InvalidArgument:
    msg = "The link is not valid any more; ask for another one."
    return InvalidArgument(msg, reason="INVALID_LINK", field="token")
