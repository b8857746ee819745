"""Keeps one service's mistake from holding up its whole feed.

The log refuses an event id, or a record's version and index, that it already holds. Such rows of
the outbox come from a fault in the code that wrote them; they are put right here, and reported.
"""

import psycopg
import structlog

from crmkit.statements import Row

_log = structlog.get_logger(__name__)

_FENCE = "SELECT 1 FROM relay_state FOR UPDATE"

# The same event again.
_DROP_REPEATED = """
    DELETE FROM outbox AS o
    WHERE EXISTS (SELECT FROM event_log AS l WHERE l.event_id = o.event_id)
       OR EXISTS (SELECT FROM outbox AS e WHERE e.event_id = o.event_id AND e.id < o.id)
"""
# Different events at one place of a record: all that wait there go behind what the log holds.
_RENUMBER = """
    WITH place AS (
        SELECT subject, subject_version, event_index FROM outbox
        UNION ALL
        SELECT l.subject, l.subject_version, l.event_index
        FROM event_log AS l JOIN (SELECT DISTINCT subject, subject_version FROM outbox) AS o
            USING (subject, subject_version)
    ), clashing AS (
        SELECT DISTINCT subject, subject_version FROM (
            SELECT subject, subject_version FROM place
            GROUP BY subject, subject_version, event_index HAVING count(*) > 1
        ) AS taken_twice
    ), free AS (
        SELECT o.id,
            (SELECT coalesce(max(l.event_index), -1) FROM event_log AS l
             WHERE l.subject = o.subject AND l.subject_version = o.subject_version)
            + row_number() OVER (PARTITION BY subject, subject_version ORDER BY o.id) AS event_index
        FROM outbox AS o JOIN clashing USING (subject, subject_version)
    )
    UPDATE outbox SET event_index = free.event_index FROM free WHERE outbox.id = free.id
"""


async def resolve_clashes(connection: psycopg.AsyncConnection[Row]) -> None:
    """Drops repeated events and gives clashing ones a free `event_index`."""
    async with connection.transaction():
        await connection.execute(_FENCE)
        dropped = await connection.execute(_DROP_REPEATED)
        renumbered = await connection.execute(_RENUMBER)
    _log.error("events_clashed", dropped=dropped.rowcount, renumbered=renumbered.rowcount)
