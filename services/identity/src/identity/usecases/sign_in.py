"""Signing in: the right password, and a code where the user has a second factor, opens a session."""

from crmkit import audit
from crmkit.call import Call
from crmkit.ids import uuid7
from identity.domain.one_time_token import Purpose
from identity.domain.second_factor import code_required, invalid_challenge, wrong_code
from identity.domain.session import REFRESH_LIFETIME, Session, invalid_credentials
from identity.domain.user import User
from identity.storage.one_time_token import new_token, use_token, user_of_token
from identity.storage.session import open_session
from identity.storage.sign_in_attempts import forget_failures
from identity.storage.user import user_by_id, user_held_still
from identity.usecases.authenticate import authenticated
from identity.usecases.second_factor import UseCode, checked_code

_LONGEST_USER_AGENT = 300


async def sign_in(call: Call, email: str, password: str, code: str) -> tuple[Session, str]:
    """Opens a session; answers it with its refresh token.

    Raises:
        Unauthenticated: `INVALID_CREDENTIALS`, the same for an unknown address and a wrong password;
            `SECOND_FACTOR_REQUIRED` with a challenge for `complete_sign_in`; `WRONG_CODE`.
        ResourceExhausted: `TOO_MANY_ATTEMPTS`, also for the right password.
    """
    user = await authenticated(call, email, password)
    if not user.second_factor:
        return await _finish(call, user)
    if not code:
        raise code_required(await _challenge(call, user))
    return await _finish(call, user, await checked_code(call, user, code))


async def complete_sign_in(call: Call, challenge: str, code: str) -> tuple[Session, str]:
    """Opens the session of a sign-in that lacked a code.

    Raises:
        Unauthenticated: `INVALID_CHALLENGE`, `WRONG_CODE`.
        ResourceExhausted: `TOO_MANY_ATTEMPTS`, also for the right code.
    """
    database = call.home.database
    user_id = await user_of_token(database, call, challenge, Purpose.SIGN_IN)
    user = await user_by_id(database, user_id) if user_id is not None else None
    if user is None or not user.may_sign_in:
        raise invalid_challenge()
    audit.about(call, subject=f"users/{user.id}")
    use_code = await checked_code(call, user, code)
    if await use_token(call.tx, call, challenge, Purpose.SIGN_IN) is None:
        raise invalid_challenge()
    return await _finish(call, user, use_code)


async def _challenge(call: Call, user: User) -> str:
    """What stands for the right password for five minutes; kept although the request fails."""
    async with call.home.database.transaction() as tx:
        return await new_token(call, tx, user.id, Purpose.SIGN_IN)


async def _finish(call: Call, user: User, use_code: UseCode | None = None) -> tuple[Session, str]:
    audit.about(call, actor=f"users/{user.id}")
    await hold_still(call, user)
    if use_code is not None and not await use_code(call):
        raise wrong_code()
    await forget_failures(call.tx, user.email)
    return await begin_session(call, user)


async def hold_still(call: Call, user: User) -> None:
    """Whoever deactivates the user or changes the password meanwhile waits, then ends the session.

    Raises:
        Unauthenticated: `INVALID_CREDENTIALS`: that has happened already.
    """
    now = await user_held_still(call.tx, user.id)
    if now is None or not now.may_sign_in or now.password_hash != user.password_hash:
        raise invalid_credentials()
    if now.second_factor and not user.second_factor:
        raise invalid_credentials()


def _program(call: Call) -> str:
    """The program that signs in: behind the gateway's own calls, the browser."""
    return call.metadata.get("x-crm-user-agent") or call.metadata.get("user-agent", "")


async def begin_session(call: Call, user: User) -> tuple[Session, str]:
    """Opens a session of a user who has shown who they are; answers it with its refresh token."""
    session = Session(
        id=uuid7(),
        user=user.id,
        create_time=call.now,
        expire_time=call.now + REFRESH_LIFETIME,
        last_used_time=call.now,
        client_address=call.client_address or None,
        user_agent=_program(call)[:_LONGEST_USER_AGENT] or None,
    )
    return session, await open_session(call.tx, session)
