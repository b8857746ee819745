"""Comments: what people say about a record, in threads of one level.

A text is kept as it was typed, as plain text; `@users/{uuid}` in it mentions a user. A mention gives no
rights: only who may read the record can be mentioned.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crm.common.v1 import comment_pb2
from crmkit import references
from crmkit.call import Call
from crmkit.children import followers
from crmkit.children.parents import (
    Parent,
    Parents,
    event_message,
    may_read,
    publish,
    reaches,
)
from crmkit.children.tables import COMMENT
from crmkit.collection import Collection
from crmkit.db import Executor
from crmkit.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from crmkit.etags import check_etag
from crmkit.field_codecs import Reference
from crmkit.field_values import text as checked_text
from crmkit.fieldmask import masked_fields
from crmkit.ids import uuid7
from crmkit.names import format_name, parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import compile_statement

_MENTION = re.compile(r"(?<![\w@/])@users/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![\w-])")
_MOST_MENTIONS = 50
_TEXT = "comment.text"
_NEWEST_FIRST = [Order("id", COMMENT.c.id, descending=True)]
_COLUMNS = tuple(COMMENT.columns)
_TEXT_AT = COMMENT.c.keys().index("text")
_ID, _RECORD = sa.bindparam("id", type_=sa.Uuid), sa.bindparam("record", type_=sa.Uuid)
_by_name = sa.select(*_COLUMNS).where(
    COMMENT.c.id == _ID, COMMENT.c.record == sa.any_(sa.bindparam("records", type_=ARRAY(sa.Uuid)))
)
_FIND = compile_statement(_by_name)
_LOCK = compile_statement(_by_name.with_for_update())
_INSERT = compile_statement(
    COMMENT.insert().values({c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS})
)
_CHANGED = ("version", "update_time", "delete_time", "text", "mentions")
_UPDATE = compile_statement(
    sa.update(COMMENT)
    .where(COMMENT.c.id == _ID)
    .values({n: sa.bindparam(f"new_{n}", type_=COMMENT.c[n].type) for n in _CHANGED})
)
_FORGET = compile_statement(sa.delete(COMMENT).where(COMMENT.c.record == _RECORD))


class CommentService:
    """A package's `CommentService`."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._parents = Parents(collections)

    async def CreateComment(  # noqa: N802 - the contract's name
        self, request: comment_pb2.CreateCommentRequest, call: Call
    ) -> comment_pb2.Comment:
        """Stores a comment; its author and whom it mentions follow the record."""
        text, mentions = await _read_text(call, request.comment.text)
        parent = await self._parents.hold(call, request.parent)
        await _refuse_strangers(call, parent, mentions)
        reply_to = await self._answered(call, parent, request.comment.reply_to)
        row = {
            "id": uuid7(),
            "version": 1,
            "collection": parent.collection.name,
            "record": parent.record.id,
            "author": call.principal.name,
            "create_time": call.now,
            "update_time": call.now,
            "delete_time": None,
            "reply_to": reply_to,
            "text": text,
            "mentions": mentions,
        }
        await call.tx.execute(_INSERT, row)
        author = call.principal.user
        await followers.add(call, parent, [*mentions, author] if author else mentions)
        return await _publish(call, parent, "created", row)

    async def _answered(self, call: Call, parent: Parent, name: str) -> UUID | None:
        """The comment that a new one answers."""
        if not name:
            return None
        field = "comment.reply_to"
        of, id_ = self._parents.split(name, "comments", field)
        row = await call.tx.fetch_one(_FIND, {"id": id_, "records": parent.records})
        if (
            row is None
            or parse_name(of, collection=parent.collection.name, field=field) not in parent.records
        ):
            msg = f"{field} must be a comment of {parent.name}."
            raise InvalidArgument(msg, field=field)
        answered = _values(row)
        if answered["reply_to"] is not None:
            msg = f"{field} is an answer itself; answer the comment that it answers."
            raise InvalidArgument(msg, field=field)
        _refuse_deleted(answered["delete_time"], name)
        return id_

    async def GetComment(  # noqa: N802
        self, request: comment_pb2.GetCommentRequest, call: Call
    ) -> comment_pb2.Comment:
        """One comment, deleted or not."""
        of, id_ = self._parents.split(request.name, "comments", "name")
        parent = await self._parents.find(call, of, field="name")
        row = await call.reader.fetch_one(_FIND, {"id": id_, "records": parent.records})
        if row is None:
            raise parent.not_found(request.name)
        return _message(_values(row))

    async def ListComments(  # noqa: N802
        self, request: comment_pb2.ListCommentsRequest, call: Call
    ) -> comment_pb2.ListCommentsResponse:
        """The comments of a record and their answers, newest first."""
        parent = await self._parents.find(call, request.parent)
        query = sa.select(*_COLUMNS).where(COMMENT.c.record.in_(parent.records))
        if not request.show_deleted:
            query = query.where(COMMENT.c.delete_time.is_(None))
        bound_to = f"comments/{parent.name}/{request.show_deleted}"
        rows, token = await page_of_rows(
            call, query, _NEWEST_FIRST, request, bound_to, weigh=_bytes_of_text
        )
        comments = [_message(_values(row)) for row in rows]
        return comment_pb2.ListCommentsResponse(comments=comments, next_page_token=token)

    async def UpdateComment(  # noqa: N802
        self, request: comment_pb2.UpdateCommentRequest, call: Call
    ) -> comment_pb2.Comment:
        """Changes the text of one's own comment."""
        wanted = request.comment
        masked_fields(request.update_mask.paths, wanted, {"text"})
        text, mentions = await _read_text(call, wanted.text)
        parent, row = await self._for_change(call, wanted.name, wanted.etag, "comment.name")
        if row["author"] != call.principal.name:
            raise _not_the_author(wanted.name)
        if text == row["text"]:
            return _message(row)
        new = [user for user in mentions if user not in row["mentions"]]
        await _refuse_strangers(call, parent, new)
        row |= {"text": text, "mentions": mentions}
        await _save(call, row)
        await followers.add(call, parent, new)
        return await _publish(call, parent, "updated", row, newly_mentioned=_users(new))

    async def DeleteComment(  # noqa: N802
        self, request: comment_pb2.DeleteCommentRequest, call: Call
    ) -> comment_pb2.Comment:
        """Removes what a comment says; it keeps its place, for the answers that it has."""
        parent, row = await self._for_change(call, request.name, request.etag, "name")
        _require_reach(call, row["author"], request.name)
        row |= {"text": "", "mentions": [], "delete_time": call.now}
        await _save(call, row)
        return await _publish(call, parent, "deleted", row)

    async def _for_change(
        self, call: Call, name: str, etag: str, field: str
    ) -> tuple[Parent, dict[str, Any]]:
        """A comment, locked, with its record."""
        of, id_ = self._parents.split(name, "comments", field)
        parent = await self._parents.hold(call, of, field=field)
        found = await call.tx.fetch_one(_LOCK, {"id": id_, "records": parent.records})
        if found is None:
            raise parent.not_found(name)
        row = _values(found)
        _refuse_deleted(row["delete_time"], name)
        check_etag(name, etag, row["version"])
        return parent, row


async def _read_text(call: Call, typed: str) -> tuple[str, list[UUID]]:
    """The text as it is kept, and whom it mentions; called before the transaction."""
    text = checked_text(typed, _TEXT, one_line=False)
    mentions = [UUID(match) for match in dict.fromkeys(_MENTION.findall(text))]
    if len(mentions) > _MOST_MENTIONS:
        msg = f"{_TEXT} mentions more than {_MOST_MENTIONS} users."
        raise InvalidArgument(msg, field=_TEXT)
    mentioned = [Reference("users", user, _TEXT) for user in mentions]
    await references.confirm(call, mentioned)
    await references.check(call, mentioned)
    for user in mentions:
        await call.home.rights.until_known(user)
    return text, mentions


async def _refuse_strangers(call: Call, parent: Parent, users: list[UUID]) -> None:
    for user in users:
        if not await may_read(call, parent, user):
            msg = f"{_TEXT} mentions users/{user}, who may not read {parent.name}."
            metadata = {"user": f"users/{user}"}
            raise InvalidArgument(msg, reason="CANNOT_READ_RECORD", field=_TEXT, metadata=metadata)


def _require_reach(call: Call, author: str, name: str) -> None:
    """Raises PermissionDenied unless the permission's scope reaches the comment's author."""
    user = UUID(author.removeprefix("users/")) if author.startswith("users/") else None
    if not reaches(call, user):
        raise _not_the_author(name)


def _not_the_author(name: str) -> PermissionDenied:
    return PermissionDenied(f"{name} was written by somebody else.", reason="NOT_THE_AUTHOR")


def _refuse_deleted(delete_time: datetime | None, name: str) -> None:
    if delete_time is not None:
        msg = f"{name} is deleted."
        raise FailedPrecondition(msg, reason="COMMENT_DELETED")


async def _save(call: Call, row: dict[str, Any]) -> None:
    row |= {"version": row["version"] + 1, "update_time": call.now}
    await call.tx.execute(_UPDATE, {"id": row["id"]} | {f"new_{n}": row[n] for n in _CHANGED})


async def _publish(
    call: Call, parent: Parent, past: str, row: dict[str, Any], **details: Any
) -> comment_pb2.Comment:
    """Tells of a version, without its text; answers the comment as clients see it."""
    comment = _message(row)
    event = event_message(call.home.name, f"comment.{past}")
    event.comment.CopyFrom(comment)
    event.comment.ClearField("text")
    event.parent = parent.name
    for field, values in details.items():
        getattr(event, field).extend(values)
    await publish(call, parent, f"comment.{past}", comment.name, row["version"], event)
    return comment


def _values(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((column.name for column in _COLUMNS), row, strict=True))


def _bytes_of_text(row: tuple[Any, ...]) -> int:
    return len(row[_TEXT_AT].encode())


def _users(ids: list[UUID]) -> list[str]:
    return [f"users/{id_}" for id_ in ids]


def _message(row: Mapping[str, Any]) -> comment_pb2.Comment:
    comments = f"{row['collection']}/comments"
    reply_to = row["reply_to"]
    return comment_pb2.Comment(
        name=format_name(comments, row["record"], row["id"]),
        author=row["author"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        delete_time=row["delete_time"],
        etag=f'"{row["version"]}"',
        reply_to=format_name(comments, row["record"], reply_to) if reply_to else "",
        text=row["text"],
        mentions=_users(row["mentions"]),
    )


async def forget(executor: Executor, record: UUID) -> None:
    """Removes the comments on a record."""
    await executor.execute(_FORGET, {"record": record})
