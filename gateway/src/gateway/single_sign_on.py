"""`/sso/…`: the browser's way to an identity provider and back.

Identity does the work and keeps nothing in between; what it must know again travels sealed in a cookie of
this browser, which other sites' pages can neither read nor replace.
"""

from typing import Any
from urllib.parse import urlencode

import grpc
from google.rpc import error_details_pb2, status_pb2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from crm.identity.v1 import single_sign_on_pb2 as pb
from crm.identity.v1 import single_sign_on_pb2_grpc as rpc
from gateway.upstreams import Upstreams

_COOKIE = "crm_sso"
_COOKIE_SECONDS = 600
_DEADLINE_SECONDS = 15.0
# The console's page, which tells people what the reason means and lets them try again.
_SIGN_IN_PAGE = "/sign-in"
_MAX_FIELD = 4000


class SingleSignOn:
    """The endpoints."""

    def __init__(self, upstreams: Upstreams, public_url: str) -> None:
        """Asks identity through `upstreams`; cookies are Secure where people use https."""
        self._upstreams = upstreams
        self._secure = public_url.startswith("https://")

    async def start(self, request: Request) -> Response:
        """Sends the browser to the provider."""
        wanted = pb.StartSingleSignOnRequest(
            provider=f"identityProviders/{request.path_params['provider']}",
            return_to=request.query_params.get("return_to", "")[:1000],
        )
        try:
            begun = await self._stub().StartSingleSignOn(
                wanted, timeout=_DEADLINE_SECONDS, metadata=_metadata(request)
            )
        except grpc.aio.AioRpcError as error:
            return self._failed(_reason(error))
        answer = RedirectResponse(begun.authorization_url, 302)
        self._set_cookie(answer, begun.transaction, _COOKIE_SECONDS)
        return answer

    async def callback(self, request: Request) -> Response:
        """Takes the browser back: with a session, or to the page that says why not."""
        query, transaction = request.query_params, request.cookies.get(_COOKIE, "")
        if query.get("error") or not query.get("code"):
            return self._failed("PROVIDER_REFUSED")
        if not transaction or not query.get("state"):
            return self._failed("INVALID_TRANSACTION")
        wanted = pb.FinishSingleSignOnRequest(
            transaction=transaction[:_MAX_FIELD],
            state=query["state"][:200],
            code=query["code"][:_MAX_FIELD],
            use_cookie=True,
        )
        try:
            call = self._stub().FinishSingleSignOn(
                wanted, timeout=_DEADLINE_SECONDS, metadata=_metadata(request)
            )
            finished = await call
        except grpc.aio.AioRpcError as error:
            return self._failed(_reason(error))
        answer = RedirectResponse(finished.return_to, 303)
        for name, value in await call.initial_metadata():
            if name == "set-cookie":
                answer.headers.append("set-cookie", str(value))
        self._set_cookie(answer, "", 0)
        return answer

    def _stub(self) -> Any:
        channel = self._upstreams.channel("identity")
        assert channel is not None, "the edge is told where identity is"
        return rpc.SingleSignOnServiceStub(channel)

    def _failed(self, reason: str) -> Response:
        answer = RedirectResponse(f"{_SIGN_IN_PAGE}?{urlencode({'error': reason})}", 303)
        self._set_cookie(answer, "", 0)
        return answer

    def _set_cookie(self, answer: Response, value: str, seconds: int) -> None:
        # Lax, not Strict: the browser must bring it along when the provider sends it back.
        answer.set_cookie(
            _COOKIE, value, max_age=seconds, path="/sso", secure=self._secure, httponly=True,
            samesite="lax",
        )  # fmt: skip


def _metadata(request: Request) -> tuple[tuple[str, str], ...]:
    """Where the browser is, and which it is: for the list of its person's sessions."""
    found = {
        "x-crm-user-agent": request.headers.get("user-agent", "")[:300],
        "x-crm-client-address": request.headers.get("x-crm-client-address", ""),
    }
    # Metadata is printable ASCII; a header may be anything.
    return tuple((n, v) for n, v in found.items() if v and v.isascii() and v.isprintable())


def _reason(error: grpc.aio.AioRpcError) -> str:
    """Why identity refused."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return str(info.reason)
    return "SERVICE_UNAVAILABLE"
