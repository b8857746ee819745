"""From a changed record to what tells of it: its revision, and the events of this version."""

from collections.abc import Sequence
from typing import Any, TypeVar

from crmkit import contract, custom_values, revisions
from crmkit.aggregate import Record, RecordedEvent
from crmkit.call import Call
from crmkit.codec import Codec
from crmkit.errors import ContractError
from crmkit.feed import outbox
from crmkit.feed.outbox import OutboxEvent
from crmkit.ids import uuid7
from crmkit.revisions import Changes

E = TypeVar("E", bound=Record)


async def publish(codec: Codec[E], call: Call, entity: E, kind: str, changes: Changes) -> None:
    """Writes history and events of one version, behind the statement that writes the record.

    Args:
        codec: The resource.
        call: The work that changes it.
        entity: The record after the change.
        kind: What happened, unless the record noted it itself.
        changes: Old and new values by field.
    """
    first, *others = _events(codec, call, entity, kind, list(changes))
    await revisions.append(call, entity, first, changes)
    await outbox.append(call.tx, others)
    entity.events.clear()


async def publish_new(
    codec: Codec[E], call: Call, entities: Sequence[E], changes: Sequence[Changes]
) -> None:
    """Writes history and events of many new records with COPY."""
    events = [_events(codec, call, entity, "created", []) for entity in entities]
    firsts = [of_one[0] for of_one in events]
    await revisions.append_many(call, list(zip(entities, firsts, changes, strict=True)))
    await outbox.append_many(call.tx, [event for of_one in events for event in of_one])


async def publish_purged(codec: Codec[E], call: Call, entity: E) -> None:
    """Removes what is kept beside a record that is no more, and says so."""
    await revisions.forget(call.tx, entity.id)
    await custom_values.forget(call.tx, entity.id)
    await outbox.append(call.tx, _events(codec, call, entity, "purged", []))


def _events(
    codec: Codec[E], call: Call, entity: E, kind: str, changed_fields: list[str]
) -> list[OutboxEvent]:
    """The events of one version of a record: those it noted; `kind` where it noted none.

    A new record always starts with `created`: its history begins there.
    """
    recorded = list(entity.events)
    kinds = {event.kind for event in recorded}
    if not recorded or (kind == "created" and "created" not in kinds):
        details: dict[str, object] = {"changed_fields": changed_fields} if kind == "updated" else {}
        recorded.insert(0, RecordedEvent(kind, None, details))
    return [_event(codec, call, entity, event, index) for index, event in enumerate(recorded)]


def _event(codec: Codec[E], call: Call, entity: E, event: RecordedEvent, index: int) -> OutboxEvent:
    singular = codec.contract.singular
    routing_key = f"{codec.contract.service}.{singular}.{event.kind}"
    declared = contract.events().get(routing_key)
    if declared is None:
        msg = f"no event message declares {routing_key}"
        raise ContractError(msg)
    message: Any = declared.message()
    record = getattr(message, singular)
    codec.write_event(entity, record)
    if entity.custom_fields:
        fields = call.home.custom_fields.of(codec.contract.collection)
        record.custom_fields.update(fields.public(entity.custom_fields))
    for name, value in event.details.items():
        if isinstance(value, list):
            getattr(message, name).extend(value)
        elif value is not None:
            setattr(message, name, value)
    return new_event(
        call,
        routing_key=routing_key,
        subject=codec.name_of(entity.id),
        subject_version=entity.version,
        event_index=index,
        effective_time=event.effective_time,
        owner=entity.owner,
        team=entity.team,
        message=message,
    )


def new_event(call: Call, *, routing_key: str, message: Any, **attributes: Any) -> OutboxEvent:
    """An event of this piece of work, with deterministic bytes."""
    effective_time = attributes.pop("effective_time", None) or call.now
    return OutboxEvent(
        event_id=uuid7(),
        type=message.DESCRIPTOR.full_name,
        routing_key=routing_key,
        time=call.now,
        effective_time=effective_time,
        actor=call.principal.name,
        imported=call.imported,
        correlation_id=call.correlation_id,
        causation_id=call.causation_id,
        traceparent=call.traceparent,
        payload=message.SerializeToString(deterministic=True),
        **attributes,
    )
