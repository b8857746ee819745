"""Pytest fixtures with real servers; installing the kit registers them."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.testing.postgres import TestServer
from crmkit.testing.rabbitmq import RabbitMQ


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestServer]:
    """A PostgreSQL server: the one of CRM_TEST_DATABASE_URL, else one of the session's own."""
    url = os.environ.get("CRM_TEST_DATABASE_URL")
    if url:
        server = TestServer(url)
        yield server
        server.drop_all()
        return
    with tempfile.TemporaryDirectory(prefix="crm-test-") as folder:
        embedded = EmbeddedPostgres(Path(folder), durable=False)
        embedded.start()
        try:
            yield TestServer(embedded.url("postgres"))
        finally:
            embedded.stop()


@pytest.fixture(scope="session")
def template_database(postgres: TestServer) -> Callable[[str, Callable[[str], None]], str]:
    """Makes a template, `template_database(name, prepare)`, at most once per session."""
    return postgres.template_database


@pytest.fixture
def new_database(postgres: TestServer) -> Iterator[Callable[[str | None], str]]:
    """Creates databases, `new_database(template)`, that are dropped after the test."""
    made: list[str] = []

    def create(template: str | None = None) -> str:
        made.append(postgres.new_database(template))
        return made[-1]

    yield create
    for url in made:
        postgres.drop(url)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ broker: the one of CRM_TEST_AMQP_URL, else one of the session's own."""
    url = os.environ.get("CRM_TEST_AMQP_URL")
    if url:
        yield RabbitMQ(Path(), url)
        return
    with tempfile.TemporaryDirectory(prefix="crm-rabbitmq-", ignore_cleanup_errors=True) as folder:
        broker = RabbitMQ(Path(folder))
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()
