"""Fields that are bound to a pick list (option `pick_list`): what is written into them is settled here.

A list that is not known yet checks nothing.
"""

from typing import Any

from crmkit.call import Call
from crmkit.codec import Codec


def settle(call: Call, codec: Codec[Any], entity: Any, before: Any = None) -> None:
    """Replaces new values of bound fields by the ids they mean; raises InvalidArgument for others.

    What the record had `before` it may keep, also where the list has changed since.
    """
    for name, key in codec.pick_lists:
        value = getattr(entity, name)
        if value and (before is None or value != getattr(before, name)):
            path = f"{codec.contract.singular}.{name}"
            setattr(entity, name, entry_of(call, key, value, field=path))


def entry_of(call: Call, key: str, text: str, *, field: str) -> str:
    """The id of a list's entry that a text means; empty for an empty one.

    Raises:
        InvalidArgument: `UNKNOWN_ENTRY` or `RETIRED_ENTRY`, naming the field.
    """
    known = call.home.rights.pick_lists.get(key)
    return known.entry(text, field, by_label=call.imported) if known and text else text
