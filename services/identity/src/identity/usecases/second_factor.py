"""The second factor at work: turned on and off by its user, checked at every sign-in."""

from collections.abc import Awaitable, Callable

from crmkit.call import Call
from identity.domain.second_factor import (
    SecondFactor,
    new_totp_secret,
    normalise_code,
    not_enrolled,
    refuse_if_off,
    refuse_if_on,
    wrong_code,
    wrong_first_code,
)
from identity.domain.user import User
from identity.storage.second_factor import (
    confirm_factor,
    factor_of,
    forget_factor,
    has_recovery_code,
    put_factor,
    replace_recovery_codes,
    use_recovery_code,
    use_step,
)
from identity.storage.sign_in_attempts import check_attempts, count_failure, counters
from identity.storage.user import own_record_changing
from identity.usecases.authenticate import confirmed, own_user

# Uses a code up in the transaction of the sign-in; False if another sign-in was faster.
UseCode = Callable[[Call], Awaitable[bool]]


async def enroll(call: Call, password: str) -> tuple[SecondFactor, User]:
    """A new secret for the caller, which counts once a first code has confirmed it."""
    user = await confirmed(call, password, "password")
    refuse_if_on(second_factor=user.second_factor)
    factor = SecondFactor(user=user.id, secret=new_totp_secret())
    await put_factor(call, factor)
    return factor, user


async def confirm(call: Call, code: str) -> list[str]:
    """Turns the caller's second factor on; answers their recovery codes."""
    user = await own_user(call)
    refuse_if_on(second_factor=user.second_factor)
    factor = await factor_of(call.home.database, call, user.id)
    if factor is None:
        raise not_enrolled()
    await check_attempts(call.home.database, counters(user.email, call.client_address), call.now)
    step = factor.step_of(normalise_code(code), call.now)
    if step is None:
        await count_failure(call.home.database, counters(user.email, call.client_address), call.now)
        raise wrong_first_code()
    async with own_record_changing(call, user.id) as stored:
        refuse_if_on(second_factor=stored.second_factor)
        if not await confirm_factor(call.tx, user.id, step, call.now):
            raise wrong_first_code()
        stored.second_factor = True
    return await replace_recovery_codes(call.tx, user.id)


async def disable(call: Call, password: str) -> None:
    """Turns the caller's second factor off."""
    user = await confirmed(call, password, "password")
    async with own_record_changing(call, user.id) as stored:
        refuse_if_off(second_factor=stored.second_factor)
        stored.second_factor = False
    await forget_factor(call.tx, user.id)


async def replace_codes(call: Call, password: str) -> list[str]:
    """New recovery codes for the caller."""
    user = await confirmed(call, password, "password")
    refuse_if_off(second_factor=user.second_factor)
    return await replace_recovery_codes(call.tx, user.id)


async def checked_code(call: Call, user: User, code: str) -> UseCode:
    """What uses a right code up, once; a wrong one is counted.

    Nothing is used up yet: that belongs into the transaction that opens the session.

    Raises:
        Unauthenticated: `WRONG_CODE`, for a wrong code and for one that was used.
        ResourceExhausted: `TOO_MANY_ATTEMPTS`, also for the right code.
    """
    database, counted = call.home.database, counters(user.email, call.client_address)
    await check_attempts(database, counted, call.now)
    typed = normalise_code(code)
    factor = await factor_of(database, call, user.id)
    step = factor.step_of(typed, call.now) if factor is not None else None
    if step is not None:
        return lambda call: use_step(call.tx, user.id, step)
    if await has_recovery_code(database, user.id, typed):
        return lambda call: use_recovery_code(call.tx, user.id, typed)
    await count_failure(database, counted, call.now)
    raise wrong_code()
