"""The whole system under load: the gateway, the way of events, an import, start and memory."""

import asyncio
import contextlib
import csv
import io
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from urllib.parse import urlsplit

import grpc
import psycopg

from benchmarks.load import in_turns
from benchmarks.results import Figure, alone, compared
from benchmarks.running import Up, memory_mb, up
from crm.customer.v1 import account_pb2, account_pb2_grpc
from crmkit.embedded_postgres import EmbeddedPostgres

_EVENTS = 4_000
_RATE = 500  # writes a second while the lag is measured
_RATE_SECONDS = 10
_IMPORTED_ROWS = 50_000


async def measure(*, amqp_url: str = "") -> dict[str, Figure]:
    """Everything that needs the whole system; with `amqp_url` events over RabbitMQ too."""
    with TemporaryDirectory(prefix="crm-bench-") as folder:
        data_dir = Path(folder)
        async with up(data_dir):
            pass  # the first start makes the databases
        async with up(data_dir) as system:
            figures = {
                "up.second_start_seconds": alone(system.start_seconds, "s"),
                "up.memory_mb": alone(memory_mb(system.process, data_dir), "MB PSS"),
                "gateway.rest_get": await _gateway(system),
                **await _import(system),
                **await _events(system, ""),
            }
    if amqp_url:
        with TemporaryDirectory(prefix="crm-bench-") as folder:
            async with up(Path(folder), CRM_AMQP_URL=amqp_url) as system:
                figures |= await _events(system, ".rabbitmq")
    return figures


def _stub(system: Up) -> tuple[grpc.aio.Channel, account_pb2_grpc.AccountServiceStub]:
    channel = grpc.aio.insecure_channel(urlsplit(system.url).netloc)
    return channel, account_pb2_grpc.AccountServiceStub(channel)


async def _gateway(system: Up) -> Figure:
    """REST GET through the gateway (ours) against gRPC GET straight from the service (reference)."""
    created = (await system.http.post("/v1/accounts", json={"display_name": "A"})).json()
    channel = grpc.aio.insecure_channel(_service_address(system, "customer"))
    stub = account_pb2_grpc.AccountServiceStub(channel)
    metadata = (("authorization", f"Bearer {system.token}"),)
    request = account_pb2.GetAccountRequest(name=created["name"])
    connections: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(16):
        connections.put_nowait(await _Connection.open(urlsplit(system.url).netloc))

    async def rest_get(_number: int) -> None:
        connection = await connections.get()
        await connection.get(f"/v1/{created['name']}", system.token)
        connections.put_nowait(connection)

    figures = await in_turns(rest_get, lambda _n: stub.GetAccount(request, metadata=metadata))
    await channel.close()
    return compared(*figures, "calls/s")


def _service_address(system: Up, service: str) -> str:
    """Where `crm up` has put a service, from what it told Envoy."""
    bootstrap = json.loads((system.data_dir / "gateway" / "envoy.json").read_text())
    clusters = {c["name"]: c for c in bootstrap["static_resources"]["clusters"]}
    endpoint = clusters[service]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    at = endpoint["endpoint"]["address"]["socket_address"]
    return f"{at['address']}:{at['port_value']}"


class _Connection:
    """HTTP/1.1 by hand: a full HTTP client would cost more than what it measures."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, netloc: str) -> "_Connection":
        """Connects to host:port."""
        host, _, port = netloc.partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def get(self, path: str, token: str) -> None:
        """GETs a path; raises RuntimeError unless the answer is 200."""
        head = f"GET {path} HTTP/1.1\r\nhost: crm\r\nauthorization: Bearer {token}\r\n\r\n"
        self._writer.write(head.encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await self._reader.readexactly(length)


def _csv(rows: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["display_name", "industry", "employee_count", "external_id", "website"])
    for n in range(rows):
        writer.writerow([f"Company {n}", "retail", n % 5000, f"X-{n}", "https://c.example"])
    return text.getvalue().encode()


async def _import(system: Up) -> dict[str, Figure]:
    """Rows a second from the start of an import to its end, and until its events are in the log (ours).

    The reference is COPY of the same final rows: records, their history, events and search index.
    """
    data = _csv(_IMPORTED_ROWS)
    upload = (
        await system.http.post(
            "/v1/customer/uploads",
            content=data,
            headers={"content-type": "application/octet-stream"},
        )
    ).json()
    began = time.perf_counter()
    body = {"resource": "accounts", "upload": upload["name"]}
    run = (await system.http.post("/v1/customer/imports", json=body)).json()
    while run["state"] in {"QUEUED", "RUNNING"}:
        await asyncio.sleep(0.05)
        run = (await system.http.get(f"/v1/customer/{run['name']}")).json()
    ended = time.perf_counter() - began
    await _until_logged(system)
    logged = time.perf_counter() - began
    if run["created_count"] != str(_IMPORTED_ROWS):
        msg = f"the import ended as {run}"
        raise RuntimeError(msg)
    copied = await asyncio.to_thread(_copy_all, system)
    reference = _IMPORTED_ROWS / copied
    return {
        "import.rows_per_second": compared(_IMPORTED_ROWS / ended, reference, "rows/s"),
        "import.logged_rows_per_second": compared(_IMPORTED_ROWS / logged, reference, "rows/s"),
    }


async def _until_logged(system: Up) -> None:
    url = EmbeddedPostgres(system.data_dir).url("customer")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        waiting = True
        while waiting:
            row = await (await connection.execute("SELECT EXISTS (SELECT FROM outbox)")).fetchone()
            waiting = row is not None and bool(row[0])


def _copy_all(system: Up) -> float:
    """Seconds that COPY takes for everything that the import has left, into tables of the same shape."""
    url = EmbeddedPostgres(system.data_dir).url("customer")
    imported = "(SELECT * FROM {} WHERE correlation_id LIKE 'imports/%')"
    left = {"accounts": "accounts"} | {t: imported.format(t) for t in ("event_log", "revision")}
    left["search_entries"] = "(SELECT * FROM search_entries WHERE collection = 'accounts')"
    left["search_keys"] = "(SELECT k.* FROM search_keys k JOIN accounts ON accounts.id = k.record)"
    with psycopg.connect(url) as connection:
        return sum(_copy(connection, table, rows) for table, rows in left.items())


def _copy(connection: psycopg.Connection, table: str, rows: str) -> float:
    out = io.BytesIO()
    with connection.cursor().copy(f"COPY {rows} TO STDOUT") as source:
        for block in source:
            out.write(block)
    connection.execute(f"CREATE TABLE copied (LIKE {table} INCLUDING INDEXES)")
    connection.commit()
    began = time.perf_counter()
    with connection.cursor().copy("COPY copied FROM STDIN") as target:
        target.write(out.getvalue())
    connection.commit()
    seconds = time.perf_counter() - began
    connection.execute("DROP TABLE copied")
    connection.commit()
    return seconds


async def _events(system: Up, suffix: str) -> dict[str, Figure]:
    """Events a second from commit to fact at full speed, and the lag at 500 writes a second."""
    watcher = _Watcher(system)
    async with watcher:
        await watcher.level()
        channel, stub = _stub(system)
        metadata = (("authorization", f"Bearer {system.token}"),)

        async def write(number: int) -> None:
            account = account_pb2.Account(display_name=f"Event {number}")
            request = account_pb2.CreateAccountRequest(account=account)
            await stub.CreateAccount(request, metadata=metadata)

        began, first = time.perf_counter(), watcher.applied
        gate = asyncio.Semaphore(16)

        async def limited(number: int) -> None:
            async with gate:
                await write(number)

        await asyncio.gather(*(limited(n) for n in range(_EVENTS)))
        written = time.perf_counter() - began
        await watcher.level()
        applied = (watcher.applied - first) / (time.perf_counter() - began)
        lag = await _lag(watcher, write)
        await channel.close()
    return {
        f"events{suffix}.per_second": compared(applied, _EVENTS / written, "events/s"),
        f"events{suffix}.lag_p99_ms": alone(lag, "ms"),
    }


async def _lag(watcher: "_Watcher", write: Callable[[int], Awaitable[None]]) -> float:
    """99th percentile of the time from an event's commit to its fact, in milliseconds."""
    watcher.seen.clear()
    began = time.perf_counter()
    gate = asyncio.Semaphore(64)  # a machine that cannot keep up shows as lag, not as refusals

    async def limited(number: int) -> None:
        async with gate:
            await write(number)

    tasks = []
    for number in range(_RATE * _RATE_SECONDS):
        ahead = began + number / _RATE - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(limited(number)))
    await asyncio.gather(*tasks)
    await watcher.level()
    lags = sorted(await watcher.lags())
    return lags[int(len(lags) * 0.99)] * 1000


class _Watcher:
    """Looks every few milliseconds how far reporting has applied customer's events."""

    def __init__(self, system: Up) -> None:
        postgres = EmbeddedPostgres(system.data_dir)
        self._customer_url, self._reporting_url = (
            postgres.url("customer"),
            postgres.url("reporting"),
        )
        self.applied = 0
        self.seen: list[tuple[float, int]] = []

    async def __aenter__(self) -> Self:
        connect = psycopg.AsyncConnection.connect
        self._customer = await connect(self._customer_url, autocommit=True)
        self._reporting = await connect(self._reporting_url, autocommit=True)
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._customer.close()
        await self._reporting.close()

    async def _watch(self) -> None:
        while True:
            row = await (
                await self._reporting.execute(
                    "SELECT applied_seq FROM consumer_cursor WHERE source = 'customer'"
                )
            ).fetchone()
            if row is not None and row[0] != self.applied:
                self.applied = row[0]
                self.seen.append((time.time(), row[0]))
            await asyncio.sleep(0.005)

    async def level(self) -> None:
        """Waits until every event of customer is applied."""
        async with asyncio.timeout(300):
            while True:
                rows = await self._customer.execute(
                    "SELECT (SELECT last_seq FROM relay_state), EXISTS (SELECT FROM outbox)"
                )
                last, waiting = await rows.fetchone() or (0, True)
                if not waiting and self.applied >= last:
                    return
                await asyncio.sleep(0.01)

    async def lags(self) -> list[float]:
        """Seconds from the request of each event to the look that found it applied."""
        first = self.seen[0][1]
        rows = await (
            await self._customer.execute(
                "SELECT feed_seq, extract(epoch FROM time) FROM event_log WHERE feed_seq > %s"
                " ORDER BY feed_seq",
                (first,),
            )
        ).fetchall()
        lags, looks = [], iter(self.seen)
        look = next(looks)
        for seq, recorded in rows:
            while look[1] < seq:
                look = next(looks)
            lags.append(look[0] - float(recorded))
        return lags
