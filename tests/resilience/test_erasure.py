"""An erasure whose service is killed in the middle, again and again, leaves nothing and confirms once."""

import os
import signal
import sys
from pathlib import Path
from uuid import UUID

import psycopg
from joserfc.jwk import ECKey
from psycopg.types.json import Jsonb

import customer.service
import support.service
from crmkit import migrations
from crmkit.ids import uuid7
from crmkit.ports import free_port
from crmkit.service import Service
from crmkit.service_tokens import create_service_keys
from crmkit.testing.polling import eventually_sync
from crmkit.testing.postgres import TestServer

from .host import READY
from .processes import Child

ROOT = Path(__file__).parents[2]
TICKETS = 300
MARK = "zqmarked"


class Part:
    """A part of a service in a process of its own, on a database that the test has filled."""

    def __init__(self, one: Service, postgres: TestServer, folder: Path) -> None:
        self.name, self.folder, self.starts = one.name, folder, 0
        self.url = postgres.new_database()
        migrations.migrate(self.url, one.migrations)
        key = ECKey.generate_key("P-256", {"kid": "test", "use": "sig", "alg": "ES256"})
        jwk = Jsonb(key.as_dict(private=False))
        self.ask("INSERT INTO known_signing_key (kid, jwk) VALUES ('test', %s)", jwk)
        self.ask("INSERT INTO known_user (id, roles, active) VALUES (%s, '{}', true)", uuid7())

    def start(self, role: str, addresses: dict[str, str], die_at: str = "") -> Child:
        """Starts it in one role."""
        self.starts += 1
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")}
        services = ",".join(f"{name}={address}" for name, address in addresses.items())
        environment |= {
            "PYTHONPATH": str(ROOT), "CRM_DATABASE_URL": self.url, "CRM_KEYS_DIR": str(self.folder),
            "CRM_SERVICES": services, "CRM_PUBLIC_URL": "http://crm.test",
            "CRM_ATTACHMENTS_URL": f"file://{self.folder}/files",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.resilience.host", f"{self.name}:{role}"]
        log = self.folder / f"{self.name}-{self.starts}.log"
        return Child([*command, "--die-at", die_at], environment, log)

    def ask(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []


def fill(customer_side: Part, support_side: Part) -> UUID:
    """An erasure that customer has asked for, tickets of the contact, and support's promise to erase them."""
    contact, erasure = uuid7(), uuid7()
    customer_side.ask(
        "INSERT INTO erasures (id, contact, names, texts, reason, create_time, state, parts)"
        " VALUES (%s, %s, %s, %s, 'r', now(), 'RUNNING', '[]')",
        erasure, contact, [f"contacts/{contact}"], [f"{MARK}@mail.example"],
    )  # fmt: skip
    columns = (
        "id, version, create_time, update_time, labels, number, subject, description, contact, kind,"
        " open_time, reopen_count"
    )
    support_side.ask(
        f"INSERT INTO tickets ({columns}, state, priority) SELECT gen_random_uuid(), 1, now(), now(), '{{}}',"
        " 'T-' || n, %s, %s, %s, 'QUESTION', now(), 0, 'NEW', 'NORMAL' FROM generate_series(1, %s) n",
        MARK, MARK, contact, TICKETS,
    )  # fmt: skip
    support_side.ask(
        "INSERT INTO comment (id, version, collection, record, author, create_time, update_time, text,"
        " mentions) SELECT gen_random_uuid(), 1, 'tickets', id, 'users/x', now(), now(), %s, '{}'"
        " FROM tickets",
        MARK,
    )  # fmt: skip
    support_side.ask(
        "INSERT INTO job (id, kind, arguments, state, due_time, attempts, failures)"
        " VALUES (%s, 'erase_person', %s, 'QUEUED', now(), 0, 0)",
        erasure, Jsonb({"erasure": str(erasure)}),
    )  # fmt: skip
    return erasure


def test_a_killed_erasure_leaves_nothing_and_confirms_once(
    postgres: TestServer, tmp_path: Path
) -> None:
    """INVARIANT: SIGKILL before or after a commit: all is erased, nothing twice, and it is said once."""
    create_service_keys(tmp_path, ["customer", "support"])
    customer_side = Part(customer.service.SERVICE, postgres, tmp_path)
    support_side = Part(support.service.SERVICE, postgres, tmp_path)
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("customer", "support")}
    erasure = fill(customer_side, support_side)
    left = "SELECT count(*) FROM tickets WHERE description IS NOT NULL"
    server = customer_side.start("serve", addresses)
    child = None
    try:
        server.wait_for(READY)
        for death in ("service-before-commit:40", "service-after-commit:60"):
            child = support_side.start("jobs", addresses, death)
            assert child.ends(30) == -signal.SIGKILL, child.output()[-2000:]
            support_side.ask("UPDATE job SET due_time = now()")  # as if the lease had ended
        ((in_between,),) = support_side.ask(left)
        assert 0 < in_between < TICKETS  # type: ignore[operator]
        child = support_side.start("jobs", addresses)
        eventually_sync(
            lambda: not support_side.ask("SELECT 1 FROM job WHERE kind = 'erase_person'")
        )
    finally:
        for one in (child, server):
            if one is not None and one.running:
                one.kill()
    marked = "SELECT count(*) FROM {0} WHERE {0}::text LIKE %s"
    for table in ("tickets", "comment", "revision", "outbox", "job"):
        assert support_side.ask(marked.format(table), f"%{MARK}%") == [(0,)]
    assert support_side.ask("SELECT version, count(*) FROM tickets GROUP BY version") == [
        (2, TICKETS)
    ]
    changes = "SELECT count(*), count(DISTINCT subject) FROM outbox WHERE subject LIKE 'tickets/%%'"
    assert support_side.ask(changes) == [(TICKETS, TICKETS)]
    told = "SELECT routing_key FROM outbox WHERE subject = %s"
    assert support_side.ask(told, f"erasures/{erasure}") == [("support.erasure.confirmed",)]
    for part in (customer_side, support_side):
        postgres.drop(part.url)
