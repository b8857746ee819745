"""A running workspace service, feeds that it reads, and an endpoint that it calls."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import grpc
import pytest
import pytest_asyncio
import sqlalchemy as sa
from aiosmtpd.controller import Controller

from crmkit import contract
from crmkit.contract import Method
from crmkit.errors import Failure
from crmkit.interceptors.errors import abort
from crmkit.ports import free_port
from crmkit.statements import compile_statement
from crmkit.testing.feed_host import FeedHost, feed_host
from crmkit.testing.harness import Person, ServiceUnderTest, service_under_test
from crmkit.testing.postgres import TestServer
from workspace.service import SERVICE
from workspace.settings import WorkspaceSettings


@dataclass(frozen=True)
class Asked:
    """A call that another service got."""

    method: str
    request: Any
    metadata: dict[str, Any]


class Owners(grpc.GenericRpcHandler):  # type: ignore[misc] - the library's type is Any
    """Stands at the doors of the other services: notes what they are asked, once for each request id.

    `refusals` are raised by the next calls, one each, before or after the effect. `records` are those that
    somebody may read; everybody has an address.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.effects: dict[str, Asked] = {}
        self.refusals: list[Failure] = []
        self.records: dict[str, Any] = {}
        self.after_effect = False

    def service(self, details: Any) -> Any:
        """The handler of a method of theirs."""
        name = details.method.split("/")[1]
        if name not in contract.services() or name == "crm.common.v1.FeedService":
            return None
        methods = contract.methods_of(contract.services()[name])
        method = next(m for m in methods if m.path == details.method)
        return grpc.unary_unary_rpc_method_handler(
            self._answering(method), method.input.FromString, method.output.SerializeToString
        )

    def _answering(self, method: Method) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            asked = Asked(method.name, request, dict(context.invocation_metadata()))
            self.asked.append(asked)
            if self.refusals and not self.after_effect:
                await abort(context, self.refusals.pop(0), method.service, None)
            if "request_id" not in method.input.DESCRIPTOR.fields_by_name:
                return self._read(method, request)
            self.effects.setdefault(request.request_id, asked)
            if self.refusals:
                await abort(context, self.refusals.pop(0), method.service, None)
            if method.name == "CreateComment":
                request.comment.name = f"{request.parent}/comments/{request.request_id}"
                return request.comment
            resource = contract.resource_of(method.output)
            record = getattr(request, resource.singular)
            if not record.name:
                record.name = f"{resource.collection}/{request.request_id}"
            return record

        return answer

    def _read(self, method: Method, request: Any) -> Any:
        answer: Any = method.output()
        if method.name == "LookUpRecords":
            for name in set(request.values) & set(self.records):
                answer.matches.add(value=name, name=name)
        elif method.name == "GetUser":
            answer.name, answer.email = request.name, address_of(request.name)
        else:
            field = next(f.name for f in method.output.DESCRIPTOR.fields if f.is_repeated)
            getattr(answer, field).extend([self.records[name] for name in request.names])
        return answer


def address_of(user: str) -> str:
    """Where a user gets mail."""
    return f"{user.removeprefix('users/')}@crm.test"


class Mailbox:
    """Everything that a real mail server was handed; `answers` are given first, then it takes everything."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        self.answers: list[str] = []
        self.port = free_port()

    async def handle_DATA(self, server: Any, _session: object, envelope: Any) -> str:
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("2") or answer == "hang up":
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            self.mails.append((envelope.rcpt_tos[0], message))
        if answer == "hang up":
            server.transport.abort()
        return answer

    def to(self, person: Person) -> list[EmailMessage]:
        """The mails to somebody."""
        return [message for address, message in self.mails if address == address_of(person.name)]


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    """A mail server of our own."""
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=box.port)
    server.start()
    yield box
    server.stop()


@pytest_asyncio.fixture
async def owners(feeds: FeedHost) -> AsyncIterator[Owners]:
    """The other services, as they are before anything was asked of them."""
    found: Owners = feeds.handlers[0]
    found.__init__()  # type: ignore[misc] - one object for the module, fresh for the test
    yield found


@pytest_asyncio.fixture(scope="module")
async def feeds(postgres: TestServer) -> AsyncIterator[FeedHost]:
    """The feeds of the other services."""
    async with feed_host(postgres, SERVICE.migrations) as host:
        host.handlers.append(Owners())
        await host.start()
        yield host


@pytest_asyncio.fixture(scope="module")
async def workspace(
    postgres: TestServer, feeds: FeedHost, mailbox: Mailbox
) -> AsyncIterator[ServiceUnderTest]:
    """The service with a database of its own; it may call this machine."""
    others = ("identity", "customer", "sales", "marketing", "support")
    async with service_under_test(
        SERVICE,
        postgres,
        roles=("serve", "relay", "consume", "jobs"),
        addresses=dict.fromkeys(others, feeds.address),
        settings_type=WorkspaceSettings,
        webhook_allow_networks="127.0.0.0/8",
        smtp_url=f"smtp://127.0.0.1:{mailbox.port}",
        mail_from="CRM <crm@crm.test>",
    ) as running:
        yield running


@dataclass
class Endpoint:
    """A receiver of webhooks: what it heard, and what it answers next (the last for ever)."""

    url: str = ""
    answers: list[tuple[int, str]] = field(default_factory=lambda: [(200, "thanks")])
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((headers, body))
        status, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = text.encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\n\r\n".encode() + answer
        )
        await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Any]:
    """An endpoint that takes everything unless the test says otherwise."""
    made = Endpoint()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?key=1"
    async with server:
        yield made


@pytest_asyncio.fixture
async def nothing_from_before(workspace: ServiceUnderTest) -> None:
    """Rules of other tests are paused: they would start too."""
    for statement in (
        "UPDATE rules SET state = 'PAUSED'",
        "DELETE FROM job WHERE kind = 'run_rule' AND lease IS NULL",
    ):
        await workspace.database.execute(compile_statement(sa.text(statement)))
