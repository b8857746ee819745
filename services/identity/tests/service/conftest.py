"""A running identity service with its first administrator, and people who sign in to it."""

import email
import email.policy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import count
from typing import Any
from uuid import UUID

import grpc
import pytest_asyncio
from aiosmtpd.controller import Controller

from crm.identity.v1 import (
    api_key_pb2_grpc,
    role_pb2,
    role_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    team_pb2_grpc,
    user_pb2,
    user_pb2_grpc,
)
from crmkit.ports import free_port
from crmkit.runner import ROLES
from crmkit.testing.harness import ServiceUnderTest, service_under_test
from crmkit.testing.polling import eventually
from crmkit.testing.postgres import TestServer
from identity.service import SERVICE
from identity.settings import IdentitySettings

ADMIN_EMAIL = "boss@example.com"
PASSWORD = "a long enough secret"
_numbers = count(1)

Metadata = tuple[tuple[str, str], ...]


@dataclass
class SignedIn:
    """A user with an open session."""

    name: str
    email: str
    session: session_pb2.Session

    @property
    def metadata(self) -> Metadata:
        return bearer(self.session.access_token)


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


class Mailbox:
    """Everything that a real mail server was handed."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append((list(envelope.rcpt_tos), message))
        return "250 OK"

    async def to(self, address: str, *, count: int = 1) -> list[EmailMessage]:
        """The mails to somebody, once there are at least so many."""

        def found() -> list[EmailMessage]:
            mails = [message for recipients, message in self.mails if recipients == [address]]
            return mails if len(mails) >= count else []

        answer: list[EmailMessage] = await eventually(found)
        return answer


class Identity:
    """The service under test, its stubs and its people."""

    def __init__(self, under_test: ServiceUnderTest, mailbox: Mailbox) -> None:
        self.under_test = under_test
        self.mailbox = mailbox
        self.rights = under_test.running.home.rights
        channel: Any = under_test.channel
        self.users: Any = user_pb2_grpc.UserServiceStub(channel)
        self.teams: Any = team_pb2_grpc.TeamServiceStub(channel)
        self.roles: Any = role_pb2_grpc.RoleServiceStub(channel)
        self.sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
        self.api_keys: Any = api_key_pb2_grpc.ApiKeyServiceStub(channel)

    async def sign_in(self, email: str, password: str = PASSWORD) -> session_pb2.Session:
        request = session_pb2.CreateSessionRequest(email=email, password=password)
        session: session_pb2.Session = await self.sessions.CreateSession(request)
        return session

    async def administrator(self) -> SignedIn:
        session = await self.sign_in(ADMIN_EMAIL)
        return SignedIn(session.user, ADMIN_EMAIL, session)

    async def role(self, *grants: tuple[str, str]) -> role_pb2.Role:
        """A new role, made by the administrator."""
        admin = await self.administrator()
        role = role_pb2.Role(display_name=f"Role {next(_numbers)}")
        for permission, record_scope in grants:
            role.grants.add(permission=permission, record_scope=record_scope)
        made: role_pb2.Role = await self.roles.CreateRole(
            role_pb2.CreateRoleRequest(role=role), metadata=admin.metadata
        )
        return made

    async def user(self, *roles: str) -> user_pb2.User:
        """A new user with these roles, made by the administrator; their rights are known."""
        admin = await self.administrator()
        email = f"person{next(_numbers)}@example.com"
        user = user_pb2.User(email=email, display_name="P", roles=roles, password=PASSWORD)
        made: user_pb2.User = await self.users.CreateUser(
            user_pb2.CreateUserRequest(user=user), metadata=admin.metadata
        )
        wanted = {UUID(role.removeprefix("roles/")) for role in roles}

        async def known() -> bool:
            rights = self.rights
            return UUID(made.uid) in rights.users and wanted <= rights.roles.keys()

        await eventually(known)
        return made

    async def person(self, *grants: tuple[str, str]) -> SignedIn:
        """A new user with a role of these grants, signed in."""
        user = await self.user((await self.role(*grants)).name) if grants else await self.user()
        return SignedIn(user.name, user.email, await self.sign_in(user.email))

    async def refused(self, metadata: Metadata) -> None:
        """Waits until an access token is refused."""

        async def is_refused() -> bool:
            try:
                await self.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                return error.code() == grpc.StatusCode.UNAUTHENTICATED
            return False

        assert await eventually(is_refused)


@pytest_asyncio.fixture(scope="module")
async def identity(postgres: TestServer) -> AsyncIterator[Identity]:
    """The service with a database and an administrator of its own."""
    mailbox = Mailbox()
    mail_server = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    mail_server.start()
    try:
        async with service_under_test(
            SERVICE,
            postgres,
            roles=ROLES,
            settings_type=IdentitySettings,
            admin_email=ADMIN_EMAIL,
            admin_password=PASSWORD,
            smtp_url=f"smtp://127.0.0.1:{mail_server.port}",
            mail_from="CRM <crm@crm.test>",
        ) as running:
            await running.running.ready()
            yield Identity(running, mailbox)
    finally:
        mail_server.stop()
