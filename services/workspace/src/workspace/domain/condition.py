"""Conditions in CEL over an event: `record.amount.units > 1000 && 'stage' in changed_fields`.

CEL has no loops and no side effects. What it has, comprehensions over lists, is limited here, because a
condition runs for every event.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import cel

from crmkit.errors import InvalidArgument

VARIABLES = frozenset({"event", "record", "changed_fields"})
FUNCTIONS = frozenset(
    {
        "contains", "double", "duration", "endsWith", "getDate", "getDayOfMonth",
        "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes",
        "getMonth", "getSeconds", "has", "int", "matches", "size", "startsWith",
        "string", "timestamp", "type", "uint",
    }
)  # fmt: skip
_MAX_CHARS = 1000
_MAX_COMPREHENSIONS = 2  # three nested ones over lists that fit into a condition take half a second
_COMPREHENSION = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")
_TEXT = re.compile(r"""(?:[rRbB]{0,2})("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_RECORD_FIELD = re.compile(r"(?<![\w.])record\s*\.\s*([A-Za-z_]\w*)")


def check_condition(text: str, field: str, record_fields: Iterable[str] | None = None) -> None:
    """Refuses a condition that could not be evaluated.

    Args:
        text: The expression; an empty one holds always.
        field: Where it stands, for the error.
        record_fields: What the records at hand have; None if that is not known.

    Raises:
        InvalidArgument: `INVALID_CONDITION`.
    """
    if not text.strip():
        return
    plain = _TEXT.sub("''", text)
    if len(text) > _MAX_CHARS:
        raise _invalid(field, f"at most {_MAX_CHARS} characters")
    if len(_COMPREHENSION.findall(plain)) > _MAX_COMPREHENSIONS:
        raise _invalid(field, f"at most {_MAX_COMPREHENSIONS} of all, exists, map and filter")
    try:
        program = cel.compile(text)
        named = set(program.variables())
        called = {f for f in program.functions() if f.isidentifier()}
    except Exception as error:  # noqa: BLE001 - the library's errors for bad text are of many types
        raise _invalid(field, _first_line(error)) from None
    bound = set(re.findall(r"\(\s*([A-Za-z_]\w*)\s*,", plain))
    unknown = sorted((named - VARIABLES - bound) | (called - FUNCTIONS))
    if unknown:
        names = ", ".join(sorted(VARIABLES))
        raise _invalid(field, f"{unknown[0]} is not known; there are {names}, and CEL's functions")
    if record_fields is not None:
        absent = sorted(set(_RECORD_FIELD.findall(plain)) - set(record_fields))
        if absent:
            raise _invalid(field, f"the records have no field {absent[0]}")


def holds(text: str | None, values: Mapping[str, Any]) -> bool:
    """True if the condition is true; a field that is absent makes it false.

    Raises:
        InvalidArgument: `CONDITION_FAILED`: it compares what cannot be compared.
    """
    if not text or not text.strip():
        return True
    try:
        return _compiled(text).execute(dict(values)) is True
    except KeyError:
        return False
    except Exception as error:  # noqa: BLE001 - the library's errors are of many types
        msg = f"condition: {_first_line(error)}"
        raise InvalidArgument(msg, reason="CONDITION_FAILED", field="condition") from None


@lru_cache(maxsize=512)
def _compiled(text: str) -> Any:
    return cel.compile(text)


def _first_line(error: Exception) -> str:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return first.rpartition("ERROR: <input>:")[2][:200]


def _invalid(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {problem}", reason="INVALID_CONDITION", field=field)
