"""A hand-over whose service is killed in the middle goes on where it stood."""

import os
import signal
import sys
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from joserfc.jwk import ECKey
from psycopg.types.json import Jsonb

from crmkit import migrations
from crmkit.ids import uuid7
from crmkit.ports import free_port
from crmkit.service_tokens import create_service_keys
from crmkit.testing.polling import eventually_sync
from crmkit.testing.postgres import TestServer
from sales.service import SERVICE

from .host import READY
from .processes import Child

ROOT = Path(__file__).parents[2]
RECORDS = 950


class Sales:
    """The jobs of sales in a process of its own, on a database that the test has filled."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.starts = url, folder, 0
        self.address = f"127.0.0.1:{free_port()}"
        create_service_keys(folder, ["sales"])

    def start(self, die_at: str) -> Child:
        self.starts += 1
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")}
        environment |= {
            "PYTHONPATH": str(ROOT), "CRM_DATABASE_URL": self.url, "CRM_KEYS_DIR": str(self.folder),
            "CRM_SERVICES": f"sales={self.address}", "CRM_PUBLIC_URL": "http://crm.test",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.resilience.host", "sales:jobs"]
        log = self.folder / f"{self.starts}.log"
        return Child([*command, "--die-at", die_at], environment, log)

    def ask(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []


def fill(sales: Sales, user: UUID, successor: UUID) -> UUID:
    """People, records of one of them, and a hand-over that is promised; answers its id."""
    key = ECKey.generate_key("P-256", {"kid": "test", "use": "sig", "alg": "ES256"})
    jwk = Jsonb(key.as_dict(private=False))
    sales.ask("INSERT INTO known_signing_key (kid, jwk) VALUES ('test', %s)", jwk)
    for person in (user, successor):
        sales.ask("INSERT INTO known_user (id, roles, active) VALUES (%s, '{}', true)", person)
    columns = "id, version, create_time, update_time, owner, labels, display_name, kind"
    rows = "SELECT gen_random_uuid(), 1, now(), now(), %s, '{}', 'P' || n, 'GOOD'"
    sales.ask(
        f"INSERT INTO products ({columns}, active) {rows}, true FROM generate_series(1, %s) n",
        user, RECORDS,
    )  # fmt: skip
    id_ = uuid7()
    sales.ask(
        'INSERT INTO handover (id, version, "user", successor, actor, state, total_count,'
        " moved_count, failed_count) VALUES (%s, 0, %s, %s, 'users/boss', 'QUEUED', 0, 0, 0)",
        id_, user, successor,
    )  # fmt: skip
    sales.ask(
        "INSERT INTO job (id, kind, arguments, state, due_time, attempts, failures)"
        " VALUES (%s, 'hand_over', %s, 'QUEUED', now(), 0, 0)",
        id_, Jsonb({"handover": str(id_)}),
    )  # fmt: skip
    return id_


@pytest.mark.parametrize("deaths", [("service-before-commit:4", "service-after-commit:3")])
def test_a_killed_hand_over_moves_every_record_once(
    postgres: TestServer, tmp_path: Path, deaths: tuple[str, ...]
) -> None:
    """INVARIANT: SIGKILL before or after a commit, or anywhere: nothing is forgotten, nothing moved twice."""
    url = postgres.new_database()
    migrations.migrate(url, SERVICE.migrations)
    sales, user, successor = Sales(url, tmp_path), uuid7(), uuid7()
    id_ = fill(sales, user, successor)
    moved = "SELECT moved_count FROM handover"
    try:
        for death in deaths:
            child = sales.start(death)
            assert child.ends(30) == -signal.SIGKILL, child.output()[-2000:]
            sales.ask("UPDATE job SET due_time = now()")  # as if the lease had ended
        child = sales.start("")
        child.wait_for(READY)
        (before,) = sales.ask(moved)
        eventually_sync(lambda: sales.ask(moved) != [before])
        child.kill()  # anywhere
        (in_between,) = sales.ask(moved)
        assert 0 < in_between[0] <= RECORDS  # type: ignore[operator]
        sales.ask("UPDATE job SET due_time = now()")
        child = sales.start("")
        eventually_sync(lambda: sales.ask("SELECT 1 FROM handover WHERE state = 'SUCCEEDED'"))
        child.kill()
    finally:
        if child.running:
            child.kill()
    counts = sales.ask("SELECT total_count, moved_count, failed_count FROM handover")
    assert counts == [(RECORDS, RECORDS, 0)]
    versions = "SELECT owner, version, count(*) FROM products GROUP BY owner, version"
    assert sales.ask(versions) == [(successor, 2, RECORDS)]
    events = "SELECT count(*), count(DISTINCT subject) FROM outbox WHERE subject LIKE 'products/%%'"
    assert sales.ask(events) == [(RECORDS, RECORDS)]
    history = "SELECT count(*), count(DISTINCT record) FROM revision WHERE actor = 'users/boss'"
    assert sales.ask(history) == [(RECORDS, RECORDS)]
    told = "SELECT count(*), count(DISTINCT subject_version) FROM outbox WHERE subject = %s"
    ((all_told, versions_told),) = sales.ask(told, f"handovers/{id_}")
    assert all_told == versions_told
    postgres.drop(url)
