"""What a bulk action does to one record: the same as a request of a person would."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from crm.common.v1 import bulk_action_pb2
from crmkit import revisions
from crmkit.batches import updater
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.errors import Failure
from crmkit.resources import delete_one, set_field, undelete_one
from crmkit.sensitive import hidden, refuse_hidden
from crmtransfer.bulk.values import update_request
from crmtransfer.running import standard_rpc

Action = bulk_action_pb2.BulkAction.Action
# Record, and the version that a revert takes back → the record as it is then.
Change = Callable[[Call, UUID, int | None], Awaitable[Any]]

_VERBS = {Action.UPDATE: "Update", Action.DELETE: "Delete", Action.UNDELETE: "Undelete"}
OPPOSITES = {
    Action.UPDATE: Action.UPDATE,
    Action.DELETE: Action.UNDELETE,
    Action.UNDELETE: Action.DELETE,
}


@dataclass(frozen=True)
class Target:
    """A collection, and the methods that do to one record what a bulk action does to many."""

    collection: Collection[Any]
    methods: Mapping["Action.ValueType", Method]

    @classmethod
    def of(cls, collection: Collection[Any], servicer: Any) -> "Target":
        """Takes the standard methods that the service has not replaced by something special."""
        found = {action: standard_rpc(collection, verb) for action, verb in _VERBS.items()}
        usable = {a: m for a, m in found.items() if m and not hasattr(servicer, m.name)}
        return cls(collection, usable)

    async def change(self, call: Call, wanted: bulk_action_pb2.BulkAction) -> Change:
        """What happens to each record; called before the transaction of the call begins."""
        collection, action = self.collection, wanted.action
        if action == Action.UPDATE and wanted.reverts:
            return self._restore
        if action == Action.UPDATE:
            request = update_request(collection, self.methods[action], wanted.values)
            update = await updater(collection, call, request)
            return lambda call, record, _: update(call, record, "")
        one = delete_one if action == Action.DELETE else undelete_one
        return lambda call, record, version: one(collection, call, record, _etag(version))

    async def _restore(self, call: Call, record: UUID, version: int | None) -> Any:
        """Gives a record the values that it had before a version, if that is its latest."""
        assert version is not None  # every row of a revert has one
        collection = self.collection
        entity = await collection.for_change(call, record, _etag(version))
        custom = call.home.custom_fields.of(collection.name)
        before = await revisions.values_before(call.tx, collection.codec, custom, record, version)
        unseen = hidden(call.principal, collection.contract, entity.owner, entity.team)
        refuse_hidden(collection.contract, before, unseen)
        for name, value in before.items():
            set_field(collection, entity, name, value)
        call.restoring = True
        return await collection.save(call, entity)


def _etag(version: int | None) -> str:
    return "" if version is None else f'"{version}"'


def changed(call: Call, entity: Any) -> bool:
    """Whether this piece of work has made a new version of the record."""
    return bool(entity.update_time == call.now)


def issue(
    collection: Collection[Any], record: UUID, failure: Failure
) -> bulk_action_pb2.BulkActionIssue:
    """What stands against the change of a record."""
    name = collection.codec.name_of(record)
    path = failure.violations[0].field if failure.violations else ""
    reason, message = failure.reason, failure.message
    if reason == "ETAG_MISMATCH":
        reason, message = "CHANGED_SINCE", f"{name} has been changed since the bulk action."
    return bulk_action_pb2.BulkActionIssue(
        record=name,
        field=path.removeprefix(f"{collection.contract.singular}.")[:200],
        reason=reason[:100],
        message=message[:2000],
    )
