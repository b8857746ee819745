"""Whose password it is: one way for signing in and for whatever asks for the password again."""

from crmkit import audit
from crmkit.call import Call
from crmkit.errors import InvalidArgument, PermissionDenied, Unauthenticated
from identity.domain.session import invalid_credentials
from identity.domain.user import User
from identity.storage.sign_in_attempts import check_attempts, count_failure, counters
from identity.storage.user import user_by_email, user_by_id
from identity.usecases.passwords import SLOTS, is_password


async def authenticated(call: Call, email: str, password: str) -> User:
    """The user with this address and password; a wrong one is counted.

    Raises:
        Unauthenticated: `INVALID_CREDENTIALS`, the same for an unknown address and a wrong password.
        ResourceExhausted: `TOO_MANY_ATTEMPTS`, also for the right password.
    """
    database, counted = call.home.database, counters(email, call.client_address)
    # Checking and counting share the slot of hashing: many tries at once cannot overtake the count.
    async with SLOTS:
        await check_attempts(database, counted, call.now)
        user = await user_by_email(database, email)
        if user is not None:
            audit.about(call, subject=f"users/{user.id}")
        known_hash = user.password_hash if user is not None and user.may_sign_in else None
        matches = await is_password(password, known_hash)
        if user is None or not matches:
            await count_failure(database, counted, call.now)
            raise invalid_credentials()
        return user


async def own_user(call: Call) -> User:
    """The caller's own user, for what concerns their account.

    Raises:
        Unauthenticated: A service has no user.
        PermissionDenied: `KEY_IS_LIMITED`: a key that is made for less does not change the account.
    """
    if call.principal.limits is not None:
        msg = "This API key is limited; the account is changed by its person."
        raise PermissionDenied(msg, reason="KEY_IS_LIMITED")
    return await current_user(call)


async def current_user(call: Call) -> User:
    """The caller's own user; raises Unauthenticated for services."""
    user = await user_by_id(call.reader, call.principal.user) if call.principal.user else None
    if user is None:
        msg = "Only a signed-in person has a user."
        raise Unauthenticated(msg)
    return user


async def confirmed(call: Call, password: str, field: str) -> User:
    """The caller's own user, once they have typed their password again.

    Raises:
        InvalidArgument: `WRONG_PASSWORD`, naming the field.
        ResourceExhausted: `TOO_MANY_ATTEMPTS`.
    """
    user = await own_user(call)
    try:
        return await authenticated(call, user.email, password)
    except Unauthenticated:
        msg = "The password is wrong."
        raise InvalidArgument(msg, reason="WRONG_PASSWORD", field=field) from None
