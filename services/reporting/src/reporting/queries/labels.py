"""What people call the records that an answer names."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
import sqlalchemy as sa

from crm.customer.v1 import account_pb2
from crm.identity.v1 import user_pb2
from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.statements import compile_statement
from reporting.storage.facts import dim_label

_AT_ONCE = 1000
_SECONDS = 1.0
_READ = compile_statement(
    sa.select(dim_label.c.name, dim_label.c.display_name).where(
        dim_label.c.name == sa.any_(sa.bindparam("names", type_=sa.ARRAY(sa.Text))),
        dim_label.c.display_name != sa.literal_column("''"),
    )
)
# Names of people are personal and therefore in no event: their services are asked, with the
# caller's rights.
_PERSONAL = {
    "users": (
        "identity",
        "/crm.identity.v1.UserService/BatchGetUsers",
        user_pb2.BatchGetUsersRequest,
        user_pb2.BatchGetUsersResponse,
    ),
    "accounts": (
        "customer",
        "/crm.customer.v1.AccountService/BatchGetAccounts",
        account_pb2.BatchGetAccountsRequest,
        account_pb2.BatchGetAccountsResponse,
    ),
}


async def labels(call: Call, names: Iterable[str]) -> dict[str, str]:
    """Resource name → display name, without those that cannot be had."""
    wanted = sorted(set(names) - {""})
    if not wanted:
        return {}
    found: dict[str, str] = dict(await call.home.database.fetch_all(_READ, {"names": wanted}))
    asks = []
    for collection in _PERSONAL:
        missing = [n for n in wanted if n not in found and n.startswith(f"{collection}/")]
        asks += [
            _ask(call, collection, missing[start : start + _AT_ONCE])
            for start in range(0, len(missing), _AT_ONCE)
        ]
    for answer in await asyncio.gather(*asks):
        found |= answer
    return found


async def _ask(call: Call, collection: str, names: Sequence[str]) -> dict[str, str]:
    service, path, request, response = _PERSONAL[collection]
    clients = call.home.clients
    try:
        answer: Any = await clients.call(
            service,
            path,
            request(names=names),
            response,
            metadata=call.metadata_for_others(),
            timeout=_SECONDS,
        )
    except (grpc.aio.AioRpcError, Failure):
        return {}  # an answer without labels is better than none
    return {record.name: record.display_name for record in getattr(answer, collection)}
