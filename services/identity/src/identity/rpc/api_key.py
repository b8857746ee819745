"""ApiKeyService: keys are made by and for their user, and exchanged for access tokens."""

from crm.identity.v1 import api_key_pb2
from crmkit import audit, contract
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.interceptors.idempotency import keep_instead
from crmkit.resources import draft
from identity.domain.api_key import ApiKey, invalid_api_key
from identity.domain.role import refuse_escalation
from identity.storage.api_key import API_KEYS, key_of_secret, note_use
from identity.storage.role import held_grants
from identity.storage.user import grants_of, user_by_id
from identity.usecases.access_tokens import AccessTokens


class ApiKeyService:
    """API keys."""

    def __init__(self, tokens: AccessTokens) -> None:
        self._tokens = tokens

    async def CreateApiKey(
        self, request: api_key_pb2.CreateApiKeyRequest, call: Call
    ) -> api_key_pb2.ApiKey:
        """Creates a key; this answer alone has the secret."""
        key: ApiKey = await draft(API_KEYS, call, request.api_key)
        await _check_owner(call, key)
        key.refuse_unknown(contract.permissions())
        key.refuse_wider_than(call.principal.limits)
        secret = key.make_secret()
        await API_KEYS.insert(call, key)
        message: api_key_pb2.ApiKey = API_KEYS.message(key)
        keep_instead(call, message)  # a repeat answers the key without its secret
        shown = api_key_pb2.ApiKey(key=secret)
        shown.MergeFrom(message)
        return shown

    async def ExchangeApiKey(
        self, request: api_key_pb2.ExchangeApiKeyRequest, call: Call
    ) -> api_key_pb2.ExchangeApiKeyResponse:
        """Answers an access token that acts as the key's user and is revoked with the key."""
        key = await key_of_secret(call, request.key)
        if key is None:
            audit.keep_quiet(call)
            raise invalid_api_key()
        audit.about(call, subject=API_KEYS.codec.name_of(key.id))
        if key.owner is None or not key.is_valid(call.now):
            raise invalid_api_key()
        user = await user_by_id(call.reader, key.owner)
        if user is None or not user.may_sign_in:
            raise invalid_api_key()
        audit.about(call, actor=f"users/{user.id}")
        await note_use(call, key)
        token, expires = await self._tokens.issue(
            call, user, key.id, until=key.expire_time, limits=key.permissions
        )
        answer = api_key_pb2.ExchangeApiKeyResponse(access_token=token)
        answer.expire_time.FromDatetime(expires)
        return answer


async def _check_owner(call: Call, key: ApiKey) -> None:
    """A key acts as whoever makes it, or as a service account whose rights its maker has."""
    if key.owner is not None and key.owner == call.principal.user:
        return
    owner = await user_by_id(call.reader, key.owner) if key.owner is not None else None
    if owner is None or not owner.is_service:
        msg = (
            "A key acts as the person who makes it, or as a service account; not as another person."
        )
        raise InvalidArgument(msg, reason="OWNER_MUST_BE_CALLER", field="api_key.owner")
    given = await grants_of(call, set(owner.roles))
    refuse_escalation(held_grants(call), given, "api_key.owner")
