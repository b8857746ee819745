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

_NUMBER = re.compile(r"\{number(?::([1-9]))?\}")
_MOST_AT_ONCE = 256


def parts(pattern: str, day: date) -> dict[str, Any]:
    """What stands before and after the number in a pattern such as `C-{year}-{number:5}`, and its digits."""
    dated = pattern.replace("{year}", f"{day.year:04}").replace("{month}", f"{day.month:02}")
    before, digits, after = _NUMBER.split(dated, maxsplit=1)
    return {"before": before, "digits": int(digits or 1), "after": after}


class Numbers:
    """The numbers of one resource."""

    def __init__(
        self, resource: str, pattern: str, sequence: sa.Sequence, column: sa.Column[Any]
    ) -> None:
        """Takes the key of the organisation's pattern, the pattern without one, the source and its column."""
        self._resource = resource
        self._pattern = pattern
        # In one round trip; an import may have brought a number along that is drawn now.
        self._draw = compile_statement(
            sa.text(
                f"""
                SELECT written FROM (
                  SELECT n, CAST(:before AS text)
                    || lpad(n::text, greatest(CAST(:digits AS int), length(n::text)), '0')
                    || CAST(:after AS text) AS written
                    FROM (SELECT nextval('{sequence.name}') AS n
                            FROM generate_series(1, CAST(:count AS int))) AS drawn
                ) AS numbers
                WHERE (SELECT true FROM {column.table.name} WHERE {column.name} = written) IS NULL
                ORDER BY n
                """  # noqa: S608
            )
        )

    async def draw(self, call: Call) -> str:
        """The next number that no record has; the records of one batch draw more and more at once."""
        drawn: list[str] = call.state.setdefault(self, [])
        while not drawn:
            count = call.state.get((self, "count"), 1)
            call.state[self, "count"] = min(2 * count, _MOST_AT_ONCE)
            pattern = call.organization.number_patterns.get(self._resource) or self._pattern
            day = call.now.astimezone(call.organization.zone).date()
            rows = await call.tx.fetch_all(self._draw, {"count": count, **parts(pattern, day)})
            drawn += [row[0] for row in rows]
        return drawn.pop(0)
