"""Signing in: the right password opens a session, wrong ones are counted."""

from crmkit.call import Call
from crmkit.ids import uuid7
from identity.domain.session import REFRESH_LIFETIME, Session, invalid_credentials
from identity.domain.user import User
from identity.storage.session import open_session
from identity.storage.sign_in_attempts import check_attempts, count_failure, forget_failures
from identity.storage.user import user_by_email, user_held_still
from identity.usecases.passwords import SLOTS, is_password


async def sign_in(call: Call, email: str, password: str) -> tuple[Session, str]:
    """Opens a session; answers it with its refresh token.

    Raises:
        Unauthenticated: `INVALID_CREDENTIALS`, the same for an unknown address and a wrong one.
        ResourceExhausted: `TOO_MANY_ATTEMPTS`, also for the right password.
    """
    user = await _authenticated(call, email, password)
    # Whoever deactivates the user or changes the password meanwhile waits, then ends this session.
    unchanged = await user_held_still(call.tx, user.id)
    if (
        unchanged is None
        or not unchanged.may_sign_in
        or unchanged.password_hash != user.password_hash
    ):
        raise invalid_credentials()
    await forget_failures(call.tx, email)
    session = Session(
        id=uuid7(),
        user=user.id,
        create_time=call.now,
        expire_time=call.now + REFRESH_LIFETIME,
    )
    return session, await open_session(call.tx, session)


async def _authenticated(call: Call, email: str, password: str) -> User:
    database = call.home.database
    # Checking and counting share the slot of hashing: many tries at once cannot overtake the count.
    async with SLOTS:
        await check_attempts(database, email, call.now)
        user = await user_by_email(database, email)
        known_hash = user.password_hash if user is not None and user.may_sign_in else None
        matches = await is_password(password, known_hash)
        if user is None or not matches:
            await count_failure(database, email, call.now)
            raise invalid_credentials()
        return user
