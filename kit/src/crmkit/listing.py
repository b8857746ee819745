"""Lists of records: filter, order, record scope and keyset paging as one compiled statement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.access import Principal, RecordScope, scope_condition, scope_parameters
from crmkit.aggregate import Record
from crmkit.call import Call
from crmkit.codec import Codec
from crmkit.custom_fields.columns import CustomColumns, columns_of
from crmkit.errors import InvalidArgument
from crmkit.filters import FilterField, compile_filter
from crmkit.paging import (
    Order,
    Value,
    decode_token,
    encode_token,
    fingerprint,
    keyset_condition,
    parse_order_by,
)
from crmkit.sensitive import hidden_in, without
from crmkit.sharing import Access, is_shareable, needed, shared_with_caller
from crmkit.statements import Statement, compile_statement

E = TypeVar("E", bound=Record)
Scoped = Callable[[sa.FromClause, RecordScope], sa.ColumnElement[bool] | None]
Parameters = Callable[[Principal, RecordScope], Mapping[str, object]]

# Lists and maps have no order.
_UNORDERED = {"labels", "json_list", "references", "record_names", "texts"}
_ROW_LIMIT = sa.bindparam("row_limit", type_=sa.Integer)
_STATEMENTS_KEPT = 512  # first pages by filter, order and scope


class Listing(Generic[E]):
    """The lists of one collection."""

    def __init__(
        self,
        codec: Codec[E],
        *,
        scoped: Scoped = scope_condition,
        parameters: Parameters = scope_parameters,
        opened: sa.ColumnElement[bool] | None = None,
    ) -> None:
        """Takes what knows the fields and the table; the rest where records have a scope of their own.

        Args:
            codec: The resource.
            scoped: The condition of a scope.
            parameters: The values of `scoped` and `opened` for a caller.
            opened: What a caller reads beyond the scope and what is shared with them.
        """
        self._codec = codec
        self._scoped = scoped
        self._parameters = parameters
        self._table = codec.table
        self._opened = opened
        # A scope of its own says itself with whom records are shared.
        self._shareable = scoped is scope_condition and is_shareable(codec.contract)
        # What was merged is deleted, and not shown even among the deleted.
        merged_into = codec.table.c.get("merged_into")
        self._unmerged = None if merged_into is None else merged_into.is_(None)
        # Whoever asks; what a caller names goes by `condition`.
        self.filter_fields = codec.filter_fields()
        self._order_fields = {"id": codec.table.c.id} | {
            name: f.column for name, f in self.filter_fields.items() if f.kind not in _UNORDERED
        }
        self._custom = lru_cache(maxsize=4)(lambda fields: columns_of(fields, self._table))
        self._first_page = lru_cache(maxsize=_STATEMENTS_KEPT)(self._compile)

    async def page(
        self, call: Call, scope: RecordScope, request: Any, size: int
    ) -> tuple[list[E], str]:
        """A page of records within a scope, and the token of the next page, empty on the last.

        Raises:
            InvalidArgument: `INVALID_FILTER`, `INVALID_ORDER_BY` or `INVALID_PAGE_TOKEN`.
        """
        zone, custom = call.organization.zone, self.custom(call)
        hidden = hidden_in(call.principal, self._codec.contract, scope)
        arguments = (request.filter, request.order_by, request.show_deleted)
        orders = self._orders(request.order_by, custom, hidden)
        bound_to = fingerprint(self._table.name, *arguments)
        also_shared = self._also_shared(call, request.filter, request.order_by)
        chosen = (*arguments, scope, zone, custom, hidden, also_shared)
        if request.page_token:
            statement = self._compile(*chosen, decode_token(request.page_token, bound_to, orders))
        else:
            statement = self._first_page(*chosen)
        parameters = {"row_limit": size + 1, **self._parameters(call.principal, scope)}
        rows = await call.reader.fetch_all(statement, parameters)
        token = ""
        if len(rows) > size:
            rows = rows[:size]
            selected = [*self._codec.columns, *_joined(orders, custom)]
            last = {str(c): value for c, value in zip(selected, rows[-1], strict=True)}
            token = encode_token([last[str(o.column)] for o in orders], bound_to)
        return [self._codec.from_row(row) for row in rows], token

    def custom(self, call: Call) -> CustomColumns:
        """What may be named of the resource's custom fields now."""
        return self._custom(call.home.custom_fields.of(self._codec.contract.collection))

    def check(self, call: Call, scope: RecordScope, filter_text: str, order_by: str) -> None:
        """Raises InvalidArgument where a list within a scope would be refused with these."""
        self.condition(call, scope, filter_text)
        hidden = hidden_in(call.principal, self._codec.contract, scope)
        self._orders(order_by, self.custom(call), hidden)

    def condition(
        self, call: Call, scope: RecordScope, filter_text: str
    ) -> sa.ColumnElement[bool] | None:
        """The condition of a filter as the caller may write it for records within a scope.

        Raises:
            InvalidArgument: `INVALID_FILTER`.
        """
        hidden = hidden_in(call.principal, self._codec.contract, scope)
        return self._filter(filter_text, self.custom(call), hidden, call.organization.zone)

    def _filter(
        self, text: str, custom: CustomColumns, hidden: frozenset[str], zone: tzinfo
    ) -> sa.ColumnElement[bool] | None:
        fields = {**without(self.filter_fields, hidden), **custom.filters}
        return compile_filter(text, fields, zone=zone)

    def _orders(self, text: str, custom: CustomColumns, hidden: frozenset[str]) -> list[Order]:
        return parse_order_by(text, {**without(self._order_fields, hidden), **custom.orders})

    def matching(
        self, call: Call, scope: RecordScope, filter_text: str, *, deleted: bool = False
    ) -> tuple[list[sa.ColumnElement[bool]], Mapping[str, object]]:
        """The conditions of the records that a list, or another method, chooses, and their parameters.

        Args:
            call: Work whose method says what the records are chosen for.
            scope: How far the caller reaches.
            filter_text: Which of them.
            deleted: True for those in the trash.

        Raises:
            InvalidArgument: `INVALID_FILTER`.
        """
        assert call.method is not None  # else nobody knows what for
        deletion = self._table.c.delete_time
        conditions = [
            self.condition(call, scope, filter_text),
            self._reached(call, scope, filter_text, needed(call.method.permission)),
            deletion.is_not(None) if deleted else deletion.is_(None),
            self._unmerged if deleted else None,
        ]
        found = [c for c in conditions if c is not None]
        return found, self._parameters(call.principal, scope)

    def _compile(
        self,
        filter_text: str,
        order_by: str,
        show_deleted: bool,  # noqa: FBT001 - the key of a cache
        scope: RecordScope,
        zone: tzinfo,
        custom: CustomColumns,
        hidden: frozenset[str],
        also_shared: bool,  # noqa: FBT001
        position: Sequence[Value] | None = None,
    ) -> Statement:
        orders = self._orders(order_by, custom, hidden)
        joined = _joined(orders, custom)
        records: sa.FromClause = self._table
        for column in joined:
            records = records.outerjoin(column.table, custom.joins[column.table])
        conditions = [
            self._filter(filter_text, custom, hidden, zone),
            self._unmerged if show_deleted else self._table.c.delete_time.is_(None),
            keyset_condition(orders, position) if position is not None else None,
        ]
        query = (
            sa.select(*self._codec.columns, *joined)
            .select_from(records)
            .where(*[c for c in conditions if c is not None])
            .order_by(*[order.clause() for order in orders])
            .limit(_ROW_LIMIT)
        )
        in_scope = self._scoped(self._table, scope)
        if in_scope is None:
            return compile_statement(query)
        if not also_shared:
            return compile_statement(query.where(in_scope))
        reached = [in_scope, *self._also_reached()]
        return compile_statement(_first_of_any(query, orders, reached))

    def _reached(
        self, call: Call, scope: RecordScope, named: str, access: Access = Access.READ
    ) -> sa.ColumnElement[bool] | None:
        """The condition of a scope, and of what is shared with the caller; None for all records."""
        condition = self._scoped(self._table, scope)
        if condition is None or not self._also_shared(call, named):
            return condition
        return sa.or_(condition, *self._also_reached(access))

    def _also_reached(self, access: Access = Access.READ) -> list[sa.ColumnElement[bool]]:
        """The conditions of what is within reach beyond a scope: shared with the caller, or opened."""
        shared = shared_with_caller(self._table.c.id, access)
        if self._opened is None or access is not Access.READ:
            return [shared]
        return [shared, self._opened]

    def _also_shared(self, call: Call, filter_text: str, order_by: str = "") -> bool:
        """False where shared records are left out: their place would tell what is hidden in them."""
        if not self._shareable:
            return False
        hidden = hidden_in(call.principal, self._codec.contract, RecordScope.ALL)
        if not any(name in filter_text or name in order_by for name in hidden):
            return True
        try:
            self._filter(filter_text, self.custom(call), hidden, call.organization.zone)
            self._orders(order_by, self.custom(call), hidden)
        except InvalidArgument:
            return False
        return True

    async def look_up(
        self,
        call: Call,
        scope: RecordScope,
        field: str,
        values: Sequence[str],
        *,
        merged: bool = False,
    ) -> list[tuple[str, UUID]]:
        """Pairs of (value, id) for records within a scope whose text field has one of the values.

        Of a list such as `emails` the items' first part is compared, as it stands or in lower case. With
        `merged`, only those that were merged, of whatever scope.
        """
        hidden = hidden_in(call.principal, self._codec.contract, scope)
        known = without(self.filter_fields, hidden).get(field)
        if known is None or known.kind not in {"text", "json_list"}:
            msg = f"{self._table.name} cannot be looked up by {field or 'nothing'}."
            raise InvalidArgument(msg, field="field")
        reached = None if merged else self._reached(call, scope, field)
        c = self._table.c
        there = c.merged_into.is_not(None) if merged else c.delete_time.is_(None)
        wanted = sa.bindparam("values", type_=sa.ARRAY(sa.Text))
        if known.kind == "text":
            query = sa.select(known.column, self._table.c.id).where(known.column == sa.any_(wanted))
        else:
            query = _items(known, self._table.c.id, wanted)
        query = query.where(there, *([reached] if reached is not None else []))
        parameters = {"values": list(values), **self._parameters(call.principal, scope)}
        rows = await call.reader.fetch_all(compile_statement(query), parameters)
        return [(row[0], row[1]) for row in rows]


def _first_of_any(
    query: "sa.Select[Any]", orders: Sequence[Order], conditions: Sequence[sa.ColumnElement[bool]]
) -> "sa.Select[Any]":
    """The first rows for which one of some conditions holds.

    Each condition finds its own first rows by an index of its own, however large the table is; with OR
    PostgreSQL would read all rows for which one holds, or all in the order until enough are found.
    """
    parts = [
        query.where(condition, *(before.is_not(sa.true()) for before in conditions[:index]))
        for index, condition in enumerate(conditions)
    ]
    found = sa.union_all(*parts).subquery()
    columns: dict[Any, Any] = dict(zip(query.selected_columns, found.c, strict=True))
    merged = [replace(order, column=columns[order.column]) for order in orders]
    return sa.select(found).order_by(*[order.clause() for order in merged]).limit(_ROW_LIMIT)


def _items(known: FilterField, id_: sa.Column[Any], wanted: Any) -> sa.Select[Any]:
    """The values that some item of a list has as its first part, with the records' ids."""
    text = sa.func.unnest(wanted).column_valued("wanted")
    items = sa.type_coerce(known.column, JSONB)
    key: sa.ColumnElement[str] = sa.literal_column(f"'{known.values[0]}'")
    # Containment, as a filter compares: what an index finds. E-mail addresses are kept in lower case.
    same = [
        items.contains(sa.func.jsonb_build_array(sa.func.jsonb_build_object(key, value)))
        for value in (text, sa.func.lower(sa.func.btrim(text)))
    ]
    return sa.select(text, id_).distinct().where(sa.or_(*same))


def _joined(orders: Sequence[Order], custom: CustomColumns) -> list[sa.Column[Any]]:
    """The columns of an order that are not the records' own."""
    columns = [order.column for order in orders]
    return [c for c in columns if isinstance(c, sa.Column) and c.table in custom.joins]
