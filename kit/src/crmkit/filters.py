"""Filters in the language of AIP-160, compiled against a whitelist to one SQL condition.

    state = OPEN AND (amount > 1000 OR -labels.tier = "gold") display_name:"acme"

`AND` (or nothing) joins, `OR` binds tighter, `NOT` or `-` negates. A negation is the exact
complement: a row where the field is empty is in one of the two answers. `"acme*"` matches a
prefix; `:` asks for "contains" (text, lists, labels) and `field:*` for "is present".
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from crmkit.errors import ContractError, InvalidArgument
from crmkit.filter_grammar import Group, Node, Term, invalid_filter, parse_filter
from crmkit.filter_values import PARSERS
from crmkit.money import CURRENCIES

Condition: TypeAlias = sa.ColumnElement[bool]

_ORDERINGS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NAME = re.compile(r"[a-z][A-Za-z]*/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_UNORDERED = frozenset({"enum", "boolean", "reference"})


@dataclass(frozen=True)
class FilterField:
    """What a filter may do with one field.

    Attributes:
        column: the column, or an expression that stands for it.
        kind: text, number, integer, boolean, timestamp, date, month and day (text such as
            "2026-01" and "2026-01-31"), enum, reference, references (uuid[]),
            record_names (text[] of names of several kinds), money, options (text[] of the
            values), texts (text[]), labels (jsonb map of strings) or json_list (jsonb list of objects).
        values: the names of an enum or of options; the collection of a reference, as in
            `names.format_name`; those of record names; the fields of a json_list's objects (empty: any).
        currency: the currency column of money.
        within: where the column is another table's: makes a condition on it one on the records.
    """

    column: sa.ColumnElement[Any]
    kind: str
    values: tuple[str, ...] = ()
    currency: sa.ColumnElement[Any] | None = None
    within: Callable[[Condition], Condition] | None = None

    def __post_init__(self) -> None:
        """Refuses a field that no filter could use."""
        if self.kind not in _KINDS:
            msg = f"filters know no kind {self.kind!r}"
            raise ContractError(msg)
        if self.kind in ("enum", "reference", "references", "record_names") and not self.values:
            msg = f"a filter field of kind {self.kind} needs its values"
            raise ContractError(msg)
        if self.kind == "money" and self.currency is None:
            msg = "a filter field of kind money needs its currency column"
            raise ContractError(msg)


def compile_filter(
    text: str, fields: Mapping[str, FilterField], *, zone: tzinfo = UTC
) -> Condition | None:
    """Returns the SQL condition of a filter, None for an empty one.

    Args:
        text: what the client sent.
        fields: what it may name; a name may contain dots ("custom_fields.region").
        zone: the time zone in which a bare date begins, the organisation's.

    Raises:
        InvalidArgument: `INVALID_FILTER` on `filter`, with the `column` (from 1) in its metadata
            where it is known: syntax, unknown field, wrong type, or over a limit.
    """
    node = parse_filter(text)
    return None if node is None else _condition(node, fields, zone)


def _condition(node: Node, fields: Mapping[str, FilterField], zone: tzinfo) -> Condition:
    if isinstance(node, Term):
        field, inner = _resolve(node, fields)
        if field.within is not None:
            return _elsewhere(node, field, inner, zone)
        return _KINDS[field.kind](node, field, inner, zone)
    parts = [_condition(item, fields, zone) for item in node.items]
    if node.operator == Group.NOT:
        return _complement(parts[0])
    return sa.or_(*parts) if node.operator == Group.ANY else sa.and_(*parts)


def _elsewhere(term: Term, field: FilterField, inner: str, zone: tzinfo) -> Condition:
    """Returns the records with such a value in another table; for `!=` those without one that is equal."""
    assert field.within is not None
    if term.operator != "!=" or term.presence:
        return field.within(_KINDS[field.kind](term, field, inner, zone))
    same = replace(term, operator="=")
    return _complement(field.within(_KINDS[field.kind](same, field, inner, zone)))


def _complement(condition: Condition) -> Condition:
    """Returns every row the condition does not hold for, those where it is NULL included."""
    return condition.is_not(sa.true())


def _resolve(term: Term, fields: Mapping[str, FilterField]) -> tuple[FilterField, str]:
    """Returns the field with the longest matching name, and the path inside it."""
    for length in range(len(term.path), 0, -1):
        field = fields.get(".".join(term.path[:length]))
        inner = ".".join(term.path[length:])
        if field and (not inner or field.kind in ("money", "labels", "json_list")):
            return field, inner
    msg = f"there is no field {'.'.join(term.path)} to filter by"
    raise invalid_filter(msg, term.position)


def _scalar(term: Term, field: FilterField, _inner: str, zone: tzinfo) -> Condition:
    if term.presence:
        return field.column.is_not(None)
    value = PARSERS[field.kind](term, field.values, zone)
    if term.operator == "!=":
        return field.column.is_distinct_from(value)
    if term.operator in ("=", ":"):
        return field.column == value
    if field.kind in _UNORDERED:
        raise _wrong_operator(term, "= != :")
    condition: Condition = _ORDERINGS[term.operator](field.column, value)
    return condition


def _text(term: Term, field: FilterField, _inner: str, _zone: tzinfo) -> Condition:
    column = field.column
    if term.presence:
        return column.is_not(None)
    if term.operator == ":":
        return column.ilike(_literal(f"%{_escaped(term.text)}%"))
    if term.prefix:
        prefixed = column.like(_literal(_escaped(term.text) + "%"))
        if term.operator not in ("=", "!="):
            raise _wrong_operator(term, "= != :")
        return _complement(prefixed) if term.operator == "!=" else prefixed
    if term.operator == "!=":
        return column.is_distinct_from(_literal(term.text))
    if term.operator == "=":
        return column == _literal(term.text)
    condition: Condition = _ORDERINGS[term.operator](column, _literal(term.text))
    return condition


def _money(term: Term, field: FilterField, inner: str, zone: tzinfo) -> Condition:
    if not inner or inner == "amount":
        return _scalar(term, FilterField(field.column, "number"), "", zone)
    if inner != "currency_code" or field.currency is None:
        msg = f"money has amount and currency_code, no {inner}"
        raise invalid_filter(msg, term.position)
    codes = tuple(sorted(CURRENCIES))
    return _scalar(term, FilterField(field.currency, "enum", codes), "", zone)


def _references(term: Term, field: FilterField, _inner: str, zone: tzinfo) -> Condition:
    if term.presence:
        return sa.func.cardinality(field.column) > 0
    if term.operator != ":":
        raise _wrong_operator(term, ":")
    value = PARSERS["reference"](term, field.values, zone).value
    return field.column.op("@>", is_comparison=True)(sa.literal([value], ARRAY(sa.Uuid())))


def _record_names(term: Term, field: FilterField, _inner: str, zone: tzinfo) -> Condition:
    if term.presence:
        return sa.func.cardinality(field.column) > 0
    if term.operator != ":":
        raise _wrong_operator(term, ":")
    collection = term.text.partition("/")[0]
    if collection not in field.values:
        msg = f"{'.'.join(term.path)} holds names of {', '.join(field.values)}"
        raise invalid_filter(msg, term.position)
    PARSERS["reference"](term, (collection,), zone)
    return field.column.op("@>", is_comparison=True)(sa.literal([term.text], ARRAY(sa.Text())))


def _options(term: Term, field: FilterField, _inner: str, zone: tzinfo) -> Condition:
    if term.presence:
        return sa.func.cardinality(field.column) > 0
    if term.operator != ":":
        raise _wrong_operator(term, ":")
    value = PARSERS["enum"](term, field.values, zone).value
    return field.column.op("@>", is_comparison=True)(sa.literal([value], ARRAY(sa.Text())))


def _texts(term: Term, field: FilterField, _inner: str, _zone: tzinfo) -> Condition:
    if term.presence:
        return sa.func.cardinality(field.column) > 0
    if term.operator != ":" or term.prefix:
        raise _wrong_operator(term, ": (whole values only)")
    return field.column.op("@>", is_comparison=True)(sa.literal([term.text], ARRAY(sa.Text())))


def _labels(term: Term, field: FilterField, key: str, _zone: tzinfo) -> Condition:
    labels = sa.type_coerce(field.column, JSONB)
    if term.operator == ":" and (term.presence or not key):
        name = key or ("" if term.presence else term.text)
        return labels.has_key(name) if name else labels != sa.literal({}, JSONB)
    if not key:
        msg = "name a label, as in labels.tier"
        raise invalid_filter(msg, term.position)
    if term.operator not in ("=", "!=", ":"):
        raise _wrong_operator(term, "= != :")
    if term.prefix:
        matched = labels[key].astext.like(_literal(_escaped(term.text) + "%"))
    else:
        matched = labels.contains(sa.literal({key: term.text}, JSONB))
    return _complement(matched) if term.operator == "!=" else matched


def _json_list(term: Term, field: FilterField, inner: str, _zone: tzinfo) -> Condition:
    items = sa.type_coerce(field.column, JSONB)
    if term.presence and not inner:
        return items != sa.literal([], JSONB)
    if not inner or (field.values and inner not in field.values):
        known = f": {', '.join(field.values)}" if field.values else ""
        msg = f"name a field inside {'.'.join(term.path)}{known}"
        raise invalid_filter(msg, term.position)
    if term.operator not in ("=", ":") or term.prefix:
        raise _wrong_operator(term, "= : (whole values only)")
    literal: str | bool = term.text
    if not term.quoted and term.text in ("true", "false"):
        literal = term.text == "true"
    found: Condition = items.contains(sa.literal([{inner: literal}], JSONB))
    id_ = _NAME.fullmatch(term.text)
    # References are kept as their ids.
    return sa.or_(found, items.contains(sa.literal([{inner: id_[1]}], JSONB))) if id_ else found


def _literal(text: str) -> sa.BindParameter[str]:
    return sa.literal(text, sa.Text())


def _escaped(text: str) -> str:
    """Returns the text with the wildcards of LIKE taken literally (backslash is its default)."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _wrong_operator(term: Term, allowed: str) -> InvalidArgument:
    return invalid_filter(
        f"{'.'.join(term.path)} cannot be compared in this way; possible: {allowed}",
        term.position,
    )


_KINDS: Mapping[str, Callable[[Term, FilterField, str, tzinfo], Condition]] = {
    **dict.fromkeys(PARSERS, _scalar),
    "text": _text,
    "money": _money,
    "references": _references,
    "record_names": _record_names,
    "options": _options,
    "texts": _texts,
    "labels": _labels,
    "json_list": _json_list,
}
