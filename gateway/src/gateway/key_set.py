"""The public keys of access tokens, as Envoy and other verifiers fetch them."""

import asyncio
import time

import grpc
from google.protobuf import json_format

from crm.identity.v1 import session_pb2, session_pb2_grpc
from gateway.upstreams import Upstreams

KEEP_SECONDS = 30.0


class KeySet:
    """Identity's JSON Web Key Set; the last one known serves while identity is down."""

    def __init__(self, upstreams: Upstreams) -> None:
        """Asks identity through `upstreams`."""
        self._upstreams = upstreams
        self._keys: dict[str, object] | None = None
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def read(self) -> dict[str, object] | None:
        """The key set as RFC 7517 JSON; None if identity was never reached."""
        async with self._lock:
            if time.monotonic() >= self._until:
                await self._refresh()
        return self._keys

    async def _refresh(self) -> None:
        channel = self._upstreams.channel("identity")
        if channel is None:
            return
        stub = session_pb2_grpc.SessionServiceStub(channel)
        try:
            answer = await stub.GetKeySet(session_pb2.GetKeySetRequest(), timeout=2.0)
        except grpc.aio.AioRpcError:
            # Ask again soon, but not on every request.
            self._until = time.monotonic() + (1.0 if self._keys else 0.0)
            return
        self._keys = {"keys": [json_format.MessageToDict(key) for key in answer.keys]}
        self._until = time.monotonic() + KEEP_SECONDS
