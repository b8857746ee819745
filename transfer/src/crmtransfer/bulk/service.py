"""BulkActionService: the same in every service, over its own collections."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import bulk_action_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition, InvalidArgument, NotFound, Violation
from crmkit.ids import uuid7
from crmkit.job_tables import BULK_ACTION, BULK_ACTION_ROW
from crmkit.jobs import JobHandler, enqueue
from crmkit.names import parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.sensitive import hidden_in
from crmtransfer.bulk import runs
from crmtransfer.bulk.changes import OPPOSITES, Action, Target
from crmtransfer.bulk.job import BulkActionJob, scope_of
from crmtransfer.bulk.preview import preview
from crmtransfer.bulk.values import check, normalised
from crmtransfer.running import ACTIVE

_JOB = "bulk_action"
_KEPT_FOR = timedelta(days=30)
_NEWEST_FIRST = [Order("id", BULK_ACTION.c.id, descending=True)]
_BY_ROW = [Order("row", BULK_ACTION_ROW.c.row, descending=False)]


class BulkActionService:
    """Shows what bulk actions would do, starts them, takes them back."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        """Takes what can be changed, by collection."""
        self._targets = targets

    def job_handlers(self) -> dict[str, JobHandler]:
        """The handler of the jobs that bulk actions are."""
        return {_JOB: BulkActionJob(self._targets)}

    async def CreateBulkAction(  # noqa: N802 - the contract's name
        self, request: bulk_action_pb2.CreateBulkActionRequest, call: Call
    ) -> bulk_action_pb2.BulkAction:
        """Promises a bulk action, in one transaction with its job; or shows what it would do."""
        wanted = request.bulk_action
        target = self._target(wanted)
        method = target.methods[wanted.action]
        call.principal.require(method.permission)
        records = _named(target.collection, wanted)
        _check_filter(call, target, wanted)
        specification = bulk_action_pb2.BulkAction(
            resource=wanted.resource, action=wanted.action, filter=wanted.filter.strip()
        )
        acting = replace(call, method=method)
        if wanted.action == Action.UPDATE:
            values = normalised(target.collection, call, wanted)
            await check(target.collection, acting, method, values)
            specification.values.CopyFrom(values)
        elif wanted.HasField("values") or wanted.HasField("update_mask"):
            msg = "bulk_action.values are for an update."
            raise InvalidArgument(msg, field="bulk_action.values")
        if request.validate_only:
            return await preview(acting, target, specification, records)
        await runs.forget_records(call.home.database, call.now - _KEPT_FOR)
        run = await self._promise(call, specification)
        if records:
            await runs.choose_named(call.tx, run.id, records)
        return run.message()

    def _target(self, wanted: bulk_action_pb2.BulkAction) -> Target:
        target = self._targets.get(wanted.resource)
        if target is None:
            known = ", ".join(sorted(self._targets))
            msg = f"{wanted.resource} has no bulk actions here; what has is {known}."
            raise InvalidArgument(msg, field="bulk_action.resource")
        if wanted.action not in target.methods:
            known = ", ".join(Action.Name(action) for action in sorted(target.methods))
            msg = f"bulk_action.action must be one of {known}."
            raise InvalidArgument(msg, field="bulk_action.action")
        return target

    async def _promise(
        self,
        call: Call,
        specification: bulk_action_pb2.BulkAction,
        reverts: UUID | None = None,
    ) -> runs.Run:
        run = runs.new_run(uuid7(), specification, call, reverts)
        await runs.insert(call.tx, run)
        await enqueue(call.tx, _JOB, {"bulk_action": str(run.id)}, job_id=run.id)
        return run

    async def GetBulkAction(  # noqa: N802
        self, request: bulk_action_pb2.GetBulkActionRequest, call: Call
    ) -> bulk_action_pb2.BulkAction:
        """A bulk action with its progress."""
        return self._shown(call, await self._find(call, request.name, "name"))

    def _shown(self, call: Call, run: runs.Run) -> bulk_action_pb2.BulkAction:
        """A bulk action without values that are hidden from somebody who did not write them."""
        message = run.message()
        target = self._targets[run.specification.resource].collection.contract
        if run.creator != call.principal.user:
            for name in hidden_in(call.principal, target, RecordScope.ALL):
                message.values.fields.pop(name, None)
        return message

    async def _find(self, call: Call, name: str, field: str) -> runs.Run:
        id_ = parse_name(name, collection="bulkActions", field=field)
        run = await runs.find(call.reader, id_)
        if run is None or not (_sees_all(call) or run.creator == call.principal.user):
            raise _not_found(name)
        return run

    async def ListBulkActions(  # noqa: N802
        self, request: bulk_action_pb2.ListBulkActionsRequest, call: Call
    ) -> bulk_action_pb2.ListBulkActionsResponse:
        """The caller's bulk actions, newest first; everyone's with the scope ALL."""
        query = sa.select(*runs.RUN_COLUMNS)
        if not _sees_all(call):
            query = query.where(BULK_ACTION.c.creator == call.principal.user)
        rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, "bulkActions")
        return bulk_action_pb2.ListBulkActionsResponse(
            bulk_actions=[self._shown(call, runs.run_of(row)) for row in rows],
            next_page_token=token,
        )

    async def CancelBulkAction(  # noqa: N802
        self, request: bulk_action_pb2.CancelBulkActionRequest, call: Call
    ) -> bulk_action_pb2.BulkAction:
        """Stops a bulk action after the records at hand."""
        run = await self._locked(call, request.name)
        if run.state not in ACTIVE:
            raise _illegal(run, "RevertBulkAction")
        await runs.end(call.tx, run, "CANCELLED")
        cancelled = await runs.find(call.tx, run.id)
        assert cancelled is not None  # we hold its lock
        return self._shown(call, cancelled)

    async def _locked(self, call: Call, name: str) -> runs.Run:
        run = await runs.lock(call.tx, (await self._find(call, name, "name")).id)
        if run is None:
            raise _not_found(name)
        return run

    async def RevertBulkAction(  # noqa: N802
        self, request: bulk_action_pb2.RevertBulkActionRequest, call: Call
    ) -> bulk_action_pb2.BulkAction:
        """Promises a bulk action that takes another one back."""
        reverted = await self._locked(call, request.name)
        if reverted.state in ACTIVE or reverted.end_time is None:
            raise _illegal(reverted, "CancelBulkAction")
        if reverted.end_time < call.now - _KEPT_FOR:
            msg = f"A bulk action can be taken back for {_KEPT_FOR.days} days."
            raise FailedPrecondition(msg, reason="REVERT_EXPIRED")
        specification = bulk_action_pb2.BulkAction(
            resource=reverted.specification.resource,
            action=OPPOSITES[reverted.specification.action],
            reverts=reverted.name,
        )
        target = self._target(specification)
        call.principal.require(target.methods[specification.action].permission)
        run = await self._promise(call, specification, reverted.id)
        await runs.choose_changed(call.tx, run.id, reverted.id)
        return run.message()

    async def ListBulkActionIssues(  # noqa: N802
        self, request: bulk_action_pb2.ListBulkActionIssuesRequest, call: Call
    ) -> bulk_action_pb2.ListBulkActionIssuesResponse:
        """Why records were left as they are."""
        run = await self._find(call, request.parent, "parent")
        query = sa.select(*runs.ISSUE_COLUMNS).where(
            BULK_ACTION_ROW.c.bulk_action == run.id, BULK_ACTION_ROW.c.outcome == "FAILED"
        )
        rows, token = await page_of_rows(call, query, _BY_ROW, request, run.name)
        resource = run.specification.resource
        return bulk_action_pb2.ListBulkActionIssuesResponse(
            issues=[runs.issue_message(resource, row) for row in rows], next_page_token=token
        )


def _named(collection: Collection[Any], wanted: bulk_action_pb2.BulkAction) -> list[UUID]:
    """The records that are named, in the order of their ids; raises InvalidArgument."""
    if bool(wanted.names) == bool(wanted.filter.strip()):
        msg = "Say which records: either bulk_action.filter or bulk_action.names."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="bulk_action.filter")
    found: set[UUID] = set()
    for index, name in enumerate(wanted.names):
        path = f"bulk_action.names[{index}]"
        record = parse_name(name, collection=collection.name, field=path)
        if record in found:
            msg = f"{path}: {name} is named twice."
            raise InvalidArgument(msg, field=path)
        found.add(record)
    return sorted(found)


def _check_filter(call: Call, target: Target, wanted: bulk_action_pb2.BulkAction) -> None:
    """Raises InvalidArgument, with the fault's place in the request, or PermissionDenied."""
    if wanted.names:
        return
    scope = scope_of(call, target, wanted.action)
    try:
        target.collection.listing.check(call, scope, wanted.filter, "")
    except InvalidArgument as error:
        error.violations = tuple(
            Violation(f"bulk_action.{v.field}", v.description) for v in error.violations
        )
        raise


def _sees_all(call: Call) -> bool:
    assert call.method is not None  # only requests come here
    return call.principal.require(call.method.permission) is RecordScope.ALL


def _illegal(run: runs.Run, allowed: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"The bulk action is {run.state}.",
        reason="ILLEGAL_TRANSITION",
        metadata={"state": run.state, "allowed_methods": allowed},
    )


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no {name}.", metadata={"resource": name})
