"""The reference: a hand-written psycopg handler on bare grpc.aio, for the same table and statements.

It has none of our layers: no token, no permission, no validation, no filter, no codec. It does write the
same rows: account, revision, outbox event, idempotent answer, entry of the search index. It is served by
`python -m benchmarks.reference URL PORT`.
"""

# ruff: noqa: S608, SLF001 - the table's columns are constants of this file; statements are those of the service

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import psycopg_pool
import uvloop
from google.protobuf.timestamp_pb2 import Timestamp
from psycopg.types.json import Jsonb

from crm.customer.v1 import account_pb2, account_pb2_grpc
from customer.storage import search

COLUMNS = (
    "id, version, create_time, update_time, creator, owner, team, labels, external_id, display_name,"
    " kind, state, industry, employee_count, annual_revenue, annual_revenue_currency, website,"
    " emails, phones, addresses, customer_number, sort_name, domains, grade, legal_name, credit_class,"
    " credit_state, credit_limit, credit_limit_currency, external_ids, preferred_channel, time_zone,"
    " language_code, interests, important_dates, completeness, missing_fields"
)
NUMBER = "SELECT 'C-' || lpad(nextval('customer_numbers')::text, 6, '0')"
TAKEN = "SELECT FROM accounts WHERE customer_number = %s"
MISSING = ["legal_name", "phones", "addresses", "tax_id"]
JSON_PLACES = frozenset({7, 17, 18, 19, 29, 34})
_PLACES = ", ".join(["%s"] * len(COLUMNS.split(",")))
INSERT = f"INSERT INTO accounts ({COLUMNS}) VALUES ({_PLACES})"
OUTBOX = """INSERT INTO outbox (event_id, type, routing_key, subject, subject_version, event_index, time,
 effective_time, actor, owner, team, imported, correlation_id, causation_id, traceparent, payload)
 VALUES (%s, %s, %s, %s, %s, 0, %s, %s, %s, %s, NULL, false, %s, '', '', %s)"""
REVISION = """INSERT INTO revision (record, version, collection, create_time, actor, kind, correlation_id,
 causation_id, imported, changes) VALUES (%s, %s, 'accounts', %s, %s, %s, %s, '', false, %s)"""
ANSWER = "INSERT INTO idempotency VALUES (%s, %s, %s, %s, %s, %s)"
OWNER = uuid4()


def stamp(time: datetime) -> Timestamp:
    """A protobuf timestamp."""
    return Timestamp(seconds=int(time.timestamp()), nanos=time.microsecond * 1000)


def message(row: tuple[Any, ...]) -> account_pb2.Account:
    """An account as it is answered."""
    account = account_pb2.Account(
        name=f"accounts/{row[0]}",
        uid=str(row[0]),
        etag=f'"{row[1]}"',
        create_time=stamp(row[2]),
        update_time=stamp(row[3]),
        creator=f"users/{row[4]}",
        owner=f"users/{row[5]}",
        labels=row[7],
        display_name=row[9],
        kind=row[10],
        state=row[11],
        emails=row[17],
        phones=row[18],
        addresses=row[19],
        customer_number=row[20],
        sort_name=row[21],
        domains=row[22],
        interests=row[33],
        completeness=row[35],
        missing_fields=row[36],
    )
    if row[12] is not None:
        account.industry = row[12]
    if row[13] is not None:
        account.employee_count = row[13]
    if row[16] is not None:
        account.website = row[16]
    return account


def search_entry(row: Sequence[Any]) -> dict[str, Any]:
    """What an account is found by: its words, and its name, number, address and website in one piece."""
    name = row[9].lower()
    addresses = [e["address"] for e in row[17]]
    hosts = [a.partition("@")[2] for a in addresses] + (
        [row[16].partition("://")[2]] if row[16] else []
    )
    named = name.split()
    keys = [("display_name", "".join(named)), ("customer_number", row[20].replace("-", "").lower())]
    keys += [("customer_number", row[20][2:].lstrip("0"))]
    keys += [("emails", address) for address in addresses]
    keys += [("emails", host.replace(".", "")) for host in hosts[: len(addresses)]]
    keys += [("website", host.replace(".", "")) for host in hosts[len(addresses) :]]
    words = {*named, *(part for a in addresses for part in re.split(r"\W+", a)[:-1])}
    return {
        "record": row[0], "owner": row[5], "team": None, "pool": None, "name": name,
        "words": sorted(words), "fields": [k for k, _ in keys], "keys": [v for _, v in keys],
        "taught": [word for word in named if word.isalpha()],
    }  # fmt: skip


async def _run(connection: Any, statement: Any, **values: Any) -> None:
    await connection.execute(statement.sql, statement.parameters(values))


class AccountService(account_pb2_grpc.AccountServiceServicer):
    """Create, get, update and list, as one would write them by hand."""

    def __init__(self, pool: psycopg_pool.AsyncConnectionPool) -> None:
        self.pool = pool

    async def CreateAccount(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Inserts a row, its event and the stored answer in one round trip."""
        account, now, record_id = request.account, datetime.now(UTC), uuid4()
        emails = [{"address": e.address, "label": e.label} for e in account.emails]
        row = (
            record_id, 1, now, now, OWNER, OWNER, None, dict(account.labels), None,
            account.display_name, "ORGANISATION", "PROSPECT", account.industry or None,
            account.employee_count or None, None, None, account.website or None, emails, [], [],
        )  # fmt: skip
        async with self.pool.connection() as connection, connection.pipeline():
            (number,) = await (await connection.execute(NUMBER)).fetchone()
            await connection.execute(TAKEN, (number,))
            row += (
                number, account.display_name.lower(), [], None, None, None, None, None, None, {},
                None, None, None, [], [], 50, MISSING,
            )  # fmt: skip
            answer = message(row)
            stored = [Jsonb(v) if i in JSON_PLACES else v for i, v in enumerate(row)]
            await connection.execute(INSERT, stored)
            filled = {
                "display_name": [None, account.display_name], "kind": [None, "ORGANISATION"],
                "state": [None, "PROSPECT"], "industry": [None, account.industry],
                "employee_count": [None, account.employee_count], "website": [None, account.website],
                "emails": [None, emails], "labels": [None, dict(account.labels)],
                "owner": [None, str(OWNER)], "creator": [None, str(OWNER)],
            }  # fmt: skip
            await self._revise(connection, record_id, 1, now, "created", filled)
            await self._publish(connection, "created", answer, 1, now)
            await self._index(connection, row)
            if request.request_id:
                await self._remember(connection, request, answer, now)
        return answer

    async def GetAccount(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Reads a row."""
        async with self.pool.connection() as connection:
            await connection.set_autocommit(True)
            cursor = await connection.execute(
                f"SELECT {COLUMNS} FROM accounts WHERE id = %s", (UUID(request.name[9:]),)
            )
            row = await cursor.fetchone()
            await connection.set_autocommit(False)
        return message(row)

    async def UpdateAccount(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Locks a row, changes it and writes its event."""
        now, record_id = datetime.now(UTC), UUID(request.account.name[9:])
        async with self.pool.connection() as connection, connection.pipeline():
            cursor = await connection.execute(
                f"SELECT {COLUMNS} FROM accounts WHERE id = %s FOR UPDATE", (record_id,)
            )
            row = list(await cursor.fetchone())
            change = {"display_name": [row[9], request.account.display_name]}
            row[1], row[3], row[9] = row[1] + 1, now, request.account.display_name
            answer = message(tuple(row))
            await connection.execute(
                "UPDATE accounts SET version = %s, update_time = %s, display_name = %s WHERE id = %s",
                (row[1], now, row[9], record_id),
            )
            await self._revise(connection, record_id, row[1], now, "updated", change)
            await self._publish(connection, "updated", answer, row[1], now)
            await self._index_again(connection, row)
            if request.request_id:
                await self._remember(connection, request, answer, now)
        return answer

    async def ListAccounts(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Reads the newest rows."""
        async with self.pool.connection() as connection:
            await connection.set_autocommit(True)
            cursor = await connection.execute(
                f"SELECT {COLUMNS} FROM accounts WHERE delete_time IS NULL ORDER BY id DESC LIMIT %s",
                (request.page_size + 1,),
            )
            rows = await cursor.fetchall()
            await connection.set_autocommit(False)
        return account_pb2.ListAccountsResponse(
            accounts=[message(row) for row in rows[: request.page_size]]
        )

    async def _revise(
        self, connection: Any, record: UUID, version: int, now: datetime, kind: str, changes: Any
    ) -> None:
        await connection.execute(
            REVISION,
            (record, version, now, f"users/{OWNER}", kind, str(uuid4()), Jsonb(changes)),
        )

    async def _publish(
        self, connection: Any, kind: str, account: Any, version: int, now: datetime
    ) -> None:
        published = account_pb2.Account()
        published.CopyFrom(account)
        for field in ("emails", "phones", "addresses"):
            published.ClearField(field)
        event_class = {
            "created": account_pb2.AccountCreated, "updated": account_pb2.AccountUpdated,
        }[kind]  # fmt: skip
        payload = event_class(account=published).SerializeToString(deterministic=True)
        await connection.execute(
            OUTBOX,
            (
                uuid4(), event_class.DESCRIPTOR.full_name, f"customer.account.{kind}", account.name,
                version, now, now, account.owner, OWNER, str(uuid4()), payload,
            ),
        )  # fmt: skip

    async def _index(self, connection: Any, row: Sequence[Any]) -> None:
        entry = search_entry(row)
        await _run(
            connection, search._PUT, collection="accounts", entries=json.dumps([entry], default=str)
        )

    async def _index_again(self, connection: Any, row: Sequence[Any]) -> None:
        record = row[0]
        words = search_entry(row)["words"]
        await _run(connection, search._LOSE_WORDS, record=record, words=words)
        await _run(connection, search._DROP_KEYS, records=[record])
        await _run(connection, search._DROP_ENTRIES, records=[record])
        await self._index(connection, row)

    async def _remember(self, connection: Any, request: Any, answer: Any, now: datetime) -> None:
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        await connection.execute(
            ANSWER,
            (
                "users/reference", type(request).__name__, UUID(request.request_id), digest,
                answer.SerializeToString(), now + timedelta(days=7),
            ),
        )  # fmt: skip


async def serve(url: str, port: int) -> None:
    """Serves until killed."""
    async with psycopg_pool.AsyncConnectionPool(url, min_size=1, max_size=10, open=False) as pool:
        server = grpc.aio.server()
        account_pb2_grpc.add_AccountServiceServicer_to_server(AccountService(pool), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        sys.stdout.write(json.dumps({"ready": True}) + "\n")
        sys.stdout.flush()
        await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
