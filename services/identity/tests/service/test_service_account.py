"""Service accounts and limited keys over gRPC: programs have what they need and no more."""

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import pytest

from crm.identity.v1 import api_key_pb2, role_pb2, session_pb2, user_pb2
from crmkit.testing.harness import details_of
from crmkit.testing.polling import eventually

if TYPE_CHECKING:
    from conftest import Identity, Metadata, SignedIn

ApiKey, User = api_key_pb2.ApiKey, user_pb2.User
PASSWORD = "a long enough secret"


async def refused(call: grpc.aio.UnaryUnaryCall) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    details = details_of(error.value)
    return details["reason"], details["fields"]


async def service_account(identity: "Identity", *grants: tuple[str, str]) -> User:
    admin = await identity.administrator()
    role = await identity.role(*grants)
    email = f"bot-{uuid4()}@example.com"
    user = User(email=email, display_name="Bot", kind=User.SERVICE, roles=[role.name])
    made: User = await identity.users.CreateUser(
        user_pb2.CreateUserRequest(user=user), metadata=admin.metadata
    )
    await eventually(lambda: UUID(made.uid) in identity.rights.users)
    return made


def make(identity: "Identity", metadata: "Metadata", **fields: object) -> grpc.aio.UnaryUnaryCall:
    request = api_key_pb2.CreateApiKeyRequest(api_key=ApiKey(display_name="CI", **fields))
    call: grpc.aio.UnaryUnaryCall = identity.api_keys.CreateApiKey(request, metadata=metadata)
    return call


async def exchanged(identity: "Identity", key: str) -> "Metadata":
    answer = await identity.api_keys.ExchangeApiKey(api_key_pb2.ExchangeApiKeyRequest(key=key))
    return (("authorization", f"Bearer {answer.access_token}"),)


async def limited(identity: "Identity", person: "SignedIn", *permissions: str) -> "Metadata":
    made = await make(identity, person.metadata, permissions=permissions)
    return await exchanged(identity, made.key)


def list_roles(identity: "Identity", metadata: "Metadata") -> grpc.aio.UnaryUnaryCall:
    request = role_pb2.ListRolesRequest()
    call: grpc.aio.UnaryUnaryCall = identity.roles.ListRoles(request, metadata=metadata)
    return call


async def test_a_service_account_has_keys_and_no_password(identity: "Identity") -> None:
    """INVARIANT: a program never signs in as a person does; it gets no mail."""
    admin = await identity.administrator()
    bot = await service_account(identity, ("identity.roles.list", "ALL"))
    made = await make(identity, admin.metadata, owner=bot.name)
    metadata = await exchanged(identity, made.key)
    me = await identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=metadata)
    assert (me.name, me.kind) == (bot.name, User.SERVICE)
    assert (await list_roles(identity, metadata)).roles
    with_password = user_pb2.UpdateUserRequest(user=User(name=bot.name, password=PASSWORD))
    call = identity.users.UpdateUser(with_password, metadata=admin.metadata)
    assert await refused(call) == ("NO_PASSWORD_FOR_SERVICES", ["user.password"])
    invitation = user_pb2.InviteUserRequest(name=bot.name)
    call = identity.users.InviteUser(invitation, metadata=admin.metadata)
    assert (await refused(call))[0] == "NO_PASSWORD_FOR_SERVICES"
    await identity.users.RequestPasswordReset(user_pb2.RequestPasswordResetRequest(email=bot.email))
    sign_in = session_pb2.CreateSessionRequest(email=bot.email, password=PASSWORD)
    assert (await refused(identity.sessions.CreateSession(sign_in)))[0] == "INVALID_CREDENTIALS"
    assert not [to for to, _ in identity.mailbox.mails if to == [bot.email]]


async def test_a_person_is_not_turned_into_a_program(identity: "Identity") -> None:
    ada, admin = await identity.user(), await identity.administrator()
    assert ada.kind == User.PERSON
    change = user_pb2.UpdateUserRequest(user=User(name=ada.name, kind=User.SERVICE))
    call = identity.users.UpdateUser(change, metadata=admin.metadata)
    assert await refused(call) == ("IMMUTABLE_FIELD", ["user.kind"])


async def test_a_key_for_a_service_account_needs_its_rights(identity: "Identity") -> None:
    """INVARIANT: making somebody's key is not a way to have more rights."""
    bot = await service_account(identity, ("sales.*", "ALL"))
    clerk = await identity.person(("identity.*", "ALL"))
    call = make(identity, clerk.metadata, owner=bot.name)
    assert await refused(call) == ("GRANT_NOT_HELD", ["api_key.owner"])
    peer = await identity.person(("identity.*", "ALL"), ("sales.*", "ALL"))
    assert (await make(identity, peer.metadata, owner=bot.name)).owner == bot.name
    ada = await identity.person()
    call = make(identity, peer.metadata, owner=ada.name)
    assert (await refused(call))[0] == "OWNER_MUST_BE_CALLER"


async def test_a_limited_key_has_its_permissions_and_no_other(identity: "Identity") -> None:
    """INVARIANT: never more than the key says, never more than the owner has."""
    admin, ada = await identity.administrator(), await identity.person(("identity.*", "ALL"))
    metadata = await limited(identity, admin, "identity.roles.*")
    assert (await list_roles(identity, metadata)).roles
    users = user_pb2.ListUsersRequest()
    call = identity.users.ListUsers(users, metadata=metadata)
    assert (await refused(call))[0] == "PERMISSION_DENIED"
    role = role_pb2.Role(display_name=str(uuid4()))
    role.grants.add(permission="sales.opportunities.get", record_scope="ALL")
    call = identity.roles.CreateRole(role_pb2.CreateRoleRequest(role=role), metadata=metadata)
    assert (await refused(call))[0] == "GRANT_NOT_HELD"
    wide = await limited(identity, ada, "identity.users.list", "sales.*")
    assert (await identity.users.ListUsers(users, metadata=wide)).users
    assert (await refused(list_roles(identity, wide)))[0] == "PERMISSION_DENIED"


async def test_a_limited_key_does_not_widen_itself(identity: "Identity") -> None:
    """INVARIANT: neither by another key, nor by the password, nor through the account."""
    admin = await identity.administrator()
    metadata = await limited(identity, admin, "identity.apiKeys.*", "identity.users.*")
    for wider in ([], ["*"], ["identity.*"], ["identity.apiKeys.list", "sales.*"]):
        call = make(identity, metadata, permissions=wider)
        assert await refused(call) == ("KEY_IS_LIMITED", ["api_key.permissions"])
    narrower = await make(identity, metadata, permissions=["identity.apiKeys.list"])
    assert list(narrower.permissions) == ["identity.apiKeys.list"]
    takeover = user_pb2.UpdateUserRequest(user=User(name=admin.name, password="mine from now on"))
    call = identity.users.UpdateUser(takeover, metadata=metadata)
    assert (await refused(call))[0] == "GRANT_NOT_HELD"
    change = user_pb2.ChangePasswordRequest(current_password=PASSWORD, new_password="x" * 9 + "yz")
    call = identity.users.ChangePassword(change, metadata=metadata)
    assert (await refused(call))[0] == "KEY_IS_LIMITED"
    call = identity.sessions.EndAllSessions(session_pb2.EndAllSessionsRequest(), metadata=metadata)
    assert (await refused(call))[0] == "KEY_IS_LIMITED"


async def test_a_permission_that_does_not_exist_is_named(identity: "Identity") -> None:
    admin = await identity.administrator()
    call = make(identity, admin.metadata, permissions=["sales.*", "sales.typo.get"])
    assert await refused(call) == ("UNKNOWN_PERMISSION", ["api_key.permissions[1]"])
