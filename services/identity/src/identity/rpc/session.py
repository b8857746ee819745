"""SessionService: signing in and out."""

from google.protobuf.empty_pb2 import Empty

from crm.identity.v1 import session_pb2
from crmkit.call import Call
from crmkit.errors import FailedPrecondition
from identity.domain.session import Session, invalid_refresh_token
from identity.rpc.cookies import refresh_cookie_of, set_refresh_cookie
from identity.storage.session import end_session
from identity.storage.signing_key import all_keys, public_key
from identity.storage.user import user_by_id
from identity.usecases.access_tokens import AccessTokens
from identity.usecases.refresh_session import refresh_session
from identity.usecases.sign_in import sign_in


class SessionService:
    """Sessions."""

    def __init__(self, tokens: AccessTokens) -> None:
        self._tokens = tokens

    async def CreateSession(
        self, request: session_pb2.CreateSessionRequest, call: Call
    ) -> session_pb2.Session:
        """Signs in with e-mail and password."""
        session, token = await sign_in(call, request.email, request.password)
        return await self._answer(call, session, token, as_cookie=request.use_cookie)

    async def RefreshSession(
        self, request: session_pb2.RefreshSessionRequest, call: Call
    ) -> session_pb2.Session:
        """Replaces the refresh token; it comes back the way it came in."""
        given = request.refresh_token
        session, token = await refresh_session(call, given or refresh_cookie_of(call))
        return await self._answer(call, session, token, as_cookie=not given)

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

    async def GetKeySet(
        self, request: session_pb2.GetKeySetRequest, call: Call
    ) -> session_pb2.KeySet:
        """The public keys of access tokens."""
        return session_pb2.KeySet(keys=[public_key(key) for key in await all_keys(call.reader)])

    async def _answer(
        self, call: Call, session: Session, refresh_token: str, *, as_cookie: bool
    ) -> session_pb2.Session:
        user = await user_by_id(call.reader, session.user)
        if user is None:
            raise invalid_refresh_token()
        access_token, expires = await self._tokens.issue(call, user, session.id)
        if as_cookie:
            set_refresh_cookie(call, refresh_token)
        answer = session_pb2.Session(
            name=f"sessions/{session.id}",
            user=f"users/{user.id}",
            access_token=access_token,
            refresh_token="" if as_cookie else refresh_token,
        )
        answer.expire_time.FromDatetime(expires)
        return answer
