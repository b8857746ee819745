"""Followers: who wants to hear of a record.

Its owner follows it, and whoever comments on it or is mentioned in a comment; each until they unfollow it.
Who has unfollowed a record is not made to follow it again by a mention; a person with the right may do that.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.protobuf import empty_pb2

from crm.common.v1 import follower_pb2
from crmkit import references
from crmkit.aggregate import Record
from crmkit.call import Call
from crmkit.children.parents import (
    Parent,
    Parents,
    event_message,
    may_read,
    publish,
    reaches,
)
from crmkit.children.tables import FOLLOWER
from crmkit.collection import Collection
from crmkit.db import Executor
from crmkit.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from crmkit.field_codecs import Reference
from crmkit.names import format_name, parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import compile_statement

_RECORD = sa.bindparam("record", type_=sa.Uuid)
_USER = sa.bindparam("user", type_=sa.Uuid)
_NEW = (
    'INSERT INTO follower (record, "user", version, collection, following, create_time)'
    " VALUES (:record, :user, 1, :collection, :following, :create_time)"
)
_TIME = sa.bindparam("create_time", type_=FOLLOWER.c.create_time.type)
_ADD = compile_statement(
    sa.text(f"{_NEW} ON CONFLICT DO NOTHING RETURNING version").bindparams(_RECORD, _USER, _TIME)
)
_DECIDE = compile_statement(
    sa.text(
        f'{_NEW} ON CONFLICT (record, "user") DO UPDATE SET following = excluded.following,'
        " version = follower.version + 1, create_time = excluded.create_time"
        " WHERE follower.following <> excluded.following RETURNING version"
    ).bindparams(_RECORD, _USER, _TIME)
)
_FIND = compile_statement(
    sa.select(FOLLOWER.c.following).where(FOLLOWER.c.record == _RECORD, FOLLOWER.c.user == _USER)
)
_FORGET = compile_statement(sa.delete(FOLLOWER).where(FOLLOWER.c.record == _RECORD))


class FollowerService:
    """A package's `FollowerService`."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._parents = Parents(collections)

    async def FollowRecord(  # noqa: N802 - the contract's name
        self, request: follower_pb2.FollowRecordRequest, call: Call
    ) -> empty_pb2.Empty:
        """Lets a user follow a record; nothing happens if they do."""
        await self._decide(call, request, following=True)
        return empty_pb2.Empty()

    async def UnfollowRecord(  # noqa: N802
        self, request: follower_pb2.UnfollowRecordRequest, call: Call
    ) -> empty_pb2.Empty:
        """Lets a user unfollow a record; nothing happens if they have."""
        await self._decide(call, request, following=False)
        return empty_pb2.Empty()

    async def _decide(self, call: Call, request: Any, *, following: bool) -> None:
        user = await _whom(call, request.user)
        parent = await self._parents.hold(call, request.name, field="name")
        if following and not await may_read(call, parent, user):
            msg = f"users/{user} may not read {request.name}."
            raise InvalidArgument(msg, reason="CANNOT_READ_RECORD", field="user")
        row = _row(call, parent, user, following=following)
        changed = await call.tx.fetch_one(_DECIDE, row)
        if changed is not None:
            await _publish(call, parent, "added" if following else "removed", user, changed[0])

    async def ListFollowers(  # noqa: N802
        self, request: follower_pb2.ListFollowersRequest, call: Call
    ) -> follower_pb2.ListFollowersResponse:
        """The users who follow a record, and whether the caller is one."""
        parent = await self._parents.find(call, request.parent)
        found = _followers(parent)
        query = sa.select(found.c.user, found.c.create_time)
        by_user = [Order("user", found.c.user, descending=False)]
        bound_to = f"followers/{parent.name}"
        rows, token = await page_of_rows(call, query, by_user, request, bound_to)
        followers = [follower_pb2.Follower(user=f"users/{u}", follow_time=time) for u, time in rows]
        return follower_pb2.ListFollowersResponse(
            followers=followers,
            next_page_token=token,
            following=await _follows(call, parent),
        )


async def _whom(call: Call, name: str) -> UUID:
    """Who is to follow: the caller, or somebody whom the permission's scope reaches."""
    if not name and call.principal.user is None:
        msg = "A service follows no record: it consumes events."
        raise FailedPrecondition(msg, reason="NOT_A_USER")
    if not name or name == call.principal.name:
        assert call.principal.user is not None
        return call.principal.user
    user = parse_name(name, collection="users", field="user")
    if not reaches(call, user):
        msg = f"{name} decides themselves what they follow."
        raise PermissionDenied(msg, reason="NOT_YOURSELF")
    wanted = [Reference("users", user, "user")]
    await references.confirm(call, wanted)
    await references.check(call, wanted)
    await call.home.rights.until_known(user)
    return user


def _followers(parent: Parent) -> sa.Subquery:
    """Users and since when; the owner too, for whom nothing was decided."""
    record, owner = parent.record.id, parent.record.owner
    of_record = FOLLOWER.c.record == record
    decided = sa.select(FOLLOWER.c.user, FOLLOWER.c.create_time).where(
        of_record, FOLLOWER.c.following
    )
    if owner is None:
        return decided.subquery()
    has_decided = sa.exists().where(of_record, FOLLOWER.c.user == owner)
    by_default = sa.select(
        sa.literal(owner, sa.Uuid).label("user"), sa.null().label("create_time")
    ).where(~has_decided)
    return sa.union_all(decided, by_default).subquery()


async def _follows(call: Call, parent: Parent) -> bool:
    user = call.principal.user
    if user is None:
        return False
    row = await call.reader.fetch_one(_FIND, {"record": parent.record.id, "user": user})
    return user == parent.record.owner if row is None else bool(row[0])


def _row(call: Call, parent: Parent, user: UUID, *, following: bool) -> dict[str, Any]:
    return {
        "record": parent.record.id,
        "user": user,
        "collection": parent.collection.name,
        "following": following,
        "create_time": call.now,
    }


_OF_OTHERS = compile_statement(
    sa.select(FOLLOWER.c.user)
    .distinct()
    .where(
        FOLLOWER.c.record == sa.any_(sa.bindparam("records", type_=sa.ARRAY(sa.Uuid))),
        FOLLOWER.c.following,
    )
)


async def join(call: Call, parent: Parent, others: Sequence[Record]) -> None:
    """Who follows merged records follows their survivor from now on, unless they have decided otherwise."""
    rows = await call.tx.fetch_all(_OF_OTHERS, {"records": [other.id for other in others]})
    owners = [other.owner for other in others if other.owner is not None]
    theirs = {row[0] for row in rows} | set(owners)
    await add(call, parent, theirs - {parent.record.owner})


async def add(call: Call, parent: Parent, users: Iterable[UUID]) -> None:
    """Lets users follow a record who have not decided about it themselves."""
    for user in sorted(set(users)):  # in one order, so that two comments at once do not block
        row = await call.tx.fetch_one(_ADD, _row(call, parent, user, following=True))
        if row is not None:
            await _publish(call, parent, "added", user, row[0])


async def _publish(call: Call, parent: Parent, kind: str, user: UUID, version: int) -> None:
    message = event_message(call.home.name, f"follower.{kind}")
    message.user, message.parent = f"users/{user}", parent.name
    subject = format_name(f"{parent.collection.name}/followers", parent.record.id, user)
    await publish(call, parent, f"follower.{kind}", subject, version, message)


async def forget(executor: Executor, record: UUID) -> None:
    """Removes what was decided about a record."""
    await executor.execute(_FORGET, {"record": record})
