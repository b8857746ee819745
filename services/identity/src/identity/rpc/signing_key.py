"""SigningKeyService: the keys that access tokens are signed with."""

from crm.identity.v1 import signing_key_pb2 as pb
from crmkit.call import Call
from identity.domain.signing_key import SigningKey
from identity.storage.signing_key import all_keys
from identity.usecases.signing_keys import rotate


class SigningKeyService:
    """Signing keys."""

    async def ListSigningKeys(
        self, request: pb.ListSigningKeysRequest, call: Call
    ) -> pb.ListSigningKeysResponse:
        """The keys that tokens are verified with."""
        keys = [_message(key) for key in await all_keys(call.reader, call)]
        return pb.ListSigningKeysResponse(signing_keys=keys)

    async def RotateSigningKey(
        self, request: pb.RotateSigningKeyRequest, call: Call
    ) -> pb.SigningKey:
        """Makes a new key."""
        return _message(await rotate(call))


def _message(key: SigningKey) -> pb.SigningKey:
    message = pb.SigningKey(name=f"signingKeys/{key.kid}")
    message.create_time.FromDatetime(key.create_time)
    message.active_time.FromDatetime(key.active_time)
    return message
