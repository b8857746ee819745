"""Whose value of a field stands: what people type, imports, other systems, as the organisation says."""

from collections.abc import Iterable
from typing import Any

from crmkit.call import Call
from crmkit.errors import FailedPrecondition

PERSON, IMPORT = "user", "import"


def outranked(call: Call, collection: str, entity: Any, name: str) -> str:
    """The source of a field's value, if that stands against the one at work; else empty.

    Args:
        call: The work, with its source.
        collection: The collection of the record.
        entity: The record; one without `field_sources` takes what comes.
        name: The field.
    """
    held, precedence = getattr(entity, "field_sources", None), call.organization.source_precedence
    if held is None or not precedence:
        return ""
    said = precedence.get(f"{collection}.{name}") or precedence.get(f"{collection}.*", "")
    order = [source.strip() for source in said.split(">")]
    holder = held.get(name, PERSON)
    if holder not in order:
        return ""
    mine = call.source or PERSON
    stands = mine not in order or order.index(holder) < order.index(mine)
    return holder if stands else ""


def refuse_outranked(call: Call, collection: Any, entity: Any, name: str, value: Any) -> None:
    """Raises FailedPrecondition `SOURCE_OUTRANKED` where a change would lose against the value's source."""
    if value == getattr(entity, name, value):
        return
    if holder := outranked(call, collection.name, entity, name):
        path = f"{collection.contract.singular}.{name}"
        msg = f"{path} comes from {holder}, which the organisation lets stand."
        raise FailedPrecondition(
            msg, reason="SOURCE_OUTRANKED", field=path, metadata={"source": holder}
        )


def is_noted(call: Call) -> bool:
    """Whether it is kept where values come from: a name always, any import where that may count."""
    if call.source == IMPORT:
        return bool(call.organization.source_precedence)
    return call.source not in {"", PERSON}


def settled(call: Call, held: dict[str, str], changed: Iterable[str]) -> dict[str, str]:
    """Field → source, after a change of these fields; people are not named."""
    changed = set(changed)
    kept = {name: source for name, source in held.items() if name not in changed}
    return kept | (dict.fromkeys(sorted(changed), call.source) if is_noted(call) else {})
