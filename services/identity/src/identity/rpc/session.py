"""SessionService: signing in and out."""

from typing import Any
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from crm.identity.v1 import session_pb2
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, NotFound
from crmkit.names import parse_name
from identity.domain.session import Session, invalid_refresh_token
from identity.rpc.cookies import refresh_cookie_of, set_refresh_cookie
from identity.storage.session import end_session, end_sessions_of, sessions_of
from identity.storage.signing_key import all_keys, public_key
from identity.storage.user import USERS, user_by_id
from identity.usecases.access_tokens import AccessTokens
from identity.usecases.authenticate import own_user
from identity.usecases.refresh_session import refresh_session
from identity.usecases.sign_in import complete_sign_in, sign_in


class SessionService:
    """Sessions."""

    def __init__(self, tokens: AccessTokens) -> None:
        self._tokens = tokens

    async def CreateSession(
        self, request: session_pb2.CreateSessionRequest, call: Call
    ) -> session_pb2.Session:
        """Signs in with e-mail and password."""
        session, token = await sign_in(call, request.email, request.password, request.code)
        return await answer(call, self._tokens, session, token, as_cookie=request.use_cookie)

    async def CompleteSignIn(
        self, request: session_pb2.CompleteSignInRequest, call: Call
    ) -> session_pb2.Session:
        """Completes a sign-in with a code."""
        session, token = await complete_sign_in(call, request.challenge, request.code)
        return await answer(call, self._tokens, session, token, as_cookie=request.use_cookie)

    async def RefreshSession(
        self, request: session_pb2.RefreshSessionRequest, call: Call
    ) -> session_pb2.Session:
        """Replaces the refresh token; it comes back the way it came in."""
        given = request.refresh_token
        session, token = await refresh_session(call, given or refresh_cookie_of(call))
        return await answer(call, self._tokens, session, token, as_cookie=not given)

    async def EndCurrentSession(
        self, request: session_pb2.EndCurrentSessionRequest, call: Call
    ) -> Empty:
        """Signs out."""
        session = call.principal.session
        if session is None or not await end_session(call, call.tx, session):
            msg = "This access token belongs to no session; an API key ends when it is deleted."
            raise FailedPrecondition(msg, reason="NOT_A_SESSION")
        set_refresh_cookie(call, "")
        return Empty()

    async def ListSessions(
        self, request: session_pb2.ListSessionsRequest, call: Call
    ) -> session_pb2.ListSessionsResponse:
        """The caller's own open sessions."""
        return await _page(call, (await own_user(call)).id, request)

    async def EndSession(self, request: session_pb2.EndSessionRequest, call: Call) -> Empty:
        """Ends one of the caller's own sessions."""
        session = parse_name(request.name, collection="sessions", field="name")
        owner = (await own_user(call)).id
        if not await end_session(call, call.tx, session, owner=owner):
            msg = f"There is no open session {request.name} of yours."
            raise NotFound(msg, metadata={"resource": request.name})
        return Empty()

    async def EndAllSessions(self, request: session_pb2.EndAllSessionsRequest, call: Call) -> Empty:
        """Signs out everywhere, perhaps but here."""
        spared = call.principal.session if request.keep_current else None
        await end_sessions_of(call, call.tx, (await own_user(call)).id, spared=spared)
        if not request.keep_current:
            set_refresh_cookie(call, "")
        return Empty()

    async def ListUserSessions(
        self, request: session_pb2.ListUserSessionsRequest, call: Call
    ) -> session_pb2.ListSessionsResponse:
        """A user's open sessions."""
        user = await USERS.get(call, request.parent, field="parent")
        return await _page(call, user.id, request)

    async def EndUserSessions(
        self, request: session_pb2.EndUserSessionsRequest, call: Call
    ) -> Empty:
        """Signs a user out everywhere."""
        user = await USERS.get(call, request.name)
        await end_sessions_of(call, call.tx, user.id)
        return Empty()

    async def GetKeySet(
        self, request: session_pb2.GetKeySetRequest, call: Call
    ) -> session_pb2.KeySet:
        """The public keys of access tokens."""
        return session_pb2.KeySet(
            keys=[public_key(key) for key in await all_keys(call.reader, call)]
        )


async def answer(
    call: Call, tokens: AccessTokens, session: Session, refresh_token: str, *, as_cookie: bool
) -> session_pb2.Session:
    """What whoever has signed in, or refreshed, gets."""
    user = await user_by_id(call.reader, session.user)
    if user is None:
        raise invalid_refresh_token()
    access_token, expires = await tokens.issue(call, user, session.id)
    if as_cookie:
        set_refresh_cookie(call, refresh_token)
    message = _message(session, current=session.id)
    message.access_token = access_token
    message.refresh_token = "" if as_cookie else refresh_token
    message.expire_time.FromDatetime(expires)
    return message


async def _page(call: Call, user: UUID, request: Any) -> session_pb2.ListSessionsResponse:
    found, token = await sessions_of(call, user, request)
    messages = [_message(session, current=call.principal.session) for session in found]
    return session_pb2.ListSessionsResponse(sessions=messages, next_page_token=token)


def _message(session: Session, *, current: UUID | None) -> session_pb2.Session:
    message = session_pb2.Session(
        name=f"sessions/{session.id}",
        user=f"users/{session.user}",
        client_address=session.client_address or "",
        user_agent=session.user_agent or "",
        current=session.id == current,
    )
    message.create_time.FromDatetime(session.create_time)
    message.last_used_time.FromDatetime(session.last_used_time or session.create_time)
    return message
