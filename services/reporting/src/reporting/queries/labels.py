"""What people call the records that an answer names."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import grpc
import sqlalchemy as sa

from crm.customer.v1 import account_pb2
from crm.identity.v1 import user_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.statements import compile_statement
from reporting.storage.facts import dim_label

_AT_ONCE = 1000
_SECONDS = 1.0
_READ = compile_statement(
    sa.select(
        dim_label.c.name, dim_label.c.display_name, dim_label.c.owner, dim_label.c.team
    ).where(
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
    """Resource name → display name, without those that the caller may not see or that cannot be had."""
    wanted = sorted(set(names) - {""})
    if not wanted:
        return {}
    rows = await call.home.database.fetch_all(_READ, {"names": wanted})
    found = {n: label for n, label, owner, team in rows if _may_see(call, n, owner, team)}
    wanted = [n for n in wanted if n not in {row[0] for row in rows}]
    asks = []
    for collection in _PERSONAL:
        missing = [n for n in wanted if n.startswith(f"{collection}/")]
        asks += [
            _ask(call, collection, missing[start : start + _AT_ONCE])
            for start in range(0, len(missing), _AT_ONCE)
        ]
    for answer in await asyncio.gather(*asks):
        found |= answer
    return found


def _may_see(call: Call, name: str, owner: UUID | None, team: UUID | None) -> bool:
    """Whether the record itself would be shown to the caller: its name is no less protected."""
    resource = contract.collections()[name.partition("/")[0]]
    if resource.shared:
        return True
    scope = call.principal.grants.scope(f"{resource.service}.{resource.collection}.get")
    return call.principal.covers(scope, owner, team)


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
