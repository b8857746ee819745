"""Human numbers of records: from a sequence, written by the organisation's pattern (decision 18).

Numbers may have gaps: what is drawn and not used is lost. Documents whose numbers may have none do not come
here.
"""

import re
from datetime import date
from typing import Any

import sqlalchemy as sa

from crmkit.call import Call
from crmkit.statements import compile_statement

_PLACEHOLDER = re.compile(r"\{(year|month|number(?::([1-9]))?)\}")
_MOST_AT_ONCE = 256


def write_number(pattern: str, number: int, day: date) -> str:
    """A number in a pattern such as `C-{year}-{number:5}`."""

    def part(found: re.Match[str]) -> str:
        name, digits = found.groups()
        if name == "year":
            return f"{day.year:04}"
        return f"{day.month:02}" if name == "month" else f"{number:0{digits or 1}}"

    return _PLACEHOLDER.sub(part, pattern)


class Numbers:
    """The numbers of one resource."""

    def __init__(
        self, resource: str, pattern: str, sequence: sa.Sequence, column: sa.Column[Any]
    ) -> None:
        """Takes the key of the organisation's pattern, the pattern without one, the source and its column."""
        self._resource = resource
        self._pattern = pattern
        self._draw = compile_statement(
            sa.text(
                f"SELECT nextval('{sequence.name}') FROM generate_series(1, CAST(:count AS int))"  # noqa: S608
            )
        )
        wanted = sa.any_(sa.bindparam("numbers", type_=sa.ARRAY(sa.Text)))
        self._taken = compile_statement(sa.select(column).where(column == wanted))

    async def draw(self, call: Call) -> str:
        """The next number that no record has; the records of one batch draw more and more at once."""
        drawn: list[str] = call.state.setdefault(self, [])
        while not drawn:
            count = call.state.get((self, "count"), 1)
            call.state[self, "count"] = min(2 * count, _MOST_AT_ONCE)
            rows = await call.tx.fetch_all(self._draw, {"count": count})
            drawn += await self._free(call, [row[0] for row in rows])
        return drawn.pop(0)

    async def _free(self, call: Call, numbers: list[int]) -> list[str]:
        pattern = call.organization.number_patterns.get(self._resource) or self._pattern
        day = call.now.astimezone(call.organization.zone).date()
        written = [write_number(pattern, number, day) for number in numbers]
        rows = await call.tx.fetch_all(self._taken, {"numbers": written})
        taken = {row[0] for row in rows}  # brought along by an import
        return [number for number in written if number not in taken]
