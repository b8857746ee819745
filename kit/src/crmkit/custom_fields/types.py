"""The types of custom fields: what clients send, what is kept, what is compared, what files hold.

What is kept is what clients see: the JSON of the value in its one canonical form.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from crmkit.custom_fields.definitions import CustomField
from crmkit.errors import InvalidArgument
from crmkit.field_values import text
from crmkit.money import check_amount, check_currency
from crmkit.names import parse_name

LONGEST_TEXT = 10_000
LONGEST_INDEXED_TEXT = 500  # four bytes a character still fit into a B-tree's row
_GREATEST_NUMBER = 10**15
_MOST_OPTIONS = 100
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)

# (definition, value as sent, path for errors) → value as kept; None clears.
Read = Callable[[CustomField, Any, str], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type works.

    Attributes:
        read: Checks a value that a client sends; raises InvalidArgument naming the path.
        row: The columns of `custom_field_value` for a kept value.
        column: The column that filters and orders use.
        filter_kind: What filters may do with that column.
        from_text: What a cell of a file means, as a client would send it.
        to_text: What a cell of a file says.
    """

    read: Read
    row: Callable[[Any], dict[str, Any]]
    column: str
    filter_kind: str
    from_text: Callable[[str], Any] = str
    to_text: Callable[[Any], str] = str
    can_be_unique: bool = True
    can_be_sorted: bool = True


def _wrong(path: str, form: str) -> InvalidArgument:
    return InvalidArgument(f"{path} must be {form}.", field=path)


def _read_text(field: CustomField, value: Any, path: str) -> str | None:
    if not isinstance(value, str):
        raise _wrong(path, "text")
    longest = LONGEST_INDEXED_TEXT if field.indexed else LONGEST_TEXT
    found = text(value, path, one_line=False)
    if len(found) > longest:
        raise _wrong(path, f"at most {longest:,} characters long")
    return found or None


def _read_number(_field: CustomField, value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, "a number")
    if not math.isfinite(value) or abs(value) >= _GREATEST_NUMBER:
        raise _wrong(path, "a number below 10^15")
    return float(value) + 0.0  # no negative zero


def _read_flag(_field: CustomField, value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, "true or false")
    return value


def _read_date(_field: CustomField, value: Any, path: str) -> str:
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise _wrong(path, 'a date such as "2026-01-31"')


def _read_time(_field: CustomField, value: Any, path: str) -> str:
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
            return moment.isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        pass
    raise _wrong(path, 'a time such as "2026-01-31T09:00:00Z"')


def _read_money(_field: CustomField, value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, dict) or set(value) != {"amount", "currency_code"}:
        raise _wrong(path, 'an amount such as {"amount": "12.50", "currency_code": "EUR"}')
    amount, code = value["amount"], value["currency_code"]
    try:
        plain = isinstance(amount, str) or (
            isinstance(amount, int | float) and not isinstance(amount, bool)
        )
        number = Decimal(str(amount)) if plain else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not isinstance(code, str):
        raise _wrong(path, 'an amount such as {"amount": "12.50", "currency_code": "EUR"}')
    check_amount(number, field=path)
    check_currency(code, field=f"{path}.currency_code")
    return {"amount": f"{number:f}", "currency_code": code}


def _read_option(field: CustomField, value: Any, path: str) -> str:
    known = [option.option_id for option in field.options]
    if value not in known:
        raise _wrong(path, f"one of {', '.join(known[:20])}")
    return str(value)


def _read_options(field: CustomField, value: Any, path: str) -> list[str] | None:
    if not isinstance(value, list) or len(value) > _MOST_OPTIONS:
        raise _wrong(path, f"a list of at most {_MOST_OPTIONS} options")
    chosen = [_read_option(field, item, f"{path}[{i}]") for i, item in enumerate(value)]
    return list(dict.fromkeys(chosen)) or None


def _read_reference(field: CustomField, value: Any, path: str) -> str | None:
    if not isinstance(value, str):
        raise _wrong(path, f'a name of {field.target}, such as "{field.target}/…"')
    if not value:
        return None
    return f"{field.target}/{parse_name(value, collection=field.target, field=path)}"


def reference_id(value: str) -> UUID:
    """The id in a kept reference."""
    return UUID(value.rpartition("/")[2])


def _money_row(value: Any) -> dict[str, Any]:
    return {"number_value": Decimal(value["amount"]), "text_value": value["currency_code"]}


def _indexed_text(value: str) -> dict[str, Any]:
    return {"text_value": value if len(value) <= LONGEST_INDEXED_TEXT else None}


def _number_from_text(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value  # refused as what it is


def _money_from_text(value: str) -> Any:
    amount, _, code = value.partition(" ")
    return {"amount": amount, "currency_code": code.strip()}


def _options_from_text(value: str) -> list[str]:
    return [item for part in value.split(";") if (item := part.strip())]


def _flag_from_text(value: str) -> Any:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
        value.lower(), value
    )


def _number_text(value: float) -> str:
    return f"{Decimal(repr(value)).normalize():f}"


KINDS: dict[str, Kind] = {
    "TEXT": Kind(_read_text, _indexed_text, "text_value", "text"),
    "NUMBER": Kind(
        _read_number,
        lambda value: {"number_value": Decimal(repr(float(value)))},
        "number_value",
        "number",
        _number_from_text,
        _number_text,
    ),
    "FLAG": Kind(
        _read_flag,
        lambda value: {"flag_value": value},
        "flag_value",
        "boolean",
        _flag_from_text,
        lambda value: "true" if value else "false",
        can_be_unique=False,
    ),
    "DATE": Kind(
        _read_date, lambda v: {"date_value": date.fromisoformat(v)}, "date_value", "date"
    ),
    "TIME": Kind(
        _read_time, lambda v: {"time_value": datetime.fromisoformat(v)}, "time_value", "timestamp"
    ),
    "MONEY": Kind(
        _read_money,
        _money_row,
        "number_value",
        "money",
        _money_from_text,
        lambda value: f"{value['amount']} {value['currency_code']}",
        can_be_unique=False,
    ),
    "OPTION": Kind(
        _read_option, lambda value: {"text_value": value}, "text_value", "enum",
        can_be_unique=False,
    ),
    "OPTIONS": Kind(
        _read_options,
        lambda value: {"options_value": value},
        "options_value",
        "options",
        _options_from_text,
        ";".join,
        can_be_unique=False,
        can_be_sorted=False,
    ),
    "REFERENCE": Kind(
        _read_reference,
        lambda value: {"reference_value": reference_id(value)},
        "reference_value",
        "reference",
    ),
}  # fmt: skip


def unique_key(field: CustomField, value: Any) -> str | None:
    """What is unique: begins with the field's id, so that a conflict can name the field."""
    if not field.unique:
        return None
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"{field.field_id}={shown}"
