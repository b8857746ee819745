"""API keys: exchanged at identity for the access tokens that services understand."""

import asyncio
import base64
import binascii
import hashlib
import json
import time
from collections import OrderedDict
from dataclasses import dataclass

import grpc

from crm.identity.v1 import api_key_pb2, api_key_pb2_grpc
from gateway.upstreams import Upstreams

MARGIN_SECONDS = 60.0
REFUSAL_SECONDS = 5.0
MAX_KNOWN = 10_000
MAX_KEY_LENGTH = 200
_REFUSALS = (
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
)


class InvalidApiKeyError(Exception):
    """Identity does not know the key, or it has ended."""


class IdentityUnavailableError(Exception):
    """Identity could not be asked; the caller may try again."""


@dataclass(frozen=True)
class AccessToken:
    """What a key was exchanged for.

    Attributes:
        token: the JWT.
        subject: who the key acts as, its `sub`.
    """

    token: str
    subject: str


@dataclass(frozen=True)
class _Known:
    until: float
    token: AccessToken | None


class ApiKeys:
    """Exchanges keys and remembers the answers, refusals included, for a short while."""

    def __init__(self, upstreams: Upstreams) -> None:
        """Asks identity through `upstreams`."""
        self._upstreams = upstreams
        # By hash: the keys themselves should not lie in memory longer than a request.
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Known]] = {}

    async def exchange(self, key: str) -> AccessToken:
        """The access token for `key`.

        Raises:
            InvalidApiKeyError: the key is not valid.
            IdentityUnavailableError: identity could not be asked.
        """
        if len(key) > MAX_KEY_LENGTH or not key.isascii():
            raise InvalidApiKeyError
        digest = hashlib.sha256(key.encode()).digest()
        known = self._known.get(digest)
        if known is None or known.until <= time.time():
            known = await self._ask_once(digest, key)
        if known.token is None:
            raise InvalidApiKeyError
        return known.token

    async def _ask_once(self, digest: bytes, key: str) -> _Known:
        # Many requests with the same key arrive together: identity is asked by the first.
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask(key))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        known = await asyncio.shield(task)
        self._known[digest] = known
        self._known.move_to_end(digest)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return known

    async def _ask(self, key: str) -> _Known:
        channel = self._upstreams.channel("identity")
        if channel is None:
            raise IdentityUnavailableError
        stub = api_key_pb2_grpc.ApiKeyServiceStub(channel)
        request = api_key_pb2.ExchangeApiKeyRequest(key=key)
        try:
            answer = await stub.ExchangeApiKey(request, timeout=2.0)
            token = AccessToken(answer.access_token, _subject(answer.access_token))
        except grpc.aio.AioRpcError as error:
            if error.code() in _REFUSALS:
                return _Known(time.time() + REFUSAL_SECONDS, None)
            raise IdentityUnavailableError from error
        except ValueError as error:
            raise IdentityUnavailableError from error
        return _Known(answer.expire_time.ToSeconds() - MARGIN_SECONDS, token)


def _subject(token: str) -> str:
    # Not verified: it comes from identity, and services verify it again.
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["sub"])
    except (IndexError, KeyError, TypeError, binascii.Error) as error:
        message = "identity answered no access token"
        raise ValueError(message) from error
