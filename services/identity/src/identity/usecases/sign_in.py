"""Signing in: the right password opens a session, wrong ones are counted."""

from crmkit.call import Call
from crmkit.ids import uuid7
from identity.domain.session import REFRESH_LIFETIME, Session, invalid_credentials
from identity.domain.user import User
from identity.storage.session import open_session
from identity.storage.sign_in_attempts import forget_failures
from identity.storage.user import user_held_still
from identity.usecases.authenticate import authenticated

_LONGEST_USER_AGENT = 300


async def sign_in(call: Call, email: str, password: str) -> tuple[Session, str]:
    """Opens a session; answers it with its refresh token.

    Raises:
        Unauthenticated: `INVALID_CREDENTIALS`, the same for an unknown address and a wrong password.
        ResourceExhausted: `TOO_MANY_ATTEMPTS`, also for the right password.
    """
    user = await authenticated(call, email, password)
    await hold_still(call, user)
    await forget_failures(call.tx, email)
    return await begin_session(call, user)


async def hold_still(call: Call, user: User) -> None:
    """Whoever deactivates the user or changes the password meanwhile waits, then ends the session.

    Raises:
        Unauthenticated: `INVALID_CREDENTIALS`: that has happened already.
    """
    now = await user_held_still(call.tx, user.id)
    if now is None or not now.may_sign_in or now.password_hash != user.password_hash:
        raise invalid_credentials()


async def begin_session(call: Call, user: User) -> tuple[Session, str]:
    """Opens a session of a user who has shown who they are; answers it with its refresh token."""
    session = Session(
        id=uuid7(),
        user=user.id,
        create_time=call.now,
        expire_time=call.now + REFRESH_LIFETIME,
        last_used_time=call.now,
        client_address=call.client_address or None,
        user_agent=call.metadata.get("user-agent", "")[:_LONGEST_USER_AGENT] or None,
    )
    return session, await open_session(call.tx, session)
