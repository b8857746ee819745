"""IdentityProviderService: the secret comes in and never goes out."""

from crm.identity.v1 import identity_provider_pb2 as pb
from crmkit.call import Call
from crmkit.resources import change, draft
from identity.domain.identity_provider import IdentityProvider
from identity.rpc.input_only import take_input_only
from identity.storage.identity_provider import IDENTITY_PROVIDERS, seal_client_secret


class IdentityProviderService:
    """Identity providers."""

    async def CreateIdentityProvider(
        self, request: pb.CreateIdentityProviderRequest, call: Call
    ) -> pb.IdentityProvider:
        """Creates a provider with its secret."""
        given = request.identity_provider
        provider: IdentityProvider = await draft(IDENTITY_PROVIDERS, call, given)
        seal_client_secret(call, provider, given.client_secret)
        return _message(await IDENTITY_PROVIDERS.insert(call, provider))

    async def UpdateIdentityProvider(
        self, request: pb.UpdateIdentityProviderRequest, call: Call
    ) -> pb.IdentityProvider:
        """Changes a provider, perhaps its secret."""
        secret, rest = take_input_only(request, "identity_provider", "client_secret")
        provider, _ = await change(IDENTITY_PROVIDERS, call, rest)
        if secret is not None:
            seal_client_secret(call, provider, secret)
        return _message(await IDENTITY_PROVIDERS.save(call, provider))


def _message(provider: IdentityProvider) -> pb.IdentityProvider:
    message: pb.IdentityProvider = IDENTITY_PROVIDERS.message(provider)
    return message
