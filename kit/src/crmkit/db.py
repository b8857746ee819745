"""Pool, transactions and the one place where a transaction is committed.

A transaction begins with its first statement and runs in psycopg's pipeline mode: statements whose result
nobody waits for travel together with the commit in one round trip.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import orjson
import psycopg
import psycopg_pool
from psycopg.types.json import set_json_dumps, set_json_loads

from crmkit.errors import ResourceExhausted, Unavailable
from crmkit.statements import CopyTarget, Row, Statement

# Reading jsonb is a quarter of a list's work with the standard library's json.
set_json_loads(orjson.loads)
set_json_dumps(orjson.dumps)

_NOTHING: Mapping[str, Any] = {}
_SESSION_LIMITS = (
    "-c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=10s"
    " -c timezone=UTC"
)
_SECONDS_TO_WAIT_FOR_A_CONNECTION = 1.0
_MOST_REPEATS = 1000


class Executor(Protocol):
    """Runs statements: a transaction, or a reader outside of one."""

    async def fetch_one(
        self, statement: Statement, params: Mapping[str, Any] = _NOTHING
    ) -> Row | None:
        """The first row, or None."""

    async def fetch_all(
        self, statement: Statement, params: Mapping[str, Any] = _NOTHING
    ) -> list[Row]:
        """Every row."""

    async def execute(self, statement: Statement, params: Mapping[str, Any] = _NOTHING) -> None:
        """Runs a statement whose result nobody needs."""


class Database:
    """A service's own PostgreSQL database."""

    def __init__(self, url: str, *, max_connections: int = 10, schema: str = "") -> None:
        """Takes the URL; with a schema, its tables hide those of the same names in `public`."""
        options = f"{_SESSION_LIMITS} -c search_path={schema},public" if schema else _SESSION_LIMITS
        self._pool = psycopg_pool.AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_connections,
            max_waiting=256,
            timeout=_SECONDS_TO_WAIT_FOR_A_CONNECTION,
            max_lifetime=1800,
            open=False,
            kwargs={"autocommit": True, "options": options},
        )
        self.url = url
        self.committed = asyncio.Event()  # wakes the sequencer of this process

    async def open(self) -> None:
        """Connects; raises Unavailable if the database cannot be reached within 30 s."""
        try:
            await self._pool.open(wait=True, timeout=30)
        except psycopg_pool.PoolTimeout as error:
            msg = "The database cannot be reached."
            raise Unavailable(msg, reason="DATABASE_UNAVAILABLE") from error

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        """A connection in autocommit mode, for one statement or for what manages its own transaction."""
        try:
            connection = await self._pool.getconn()
        except psycopg_pool.TooManyRequests as error:
            msg = "Too many requests wait for the database."
            raise ResourceExhausted(msg, retry_after=1) from error
        except psycopg_pool.PoolTimeout as error:
            msg = "No database connection was free in time."
            raise Unavailable(msg, reason="DATABASE_UNAVAILABLE", retry_after=1) from error
        try:
            yield connection
        finally:
            if connection.pgconn.pipeline_status:  # a cancel came while the pipeline was left
                await connection.close()
            await self._pool.putconn(connection)

    async def fetch_one(
        self, statement: Statement, params: Mapping[str, Any] = _NOTHING
    ) -> Row | None:
        """The first row of a statement that is a transaction of its own."""
        async with self.connection() as connection:
            cursor = await connection.execute(statement.sql, statement.parameters(params))
            return await cursor.fetchone()

    async def fetch_all(
        self, statement: Statement, params: Mapping[str, Any] = _NOTHING
    ) -> list[Row]:
        """Every row of a statement that is a transaction of its own."""
        async with self.connection() as connection:
            cursor = await connection.execute(statement.sql, statement.parameters(params))
            return await cursor.fetchall()

    async def execute(self, statement: Statement, params: Mapping[str, Any] = _NOTHING) -> None:
        """Runs a statement that is a transaction of its own."""
        async with self.connection() as connection:
            await connection.execute(statement.sql, statement.parameters(params))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Commits if the block ends well, rolls back if it raises."""
        transaction = Transaction(self)
        try:
            yield transaction
            await transaction.commit()
        finally:
            await transaction.end()


class Transaction:
    """One unit of work; begins with its first statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scope: Any = None
        self._pipeline: Any = None
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._repeated: Statement | None = None
        self._repeats: list[Mapping[str, Any]] = []
        self._committed = False
        self._after_commit: list[Callable[[], None]] = []
        # What work in this transaction has read, for later work in it: the events of a batch share one.
        self.known: dict[Any, Any] = {}

    @property
    def begun(self) -> bool:
        """True once a statement has run: from here on no other service may be called."""
        return self._connection is not None

    def after_commit(self, action: Callable[[], None]) -> None:
        """Calls `action` once the transaction is committed; never if it is not."""
        self._after_commit.append(action)

    async def _begin(self) -> psycopg.AsyncConnection[Row]:
        if self._connection is None:
            scope = self._database.connection()
            connection = await scope.__aenter__()
            self._scope = scope
            self._connection = connection
            self._pipeline = connection.pipeline()
            await self._pipeline.__aenter__()
            await connection.execute("BEGIN")
        return self._connection

    async def fetch_one(
        self, statement: Statement, params: Mapping[str, Any] = _NOTHING
    ) -> Row | None:
        """The first row, or None."""
        connection = await self._up_to_date()
        cursor = await connection.execute(statement.sql, statement.parameters(params))
        return await cursor.fetchone()

    async def fetch_all(
        self, statement: Statement, params: Mapping[str, Any] = _NOTHING
    ) -> list[Row]:
        """Every row."""
        connection = await self._up_to_date()
        cursor = await connection.execute(statement.sql, statement.parameters(params))
        return await cursor.fetchall()

    async def execute(self, statement: Statement, params: Mapping[str, Any] = _NOTHING) -> None:
        """Runs a statement; a failure shows at the next fetch or at the commit.

        It is held back until another statement follows: what is run many times in a row, as for the
        events of a batch, then costs a fraction.
        """
        await self._begin()
        if statement is not self._repeated or len(self._repeats) == _MOST_REPEATS:
            await self._up_to_date()
            self._repeated = statement
        self._repeats.append(statement.parameters(params))

    async def _up_to_date(self) -> psycopg.AsyncConnection[Row]:
        """The connection, once it has been sent what was held back."""
        connection = await self._begin()
        statement, repeats = self._repeated, self._repeats
        self._repeated, self._repeats = None, []
        if statement is not None and len(repeats) == 1:
            await connection.execute(statement.sql, repeats[0])
        elif statement is not None and statement.many is not None:
            await connection.execute(statement.many.sql, statement.many.parameters(repeats))
        elif statement is not None:
            async with connection.cursor() as cursor:
                await cursor.executemany(statement.sql, repeats)
        return connection

    async def copy(self, target: CopyTarget, rows: Iterable[Row]) -> None:
        """Writes many rows with COPY; values must be what psycopg adapts for the column types."""
        connection = await self._up_to_date()
        await self._leave_pipeline()  # COPY is not possible in pipeline mode
        async with connection.cursor() as cursor, cursor.copy(target.sql) as copy:
            copy.set_types(target.types)
            for row in rows:
                await copy.write_row(row)

    async def commit(self) -> None:
        """Makes the work durable; called at the edge only, once."""
        if self._connection is not None and not self._committed:
            await (await self._up_to_date()).execute("COMMIT")
            await self._leave_pipeline()
            self._committed = True
            self._database.committed.set()
        for action in self._after_commit:
            action()

    async def end(self) -> None:
        """Rolls back what was not committed and gives the connection back."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        try:
            if not self._committed:
                await self._roll_back(connection)
        finally:
            await self._scope.__aexit__(None, None, None)

    async def _roll_back(self, connection: psycopg.AsyncConnection[Row]) -> None:
        with suppress(psycopg.Error):  # the failure that made us roll back shows here again
            await self._leave_pipeline()
        if not connection.closed:
            await connection.rollback()

    async def _leave_pipeline(self) -> None:
        if self._pipeline is not None:
            pipeline, self._pipeline = self._pipeline, None
            await pipeline.__aexit__(None, None, None)
