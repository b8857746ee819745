"""SingleSignOnService: signing in with an account elsewhere."""

from crm.identity.v1 import single_sign_on_pb2 as pb
from crmkit.call import Call
from identity.rpc.session import answer
from identity.storage.identity_provider import offered_providers
from identity.usecases.access_tokens import AccessTokens
from identity.usecases.openid_provider import OpenIdProviders
from identity.usecases.single_sign_on import finish, start


class SingleSignOnService:
    """Single sign-on."""

    def __init__(self, tokens: AccessTokens) -> None:
        self._tokens = tokens
        self._providers = OpenIdProviders()

    async def ListSignInProviders(
        self, request: pb.ListSignInProvidersRequest, call: Call
    ) -> pb.ListSignInProvidersResponse:
        """What a sign-in page offers."""
        response = pb.ListSignInProvidersResponse()
        for provider, display_name in await offered_providers(call.reader):
            name = f"identityProviders/{provider}"
            response.providers.add(name=name, display_name=display_name)
        return response

    async def StartSingleSignOn(
        self, request: pb.StartSingleSignOnRequest, call: Call
    ) -> pb.StartSingleSignOnResponse:
        """Begins a sign-in."""
        url, transaction = await start(call, self._providers, request.provider, request.return_to)
        return pb.StartSingleSignOnResponse(authorization_url=url, transaction=transaction)

    async def FinishSingleSignOn(
        self, request: pb.FinishSingleSignOnRequest, call: Call
    ) -> pb.FinishSingleSignOnResponse:
        """Completes a sign-in."""
        session, token, return_to = await finish(
            call, self._providers, request.transaction, request.state, request.code
        )
        message = await answer(call, self._tokens, session, token, as_cookie=request.use_cookie)
        return pb.FinishSingleSignOnResponse(session=message, return_to=return_to)
