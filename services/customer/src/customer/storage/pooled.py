"""Who sees accounts that wait in pools: whoever may claim them reads them, and no more."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crmkit.access import EVERYTHING, Principal, RecordScope
from crmkit.call import Call
from crmkit.errors import NotFound, PermissionDenied
from crmkit.listing import Listing
from crmkit.schema import KNOWN_TEAM
from crmkit.sharing import Access, Found, needed
from crmkit.statements import compile_statement
from customer.storage.customer_pool import customer_pools
from customer.storage.party import P, Parties

_GRANTEES = sa.bindparam("scope_grantees", type_=ARRAY(sa.Uuid))  # the caller and their team


def _teams_above() -> sa.CTE:
    columns = (KNOWN_TEAM.c.id, KNOWN_TEAM.c.parent)
    own = sa.select(*columns).where(KNOWN_TEAM.c.id == sa.any_(_GRANTEES))
    above = own.cte("teams_above", recursive=True)
    return above.union(sa.select(*columns).join(above, KNOWN_TEAM.c.id == above.c.parent))


def open_pools() -> "sa.Select[tuple[UUID]]":
    """The pools that the caller may claim from."""
    teams = customer_pools.c.teams
    theirs = sa.func.array(sa.select(_teams_above().c.id).scalar_subquery())
    return sa.select(customer_pools.c.id).where(
        customer_pools.c.delete_time.is_(None),
        sa.or_(sa.func.cardinality(teams) == 0, teams.op("&&", is_comparison=True)(theirs)),
    )


_MAY_CLAIM_FROM = compile_statement(
    open_pools().where(customer_pools.c.id == sa.bindparam("pool", type_=sa.Uuid))
)


async def may_claim_from(call: Call, pool: UUID | None) -> bool:
    """Whether the caller is one of those whom a pool is for."""
    if pool is None or call.principal.user is None:
        return False
    parameters = {"pool": pool, "scope_grantees": call.principal.grantees}
    return await call.reader.fetch_one(_MAY_CLAIM_FROM, parameters) is not None


def unlimited(call: Call) -> Call:
    """The same work with every right, once it was decided that the caller may do it."""
    return replace(call, principal=replace(call.principal, grants=EVERYTHING))


def _in_pool() -> PermissionDenied:
    msg = "The account waits in a customer pool: claim it first."
    return PermissionDenied(msg, reason="IN_POOL")


class InPools(Parties[P]):
    """Records that may wait in pools: whoever may claim them reads them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As `Parties`; the table has a column `pool`."""
        super().__init__(*arguments, **options)
        pool = self.table.c.pool
        is_open = pool == sa.any_(sa.func.array(open_pools().scalar_subquery()))
        self.listing = Listing(self.codec, opened=is_open)
        ids = sa.bindparam("ids", type_=ARRAY(sa.Uuid))
        by_ids = sa.select(self.table.c.id).where(self.table.c.id == sa.any_(ids), is_open)
        # What was merged is not there any more: its survivor may be somebody's.
        query = by_ids.where(self.table.c.merged_into.is_(None))
        self._opened = compile_statement(query)

    async def get(
        self, call: Call, name: str | UUID, *, permission: str = "", field: str = "name"
    ) -> P:
        """One record that the caller sees; raises NotFound, or `IN_POOL` as `for_change` does."""
        try:
            return await super().get(call, name, permission=permission, field=field)
        except NotFound:
            found = await super().get(unlimited(call), name, permission=permission, field=field)
            wanted = permission or self._required(call)
            if await self._open_to(call, wanted, [found.id]):
                return found
            if needed(wanted) is Access.READ:
                raise
            if not await self._open_to(call, self.permission("get"), [found.id]):
                raise
            raise _in_pool() from None

    async def get_many(self, call: Call, ids: Sequence[UUID], *, permission: str = "") -> list[P]:
        """The records of these ids that the caller sees, in any order."""
        found = await super().get_many(call, ids, permission=permission)
        rest = set(ids) - {entity.id for entity in found}
        opened = await self._open_to(call, permission or self._required(call), rest)
        if opened:
            found += await super().get_many(unlimited(call), list(opened), permission=permission)
        return found

    async def within_reach(self, call: Call, permission: str, found: Sequence[Found]) -> set[UUID]:
        """Those of some records with which the caller may use a permission."""
        reached = await super().within_reach(call, permission, found)
        rest = {id_ for id_, _, _ in found} - reached
        return reached | await self._open_to(call, permission, rest)

    async def for_change(self, call: Call, name: str | UUID, etag: str = "", **options: Any) -> P:
        """A record locked for a change.

        Raises:
            PermissionDenied: `IN_POOL`: the caller may claim it; until then it is nobody's to change.
        """
        try:
            return await super().for_change(call, name, etag, **options)
        except NotFound:
            found = await super().get(unlimited(call), name)
            if not await self._open_to(call, self.permission("get"), [found.id]):
                raise
            raise _in_pool() from None

    async def _open_to(self, call: Call, permission: str, ids: Iterable[UUID]) -> set[UUID]:
        principal: Principal = call.principal
        wanted = list(ids)
        nothing = not wanted or principal.user is None or needed(permission) is not Access.READ
        if nothing or principal.grants.scope(permission) is RecordScope.NONE:
            return set()
        parameters = {"ids": wanted, "scope_grantees": principal.grantees}
        rows = await call.reader.fetch_all(self._opened, parameters)
        return {row[0] for row in rows}
