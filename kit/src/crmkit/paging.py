"""Keyset paging (AIP-132, 158): order_by, the condition that continues after a row, tokens.

NULLs come last in both directions. The order always ends with the id, so that it is total.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from crmkit.errors import InvalidArgument

MAX_ORDER_FIELDS = 5
_ID = "id"
_DIGEST_BYTES = 16
_MAX_TOKEN_CHARS = 16_384
_MAX_INTEGER = 2**63

Value: TypeAlias = datetime | date | Decimal | UUID | str | int | float | bool | None

_READERS: dict[str, Callable[[str], Value]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "Decimal": Decimal,
    "UUID": UUID,
    "str": str,
    "int": int,
    "float": float,
    "bool": {"True": True, "False": False}.__getitem__,
    "NoneType": lambda _: None,
}


@dataclass(frozen=True)
class Order:
    """One key of an order: a whitelisted field, its column and direction."""

    field: str
    column: sa.ColumnElement[Any]
    descending: bool

    @property
    def nullable(self) -> bool:
        """Whether the column may hold NULL; an expression is taken to."""
        return not isinstance(self.column, sa.Column) or bool(self.column.nullable)

    def clause(self) -> sa.ColumnElement[Any]:
        """Returns the ORDER BY clause.

        NULLS LAST is spelled out only where it differs from what an index on the column yields.
        """
        if not self.descending:
            return self.column.asc()
        return self.column.desc().nulls_last() if self.nullable else self.column.desc()


def parse_order_by(text: str, fields: Mapping[str, sa.ColumnElement[Any]]) -> list[Order]:
    """Returns the order, always ending with the id.

    Args:
        text: "close_time desc, display_name"; empty means newest first (id desc).
        fields: the fields that may be ordered by, and always "id".

    Raises:
        InvalidArgument: `INVALID_ORDER_BY` on `order_by`.
    """
    orders = [_order(part, fields) for part in text.split(",")] if text.strip() else []
    names = [order.field for order in orders]
    if len(orders) > MAX_ORDER_FIELDS:
        msg = f"at most {MAX_ORDER_FIELDS} fields"
        raise _invalid_order(msg)
    if len(set(names)) < len(names):
        msg = "a field is named twice"
        raise _invalid_order(msg)
    if _ID in names:
        return orders[: names.index(_ID) + 1]
    # The id follows the direction of the last key, so that one index serves both.
    return [*orders, Order(_ID, fields[_ID], orders[-1].descending if orders else True)]


def keyset_condition(orders: Sequence[Order], values: Sequence[Value]) -> sa.ColumnElement[bool]:
    """Returns the condition "comes after the row with these values".

    Args:
        orders: as returned by `parse_order_by`.
        values: the last row's values, one per order.
    """
    keys = [
        (order, None if value is None else _bound(order, value))
        for order, value in zip(orders, values, strict=True)
    ]
    if len({order.descending for order in orders}) == 1 and not any(o.nullable for o in orders):
        # One row comparison: an index on these columns starts the scan right here.
        left = sa.tuple_(*(order.column for order in orders))
        right = sa.tuple_(*(bound for _, bound in keys))
        return left < right if orders[0].descending else left > right
    cases = []
    for position, (order, bound) in enumerate(keys):
        after = _after(order, bound)
        if after is not None:
            same = [o.column.is_(None) if b is None else o.column == b for o, b in keys[:position]]
            cases.append(sa.and_(*same, after))
    beyond = sa.or_(sa.false(), *cases)
    first, bound = keys[0]
    if first.nullable:
        return beyond
    # Says no more than the cases do, but lets an index on the first key start here.
    start = first.column <= bound if first.descending else first.column >= bound
    return sa.and_(start, beyond)


def fingerprint(*parts: object) -> str:
    """Returns what a page token is bound to: every argument that must not change between pages."""
    text = json.dumps([str(part) for part in parts])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def encode_token(values: Sequence[Value], fingerprint: str) -> str:
    """Returns the opaque, url-safe token that continues after the row with these values."""
    payload = json.dumps(
        [[type(value).__name__, str(value)] for value in values],
        separators=(",", ":"),
    ).encode()
    return base64.urlsafe_b64encode(_digest(payload, fingerprint) + payload).decode()


def decode_token(token: str, fingerprint: str, orders: Sequence[Order]) -> list[Value]:
    """Returns the values of a token, one per order.

    The token is checked against damage and changed arguments; it is not a secret: a forged one
    can only move the start of a list that the caller may read anyway. Its values are therefore
    held to the columns' types, too.

    Raises:
        InvalidArgument: `INVALID_PAGE_TOKEN` on `page_token`.
    """
    try:
        values = _read(token, fingerprint)
        fits = len(values) == len(orders) and all(map(_fits, orders, values))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        fits = False
    if not fits:
        msg = (
            "The page token does not belong to this list; start again without one,"
            " and keep the other arguments from page to page"
        )
        raise InvalidArgument(
            msg,
            reason="INVALID_PAGE_TOKEN",
            field="page_token",
        )
    return values


def page_size(requested: int, default: int = 50, maximum: int = 1000) -> int:
    """Returns the rows of a page: 0 means the default, more than the maximum means the maximum.

    Raises:
        InvalidArgument: `INVALID_FIELD` on `page_size`: it is negative.
    """
    if requested < 0:
        msg = "page_size must not be negative"
        raise InvalidArgument(msg, field="page_size")
    return min(requested or default, maximum)


def _order(part: str, fields: Mapping[str, sa.ColumnElement[Any]]) -> Order:
    """Returns one key of "field [asc|desc]"."""
    words = part.split()
    if not words:
        msg = "a field is missing"
        raise _invalid_order(msg)
    if words[0] not in fields:
        msg = f"{words[0]!r} is not a field to order by"
        raise _invalid_order(msg)
    if words[1:] not in ([], ["asc"], ["desc"]):
        msg = f"only 'desc' may follow {words[0]}"
        raise _invalid_order(msg)
    return Order(words[0], fields[words[0]], words[1:] == ["desc"])


def _after(order: Order, bound: sa.ColumnElement[Any] | None) -> sa.ColumnElement[bool] | None:
    """Returns "the column comes after the value"; None where nothing does."""
    if bound is None:
        return None
    beyond = order.column < bound if order.descending else order.column > bound
    return sa.or_(beyond, order.column.is_(None)) if order.nullable else beyond


def _bound(order: Order, value: Value) -> sa.ColumnElement[Any]:
    """Returns the value as a parameter; numbers keep their own precision, not the column's."""
    if isinstance(value, Decimal):
        return sa.literal(value, sa.Numeric())
    if isinstance(value, int) and not isinstance(value, bool):
        return sa.literal(value, sa.BigInteger())
    if isinstance(value, str):
        return sa.literal(value, sa.Text())
    return sa.literal(value, order.column.type)


def _read(token: str, fingerprint: str) -> list[Value]:
    """Returns the token's values; raises one of many errors where it is not one of ours."""
    if len(token) > _MAX_TOKEN_CHARS:
        msg = "too long"
        raise ValueError(msg)
    raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if digest != _digest(payload, fingerprint):
        msg = "damaged, or made for other arguments"
        raise ValueError(msg)
    values = [_READERS[kind](text) for kind, text in json.loads(payload)]
    if encode_token(values, fingerprint) != token:
        msg = "not in the one form that we write"
        raise ValueError(msg)
    return values


def _digest(payload: bytes, fingerprint: str) -> bytes:
    return hashlib.sha256(fingerprint.encode() + b"\0" + payload).digest()[:_DIGEST_BYTES]


def _fits(order: Order, value: Value) -> bool:  # noqa: PLR0911 - a table of types, one return each
    """Whether the database accepts the value where the column's own would stand."""
    if value is None:
        return order.nullable
    if type(value) is not order.column.type.python_type:
        return False
    match value:
        case str():
            return "\0" not in value and value.encode() is not None  # raises for surrogates
        case datetime():
            return value.tzinfo is not None
        case Decimal():
            return value.is_finite() and abs(value.adjusted()) < 100  # noqa: PLR2004
        case int():
            return -_MAX_INTEGER <= value < _MAX_INTEGER
        case _:
            return True


def _invalid_order(problem: str) -> InvalidArgument:
    return InvalidArgument(f"order_by: {problem}", reason="INVALID_ORDER_BY", field="order_by")
