"""Refreshing a session: each refresh token works once."""

from crmkit.call import Call
from identity.domain.session import Session, invalid_refresh_token
from identity.storage.session import end_session, replace_token, session_of_token
from identity.storage.user import user_by_id


async def refresh_session(call: Call, token: str) -> tuple[Session, str]:
    """Answers the session with its next refresh token.

    A token that was replaced before has been stolen, or its successor was: the session ends. That
    is committed although the request fails, hence the transaction of its own.

    Raises:
        Unauthenticated: `INVALID_REFRESH_TOKEN`.
    """
    async with call.home.database.transaction() as tx:
        found = await session_of_token(tx, token)
        if found is not None:
            session, replaced = found
            user = await user_by_id(tx, session.user)
            if replaced or user is None or not user.may_sign_in:
                await end_session(call, tx, session.id)
            elif session.is_open(call.now):
                return session, await replace_token(tx, session, token, call)
    raise invalid_refresh_token()
