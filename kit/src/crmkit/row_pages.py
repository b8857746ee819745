"""Pages of rows that are no records: imports, their issues, exports, comments."""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from crmkit.call import Call
from crmkit.paging import (
    Order,
    decode_token,
    encode_token,
    fingerprint,
    keyset_condition,
    page_size,
)
from crmkit.statements import Row, compile_statement

_MOST_BYTES = 3 * 1024 * 1024


async def page_of_rows(
    call: Call,
    query: "sa.Select[Any]",
    orders: list[Order],
    request: Any,
    bound_to: str,
    *,
    weigh: Callable[[Row], int] | None = None,
    parameters: Mapping[str, object] | None = None,
) -> tuple[list[Row], str]:
    """A page of rows and the token of the next one, empty on the last.

    Args:
        call: The work at hand.
        query: What to select; must contain the columns of the order.
        orders: The order; total.
        request: A List request with page_size and page_token.
        bound_to: What a token must not be used apart from.
        parameters: What the query needs besides.
        weigh: A row's size in the answer, in bytes, where that varies: the page ends early at 3 MiB.

    Raises:
        InvalidArgument: `INVALID_FIELD` on page_size, or `INVALID_PAGE_TOKEN`.
    """
    size, print_ = page_size(request.page_size), fingerprint(bound_to)
    if request.page_token:
        position = decode_token(request.page_token, print_, orders)
        query = query.where(keyset_condition(orders, position))
    names = [column.name for column in query.selected_columns]
    statement = compile_statement(query.order_by(*[o.clause() for o in orders]).limit(size + 1))
    rows = await call.reader.fetch_all(statement, parameters or {})
    if weigh is not None:
        sizes = accumulate(weigh(row) for row in rows)
        size = min(size, max(1, sum(total <= _MOST_BYTES for total in sizes)))
    if len(rows) <= size:
        return rows, ""
    last = dict(zip(names, rows[size - 1], strict=True))
    return rows[:size], encode_token([last[o.column.name] for o in orders], print_)
