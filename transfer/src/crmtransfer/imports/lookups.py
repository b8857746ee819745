"""What references mean: looked up in bulk where the records live."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import grpc

from crm.common.v1 import lookup_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.clients import unavailable
from crmkit.collection import Collection
from crmkit.errors import Failure, InvalidArgument, PermissionDenied, Unavailable
from crmkit.lookup import look_up
from crmkit.names import parse_name
from crmtransfer.imports.mapping import Key
from crmtransfer.imports.values import BadValue, shown

_AT_ONCE = 1000
_MAX_VALUE_CHARS = 500
_MAX_REMEMBERED = 200_000
_SECONDS_TO_LEARN_OF_USERS = 10.0
_SECONDS_BETWEEN_LOOKS = 0.1
_METHOD = "/crm.common.v1.LookupService/LookUpRecords"
_REFUSALS: dict[grpc.StatusCode, type[Failure]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}


class Lookups:
    """Remembers, for one run, what texts mean; `ids` are records known to be there."""

    def __init__(self, own: Mapping[str, Collection[Any]], growing: str) -> None:
        """Takes this service's collections, and the one that grows while we look."""
        self._own = own
        self._growing = growing
        self._found: dict[Key, dict[str, list[str]]] = {}
        self.ids: set[UUID] = set()

    async def learn(self, call: Call, wanted: Mapping[Key, Iterable[str]]) -> None:
        """Looks up what is not known yet, with the person's rights; before a transaction.

        Raises:
            Unavailable: A service cannot be reached, or does not know new users yet.
            InvalidArgument: A field cannot be looked up by.
            PermissionDenied: The person may not see records of a collection.
        """
        for key, texts in wanted.items():
            if sum(map(len, self._found.values())) > _MAX_REMEMBERED:
                self._found.clear()
            known = self._found.setdefault(key, {})
            new = [t for t in texts if t not in known and len(t) <= _MAX_VALUE_CHARS]
            for some in _batches(new):
                await self._ask(call, key, some)

    async def _ask(self, call: Call, key: Key, texts: list[str]) -> None:
        collection, field = key
        if collection in self._own:
            pairs = await look_up(call, self._own[collection], field, texts)
            matches = [(text, f"{collection}/{id_}") for text, id_ in pairs]
        else:
            matches = await self._ask_owner(call, key, texts)
        known = self._found[key]
        if collection != self._growing:
            known.update({text: [] for text in texts})
        for text, name in matches:
            known.setdefault(text, []).append(name)
        ids = {parse_name(name, collection=collection, field=field) for _, name in matches}
        if collection == "users":
            await _wait_until_known(call, ids)
        self.ids |= ids

    async def _ask_owner(self, call: Call, key: Key, texts: list[str]) -> list[tuple[str, str]]:
        collection, field = key
        service = contract.collections()[collection].service
        request = lookup_pb2.LookUpRecordsRequest(collection=collection, field=field, values=texts)
        try:
            answer = await call.home.clients.call(
                service,
                _METHOD,
                request,
                lookup_pb2.LookUpRecordsResponse,
                metadata=call.metadata_for_others(),
            )
        except grpc.aio.AioRpcError as error:
            refusal = _REFUSALS.get(error.code())
            if refusal is None:
                raise unavailable(service) from error
            raise refusal(error.details() or "") from error
        return [(match.value, match.name) for match in answer.matches]

    def resolve(self, key: Key, text: str) -> str:
        """The resource name that a text means; raises BadValue if none or several."""
        collection, field = key
        names = self._found.get(key, {}).get(text, [])
        if not names:
            msg = f"There is none of the {collection} with {field} {shown(text)}."
            raise BadValue(msg, "REFERENCE_NOT_FOUND")
        if len(names) > 1:
            msg = f"Several of the {collection} have {field} {shown(text)}."
            raise BadValue(msg, "REFERENCE_AMBIGUOUS")
        return names[0]


def _batches(texts: list[str]) -> Iterable[list[str]]:
    return (texts[i : i + _AT_ONCE] for i in range(0, len(texts), _AT_ONCE))


async def _wait_until_known(call: Call, ids: set[UUID]) -> None:
    """Records take the team of their owner: new users must have arrived here before."""
    deadline = asyncio.get_running_loop().time() + _SECONDS_TO_LEARN_OF_USERS
    while not ids <= call.home.rights.users.keys():
        if asyncio.get_running_loop().time() > deadline:
            msg = "This service does not know all of the users yet."
            raise Unavailable(msg, retry_after=1)
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
