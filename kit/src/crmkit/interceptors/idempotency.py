"""Idempotency: a repeat with the same request id answers the first result (AIP-155).

The answer is stored in the transaction of the change, so neither is there without the other. The row is
written last and costs no round trip of its own; a repeat shows as a conflict on it, or as a refusal of the
change itself, and then gets the stored answer.
"""

import hashlib
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor
from psycopg import errors as pg

from crmkit.call import Call
from crmkit.contract import Method
from crmkit.db import Transaction
from crmkit.errors import Failure, InvalidArgument
from crmkit.interceptors.unit_of_work import in_unit_of_work
from crmkit.resources import Handler
from crmkit.schema import IDEMPOTENCY
from crmkit.statements import compile_statement

KEPT_FOR = timedelta(days=7)

_KEEP = compile_statement(
    IDEMPOTENCY.insert().values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in IDEMPOTENCY.columns}
    )
)
_FIND = compile_statement(
    sa.select(IDEMPOTENCY.c.request_hash, IDEMPOTENCY.c.response).where(
        IDEMPOTENCY.c.principal == sa.bindparam("principal"),
        IDEMPOTENCY.c.method == sa.bindparam("method"),
        IDEMPOTENCY.c.request_id == sa.bindparam("request_id", type_=sa.Uuid),
    )
)
EXPIRE = compile_statement(sa.delete(IDEMPOTENCY).where(IDEMPOTENCY.c.expire_time < sa.func.now()))


_KEPT_INSTEAD = "kept_instead"


def keep_instead(call: Call, answer: Any) -> None:
    """Keeps another answer for repeats: where the first one has a secret that is shown once."""
    call.state[_KEPT_INSTEAD] = answer


def idempotent(method: Method, handler: Handler) -> Handler:
    """Runs the method in a unit of work that also keeps its answer."""

    async def keep_answer(request: Any, call: Call) -> Any:
        response = await handler(request, call)
        kept = call.state.get(_KEPT_INSTEAD) or response
        row = {
            **_key(call, method),
            "request_hash": _hash(request),
            "response": kept.SerializeToString(),
            "expire_time": call.now + KEPT_FOR,
        }
        await call.tx.execute(_KEEP, row)
        return response

    plain = in_unit_of_work(handler)
    keeping = in_unit_of_work(keep_answer)

    async def run(request: Any, call: Call) -> Any:
        request_id = _request_id(request, call)
        if request_id is None:
            return await plain(request, call)
        call.state["request_id"] = request_id
        try:
            return await keeping(request, call)
        except (Failure, pg.UniqueViolation, psycopg.errors.InFailedSqlTransaction):
            stored = await call.home.database.fetch_one(_FIND, _key(call, method))
            if stored is None:
                raise
            call.tx = Transaction(call.home.database)
            return _answer_again(method, request, bytes(stored[0]), bytes(stored[1]))

    return run


def _answer_again(method: Method, request: Any, request_hash: bytes, response: bytes) -> Any:
    if request_hash != _hash(request):
        msg = "request_id was used for another request."
        raise InvalidArgument(msg, reason="REQUEST_ID_REUSED", field="request_id")
    return method.output.FromString(response)


def _key(call: Call, method: Method) -> dict[str, object]:
    return {
        "principal": call.principal.name,
        "method": method.path,
        "request_id": call.state["request_id"],
    }


def _hash(request: Any) -> bytes:
    copy = type(request)()
    copy.CopyFrom(request)
    copy.ClearField("request_id")
    for field, secret in _secrets(request.DESCRIPTOR):
        if copy.HasField(field):
            getattr(copy, field).ClearField(secret)
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()


@cache
def _secrets(descriptor: Descriptor) -> list[tuple[str, str]]:
    """Fields of a request's records that only come in: a fast hash of a password could be guessed."""
    return [
        (field.name, inner.name)
        for field in descriptor.fields
        if field.message_type is not None and not field.is_repeated
        for inner in field.message_type.fields
        if field_behavior_pb2.INPUT_ONLY
        in inner.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    ]


def _request_id(request: Any, call: Call) -> UUID | None:
    """The request's id; the Idempotency-Key header means the same."""
    header = call.metadata.get("idempotency-key", "")
    given = request.request_id
    if header and given and header != given:
        msg = "request_id and the Idempotency-Key header differ."
        raise InvalidArgument(msg, field="request_id")
    text = given or header
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        msg = "request_id must be a UUID."
        raise InvalidArgument(msg, field="request_id") from None
