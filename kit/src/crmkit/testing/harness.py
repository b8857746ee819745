"""A real service in the test's own process: real PostgreSQL, real gRPC, real tokens."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any
from uuid import UUID

import grpc
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import ECKey
from psycopg.types.json import Jsonb

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit import migrations
from crmkit.feed.events import Event
from crmkit.ids import uuid7
from crmkit.ports import free_port
from crmkit.runner import RunningService
from crmkit.schema import (
    KNOWN_RECORD,
    KNOWN_ROLE,
    KNOWN_SETTING,
    KNOWN_TEAM,
    KNOWN_USER,
    SIGNING_KEY,
)
from crmkit.service import Service
from crmkit.service_tokens import create_service_keys
from crmkit.settings import ServiceSettings
from crmkit.statements import compile_statement
from crmkit.testing.polling import eventually
from crmkit.testing.postgres import TestServer

ISSUER = "http://crm.test"
_ROLES_WITHOUT_BUS = ("serve", "relay", "jobs")


@dataclass(frozen=True)
class Person:
    """A signed-in user of a test; `metadata` goes with every call."""

    id: UUID
    team: UUID | None
    metadata: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The user's resource name."""
        return f"users/{self.id}"


class ServiceUnderTest:
    """One running service whose users, teams and roles the test decides."""

    def __init__(self, running: RunningService, address: str) -> None:
        self.running = running
        self.database = running.database
        self.channel = grpc.aio.insecure_channel(address)
        self._key = ECKey.generate_key("P-256", {"kid": "test", "use": "sig", "alg": "ES256"})

    async def prepare(self) -> None:
        """Makes the test's signing key known."""
        await self._put(SIGNING_KEY, kid="test", jwk=Jsonb(self._key.as_dict(private=False)))

    async def team(self, parent: UUID | None = None) -> UUID:
        """A new team."""
        team = uuid7()
        await self._put(KNOWN_TEAM, id=team, parent=parent)
        return team

    async def person(self, *grants: str | tuple[str, str], team: UUID | None = None) -> Person:
        """A new user with these permissions: `"*"`, or `("sales.*", "OWN")`; scope ALL if not said."""
        user, role = uuid7(), uuid7()
        pairs = [grant if isinstance(grant, tuple) else (grant, "ALL") for grant in grants]
        json_grants = [{"permission": p, "record_scope": s} for p, s in pairs]
        await self._put(KNOWN_ROLE, id=role, grants=Jsonb(json_grants))
        await self._put(KNOWN_USER, id=user, team=team, roles=[role], active=True)
        return Person(user, team, self._metadata(user))

    def limited(self, person: Person, *permissions: str) -> Person:
        """The same user with the token of an API key that is limited to these permissions."""
        return replace(person, metadata=self._metadata(person.id, scope=" ".join(permissions)))

    def _metadata(self, user: UUID, **more: str) -> tuple[tuple[str, str], ...]:
        claims = {
            "iss": ISSUER, "aud": "crm", "sub": f"users/{user}",
            "sid": str(uuid7()), "exp": int(time()) + 600, **more,
        }  # fmt: skip
        token = jwt.encode({"alg": "ES256", "kid": "test"}, claims, self._key)
        return (("authorization", f"Bearer {token}"),)

    async def know(
        self, collection: str, *, owner: UUID | None = None, deleted: bool = False
    ) -> UUID:
        """A record of another service that this one has heard of."""
        record = uuid7()
        values = {"collection": collection, "id": record, "owner": owner, "deleted": deleted}
        await self.database.execute(compile_statement(KNOWN_RECORD.insert().values(values)))
        return record

    async def settings(self, **values: Any) -> None:
        """The organisation's settings; what is not said is as in a new installation."""
        await self.database.execute(compile_statement(sa.delete(KNOWN_SETTING)))
        await self._put(KNOWN_SETTING, name="organization", value=Jsonb(values))

    async def pick_list(self, key: str, *ids: str, open: bool = False, retired: str = "") -> None:  # noqa: A002
        """A pick list whose entries have their ids, capitalised, as labels; perhaps a retired one."""
        entries: list[dict[str, Any]] = [
            {"id": one, "labels": {"en": one.replace("_", " ").capitalize()}} for one in ids
        ]
        entries += [{"id": retired, "retired": True}] if retired else []
        value = {"key": key, "open": open, "entries": entries}
        await self._put(KNOWN_SETTING, name=f"pickLists/{uuid7()}", value=Jsonb(value))

    async def _put(self, table: sa.Table, **values: Any) -> None:
        await self.database.execute(
            compile_statement(table.insert().values({n: sa.bindparam(n) for n in values})), values
        )
        await self.running.home.rights.reload()

    async def events(self, subject: str, *, count: int = 1) -> Sequence[Event]:
        """The published events of a record, once there are at least `count`."""

        async def found() -> list[FeedEvent] | None:
            wires = [w for w in await self.running.feed.read(0, 1000) if w.subject == subject]
            return wires if len(wires) >= count else None

        return [Event(wire) for wire in await eventually(found) or []]


@asynccontextmanager
async def service_under_test(
    service: Service,
    postgres: TestServer,
    *,
    roles: Sequence[str] = _ROLES_WITHOUT_BUS,
    addresses: dict[str, str] | None = None,
    settings_type: type[ServiceSettings] = ServiceSettings,
    **settings: Any,
) -> AsyncIterator[ServiceUnderTest]:
    """Starts a service on a database and a port of its own, and stops it."""
    template = postgres.template_database(
        service.name, lambda url: migrations.migrate(url, service.migrations)
    )
    url = postgres.new_database(template)
    address = f"127.0.0.1:{free_port()}"
    with TemporaryDirectory(prefix="crm-keys-") as folder:
        services = {**(addresses or {}), service.name: address}
        create_service_keys(Path(folder), sorted(services))
        loaded = settings_type.model_validate(
            {
                "database_url": url,
                "services": services,
                "keys_dir": folder,
                "public_url": ISSUER,
                "attachments_url": f"file://{folder}/attachments",
                **settings,
            }
        )
        running = RunningService(service, loaded, roles)
        await running.start()
        await running.work()
        under_test = ServiceUnderTest(running, address)
        try:
            await under_test.prepare()
            yield under_test
        finally:
            await under_test.channel.close()
            await running.stop(drain_seconds=0)
            postgres.drop(url)


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The ErrorInfo of an error and its field violations: reason, metadata, fields."""
    from google.rpc import error_details_pb2, status_pb2  # noqa: PLC0415 - only tests need them

    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    found: dict[str, Any] = {"fields": []}
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            found |= {"reason": info.reason, "metadata": dict(info.metadata)}
        if detail.Unpack(bad):
            found["fields"] = [violation.field for violation in bad.field_violations]
    return found
