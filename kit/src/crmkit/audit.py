"""The audit log: who did what, from where, and how it ended (option `audit` of a method).

An entry is written in the transaction of what it tells of. Services publish it as an event without personal
data; identity, which keeps the log, takes it up from their feeds.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from crm.common.v1 import audit_pb2
from crm.options.v1 import options_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.contract import Method
from crmkit.errors import ContractError, Failure
from crmkit.feed import outbox
from crmkit.ids import uuid7
from crmkit.publishing import new_event
from crmkit.resources import Handler

Outcome = audit_pb2.AuditRecord.Outcome
# What is refused for lack of rights; a typing error is nobody's business.
REFUSALS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_ABOUT, _QUIET = "audit_about", "audit_quiet"
_log = structlog.get_logger("crm.audit")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the log; the names are those of `crm.identity.v1.AuditEntry`."""

    id: UUID
    category: str
    action: str
    actor: str
    subject: str | None
    outcome: str
    reason: str | None
    session: str | None
    client_address: str | None
    correlation_id: str
    occur_time: datetime


def about(call: Call, *, subject: str = "", actor: str = "") -> None:
    """Says what a request cannot: who acts while they sign in, and whom a refused one was about."""
    said = {"subject": subject, "actor": actor}
    call.state[_ABOUT] = {**call.state.get(_ABOUT, {}), **{k: v for k, v in said.items() if v}}


def keep_quiet(call: Call, *, quiet: bool = True) -> None:
    """Says that a refusal is no entry: whoever wants could fill the log with what nobody gave out."""
    call.state[_QUIET] = quiet


async def record(call: Call, subject: str) -> None:
    """Records a call that succeeds, in the caller's transaction: what a saga does itself."""
    assert call.method is not None
    await call.home.audit(call, _entry(call.method, call, subject))


async def record_stream(method: Method, call: Call, request: Any) -> None:
    """Records that a stream is answered, in a transaction of its own, before anything of it leaves."""
    entry = _entry(method, call, _subject_of(request))
    async with call.home.database.transaction() as tx:
        await call.home.audit(replace(call, tx=tx, state={}), entry)


def audited(method: Method, handler: Handler) -> Handler:
    """Records a call that succeeds, in its transaction."""

    async def run(request: Any, call: Call) -> Any:
        response = await handler(request, call)
        if getattr(request, "validate_only", False):  # nothing has happened
            return response
        subject = getattr(response, "name", "") or _subject_of(request)
        await call.home.audit(call, _entry(method, call, subject))
        return response

    return run


async def record_refusal(method: Method, call: Call, failure: Failure) -> None:
    """Records a call that was refused for lack of rights, in a transaction of its own."""
    if call.state.get(_QUIET):
        return
    about_whom = call.state.get(_ABOUT, {}).get("subject", "")
    entry = replace(
        _entry(method, call, about_whom),
        actor=call.principal.name,  # who signs in has not shown who they are
        outcome="REFUSED",
        reason=failure.reason,
    )

    try:
        async with call.home.database.transaction() as tx:
            await call.home.audit(replace(call, tx=tx, state={}), entry)
    except Exception:  # noqa: BLE001 - the caller gets the refusal in any case
        _log.exception("a refusal is missing in the audit log", method=method.path)


def _subject_of(request: Any) -> str:
    """What a request names: its record, or the record inside it."""
    for field in ("name", "parent"):
        if field in request.DESCRIPTOR.fields_by_name:
            return str(getattr(request, field))
    for field, value in request.ListFields():
        if field.message_type is not None and "name" in field.message_type.fields_by_name:
            return str(value.name)
    return ""


def _entry(method: Method, call: Call, subject: str) -> Entry:
    said, principal = call.state.get(_ABOUT, {}), call.principal
    noun = method.path.split("/")[1].rpartition(".")[2]
    return Entry(
        id=uuid7(),
        category=options_pb2.AuditCategory.Name(method.audit),
        action=f"{method.service}.{noun}.{method.name}",
        actor=said.get("actor") or principal.name,
        subject=(subject or said.get("subject", ""))[:300] or None,
        outcome="SUCCEEDED",
        reason=None,
        session=f"sessions/{principal.session}" if principal.session else None,
        client_address=call.client_address or None,
        correlation_id=call.correlation_id,
        occur_time=call.now,
    )


async def publish(call: Call, entry: Entry) -> None:
    """Tells identity of an entry: as an event, without the client's address."""
    routing_key = f"{call.home.name}.audit_entry.recorded"
    declared = contract.events().get(routing_key)
    if declared is None:
        msg = f"no event message declares {routing_key}"
        raise ContractError(msg)
    message: Any = declared.message()
    record = message.record
    record.category = options_pb2.AuditCategory.Value(entry.category)
    record.outcome = Outcome.Value.Value(entry.outcome)
    for name in ("action", "actor", "subject", "reason", "session"):
        setattr(record, name, getattr(entry, name) or "")
    event = new_event(
        call,
        routing_key=routing_key,
        message=message,
        subject=f"auditEntries/{entry.id}",
        subject_version=1,
        event_index=0,
        owner=None,
        team=None,
    )
    await outbox.append(call.tx, [event])
