"""What a client was told: every acknowledged write, kept outside of the system under test."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from crmkit.testing import eventually

from .processes import ADMIN

_MOST_WRITES = 2000  # a loop that a defect must not make endless


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the administrator's token."""
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as http:
        answer = await http.post("/v1/sessions", json=ADMIN)
        assert answer.status_code == httpx.codes.OK, answer.text
        http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http


@dataclass(frozen=True)
class Write:
    """One mutation with its own request id."""

    path: str
    body: dict[str, Any]
    request_id: str

    async def send(self, http: httpx.AsyncClient) -> dict[str, Any] | None:
        """The answer; None if there was none, or one that says to try again."""
        try:
            headers = {"idempotency-key": self.request_id}
            answer = await http.post(self.path, json=self.body, headers=headers)
        except httpx.TransportError:
            return None
        if answer.status_code in {429, 503, 504}:
            return None
        assert answer.status_code == httpx.codes.OK, (answer.status_code, answer.text)
        json: dict[str, Any] = answer.json()
        return json


@dataclass
class Ledger:
    """Opportunities that a seed makes; half of them are won.

    Attributes:
        created: Name → amount of those acknowledged.
        won: Names of those whose win was acknowledged.
        doubtful: Writes without an answer: they may have happened.
    """

    seed: int
    created: dict[str, int] = field(default_factory=dict)
    won: set[str] = field(default_factory=set)
    doubtful: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def acknowledged(self) -> int:
        return len(self.created) + len(self.won)

    def wish(self, upper: int) -> int:
        """A number that the seed decides."""
        return self._random.randrange(upper // 2, upper)

    def _request_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _creation(self) -> Write:
        amount = self._random.randrange(1, 10_000)
        body = {
            "display_name": f"Deal {amount}",
            "amount": {"currency_code": "EUR", "units": str(amount)},
        }
        return Write("/v1/opportunities", body, self._request_id())

    async def _write(self, http: httpx.AsyncClient, stop: asyncio.Event) -> None:
        """One client that writes until told to stop, or until it gets no answer."""
        for _ in range(_MOST_WRITES):
            if stop.is_set() or not await self.one(http):
                return

    async def one(self, http: httpx.AsyncClient) -> bool:
        """Creates an opportunity and perhaps wins it; False at the first write in doubt."""
        name = await self.settle(http, self._creation())
        if name is None:
            return False
        if self._random.random() < 0.5:
            return await self.settle(http, self._win(name)) is not None
        return True

    def _win(self, name: str) -> Write:
        return Write(f"/v1/{name}:win", {}, self._request_id())

    async def settle(self, http: httpx.AsyncClient, write: Write) -> str | None:
        """Sends a write and enters its outcome; answers the opportunity's name."""
        answer = await write.send(http)
        if answer is None:
            self.doubtful.append(write)
            return None
        name: str = answer["name"]
        if write.path.endswith(":win"):
            self.won.add(name)
        else:
            self.created[name] = int(write.body["amount"]["units"])
        return name

    async def repeat_doubtful(self, http: httpx.AsyncClient) -> int:
        """Sends each write in doubt twice: the answers must be the same. Answers how many."""
        doubtful, self.doubtful = self.doubtful, []
        for write in doubtful:
            first = await self.settle(http, write)
            assert first is not None
            assert await self.settle(http, write) == first, f"seed {self.seed}: {write} doubled"
        return len(doubtful)

    @asynccontextmanager
    async def load(self, http: httpx.AsyncClient, acknowledged: int) -> AsyncIterator[None]:
        """Four clients write; the block begins when so many more writes are acknowledged."""
        goal = self.acknowledged + acknowledged
        stop = asyncio.Event()
        writers = [asyncio.create_task(self._write(http, stop)) for _ in range(4)]

        def reached() -> bool:
            assert not all(writer.done() for writer in writers), "every writer has ended"
            return self.acknowledged >= goal

        try:
            await eventually(reached, timeout=30)
            yield
        finally:
            stop.set()
            await asyncio.gather(*writers)

    # -- comparing

    def totals(self) -> dict[str, str]:
        """What reporting must say."""
        won = sum(self.created[name] for name in self.won)
        return {
            "opportunities_open": str(len(self.created) - len(self.won)),
            "opportunities_won": str(len(self.won)),
            "pipeline_amount": f"{sum(self.created.values()) - won}.0000",
            "won_amount": f"{won}.0000",
        }

    async def require_all_there(self, http: httpx.AsyncClient) -> None:
        """Exactly the acknowledged opportunities are there, each as it was acknowledged."""
        found: dict[str, tuple[int, bool]] = {}
        token = ""
        for _ in range(1000):
            page = await http.get(
                "/v1/opportunities", params={"page_size": 500, "page_token": token}
            )
            assert page.status_code == httpx.codes.OK, page.text
            for item in page.json().get("opportunities", []):
                won = item["state"] == "WON"
                found[item["name"]] = (int(item["amount"]["units"]), won)
            token = page.json().get("next_page_token", "")
            if not token:
                break
        wanted = {name: (amount, name in self.won) for name, amount in self.created.items()}
        assert found == wanted, f"seed {self.seed}"

    async def require_reported(self, http: httpx.AsyncClient, seconds: float = 30) -> None:
        """Reporting converges to exactly the ledger's counts and sums."""
        wanted = self.totals()

        async def reported() -> dict[str, str]:
            query = {"metrics": sorted(wanted), "currency_code": "EUR"}
            answer = await http.post("/v1/metrics:query", json=query)
            if answer.status_code != httpx.codes.OK:
                return {}
            rows = answer.json()["rows"]
            return {k: v for row in rows for k, v in row["values"].items()}

        async def equal() -> bool:
            return await reported() == wanted

        try:
            await eventually(equal, timeout=seconds)
        except AssertionError:
            assert await reported() == wanted, f"seed {self.seed}"

    async def require_rebuild_equal(self, http: httpx.AsyncClient) -> None:
        """The facts equal a fresh rebuild, hash for hash."""
        url, params = "/v1/reporting/projection", {"hash_facts": True}
        before = (await http.get(url, params=params)).json()["facts_hash"]
        (await http.post(f"{url}:rebuild", json={})).raise_for_status()

        async def rebuilt() -> str | None:
            status = await http.get(url, params=params)
            if status.status_code != httpx.codes.OK or status.json()["state"] != "LIVE":
                return None
            found: dict[str, str] = status.json()
            return found["facts_hash"] if found.get("rebuild_time") else None

        assert await eventually(rebuilt, timeout=30) == before, f"seed {self.seed}"
