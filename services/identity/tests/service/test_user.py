"""Users over gRPC: who may make whom into what."""

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from crm.identity.v1 import role_pb2, user_pb2
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import details_of

if TYPE_CHECKING:
    from conftest import Identity, SignedIn

User = user_pb2.User


async def administrator_role(identity: "Identity", admin: "SignedIn") -> str:
    roles = await identity.roles.ListRoles(role_pb2.ListRolesRequest(), metadata=admin.metadata)
    return next(str(role.name) for role in roles.roles if role.display_name == "Administrator")


async def refused(call: grpc.aio.UnaryUnaryCall) -> tuple[grpc.StatusCode, str, list[str]]:
    """The status, the reason and the fields of a refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    details = details_of(error.value)
    return error.value.code(), details["reason"], details["fields"]


async def test_an_address_is_taken_once_whatever_its_case(identity: "Identity") -> None:
    """INVARIANT: one address, one user."""
    ada, admin = await identity.user(), await identity.administrator()
    again = User(email=ada.email.upper(), display_name="A")
    answer = await refused(
        identity.users.CreateUser(user_pb2.CreateUserRequest(user=again), metadata=admin.metadata)
    )
    assert answer == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", ["user.email"])


@pytest.mark.parametrize("password", ["short", "password123456", "", "xx-newbie-xx"])
async def test_a_weak_password_is_refused_and_not_repeated(
    identity: "Identity", password: str
) -> None:
    """The error names the field; the message never holds the password."""
    admin = await identity.administrator()
    user = User(email="newbie@example.com", display_name="N", password=password)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await identity.users.CreateUser(
            user_pb2.CreateUserRequest(user=user), metadata=admin.metadata
        )
    assert details_of(error.value)["reason"] == "WEAK_PASSWORD"
    assert details_of(error.value)["fields"] == ["user.password"]
    assert not password or password not in str(error.value.details())


async def test_a_password_change_leaves_other_fields_alone(identity: "Identity") -> None:
    """A mask with the password alone changes nothing else, whatever is populated."""
    ada, admin = await identity.user(), await identity.administrator()
    changed = await identity.users.UpdateUser(
        user_pb2.UpdateUserRequest(
            user=User(name=ada.name, display_name="Other", password="quite another one"),
            update_mask=FieldMask(paths=["password"]),
        ),
        metadata=admin.metadata,
    )
    assert (changed.display_name, changed.HasField("password")) == (ada.display_name, False)
    assert (await identity.sign_in(ada.email, "quite another one")).access_token
    cleared = identity.users.UpdateUser(
        user_pb2.UpdateUserRequest(
            user=User(name=ada.name), update_mask=FieldMask(paths=["password"])
        ),
        metadata=admin.metadata,
    )
    assert (await refused(cleared))[1] == "WEAK_PASSWORD"


async def test_a_repeated_creation_with_a_password_keeps_no_trace_of_it(
    identity: "Identity",
) -> None:
    """INVARIANT: what is kept for repeats does not let anyone guess the password."""
    admin = await identity.administrator()
    request = user_pb2.CreateUserRequest(
        user=User(email="twice@example.com", display_name="T", password="one two three four"),
        request_id=str(uuid4()),
    )
    first = await identity.users.CreateUser(request, metadata=admin.metadata)
    assert await identity.users.CreateUser(request, metadata=admin.metadata) == first
    statement = compile_statement(sa.text("SELECT request_hash FROM idempotency"))
    kept = {bytes(row[0]) for row in await identity.under_test.database.fetch_all(statement)}
    request.user.password = "some other password"
    assert await identity.users.CreateUser(request, metadata=admin.metadata) == first
    rows = await identity.under_test.database.fetch_all(statement)
    assert {bytes(row[0]) for row in rows} == kept


async def test_nobody_gives_a_role_they_lack(identity: "Identity") -> None:
    """INVARIANT: nobody gains or gives rights that the giver does not have."""
    clerk = await identity.person(("identity.users.*", "ALL"), ("sales.*", "TEAM"))
    admin = await identity.administrator()
    lesser = await identity.role(("sales.opportunities.get", "TEAM"))
    wider = await identity.role(("sales.opportunities.get", "ALL"))
    everything = await administrator_role(identity, admin)
    for role, allowed in ((lesser.name, True), (wider.name, False), (everything, False)):
        user = User(email=f"{uuid4()}@example.com", display_name="X", roles=[role])
        calls = [
            identity.users.CreateUser(
                user_pb2.CreateUserRequest(user=user), metadata=clerk.metadata
            ),
            identity.users.UpdateUser(
                user_pb2.UpdateUserRequest(user=User(name=clerk.name, roles=[role])),
                metadata=clerk.metadata,
            ),
        ]
        if allowed:
            assert list((await calls[0]).roles) == [role]
            calls[1].cancel()
            continue
        for call in calls:
            code, reason, fields = await refused(call)
            assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "GRANT_NOT_HELD")
            assert fields == ["user.roles"]


@pytest.mark.parametrize("change", [{"password": "mine from now on"}, {"email": "me@example.com"}])
async def test_nobody_takes_over_a_user_with_more_rights(
    identity: "Identity", change: dict[str, str]
) -> None:
    """INVARIANT: setting the administrator's password is not a way to become one."""
    clerk = await identity.person(("identity.users.*", "ALL"))
    admin = await identity.administrator()
    takeover = identity.users.UpdateUser(
        user_pb2.UpdateUserRequest(user=User(name=admin.name, **change)), metadata=clerk.metadata
    )
    assert (await refused(takeover))[1] == "GRANT_NOT_HELD"
    assert (await identity.sign_in(admin.email)).access_token


async def test_the_last_administrator_stays(identity: "Identity") -> None:
    """INVARIANT: there is always somebody who can administer."""
    admin = await identity.administrator()
    users = identity.users
    stripped = user_pb2.UpdateUserRequest(
        user=User(name=admin.name), update_mask=FieldMask(paths=["roles"])
    )

    def attempts() -> list[grpc.aio.UnaryUnaryCall]:
        return [
            users.DeactivateUser(
                user_pb2.DeactivateUserRequest(name=admin.name), metadata=admin.metadata
            ),
            users.DeleteUser(user_pb2.DeleteUserRequest(name=admin.name), metadata=admin.metadata),
            users.UpdateUser(stripped, metadata=admin.metadata),
        ]

    for call in attempts():
        answer = await refused(call)
        assert answer[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "LAST_ADMINISTRATOR")
    own_role = await identity.role(("*", "ALL"))
    second = await identity.user(own_role.name)
    await users.DeactivateUser(
        user_pb2.DeactivateUserRequest(name=admin.name), metadata=admin.metadata
    )
    session = await identity.sign_in(second.email)
    metadata = (("authorization", f"Bearer {session.access_token}"),)
    emptied = role_pb2.UpdateRoleRequest(
        role=role_pb2.Role(name=own_role.name), update_mask=FieldMask(paths=["grants"])
    )
    for call in (
        identity.roles.UpdateRole(emptied, metadata=metadata),
        identity.roles.DeleteRole(
            role_pb2.DeleteRoleRequest(name=own_role.name), metadata=metadata
        ),
    ):
        assert (await refused(call))[1] == "LAST_ADMINISTRATOR"
    await users.ActivateUser(user_pb2.ActivateUserRequest(name=admin.name), metadata=metadata)
    id_, running = UUID(admin.name.partition("/")[2]), identity.under_test.running

    async def is_back() -> bool:
        """For the other tests: that they were gone is known here, and that they are no more."""
        waiting = await running.database.fetch_all(
            compile_statement(sa.text("SELECT id FROM outbox"))
        )
        applied, head = running.home.consumed["identity"].applied_seq, await running.feed.head()
        return not waiting and applied >= head.last_seq and identity.rights.users[id_].active

    await eventually(is_back)


async def test_events_of_users_hold_no_personal_data(identity: "Identity") -> None:
    """INVARIANT: events say what a user may do, not who they are."""
    ada = await identity.user()
    (event,) = await identity.under_test.events(ada.name)
    assert event.routing_key == "identity.user.created"
    assert event.message.user.state == User.ACTIVE
    assert ada.email.encode() not in event.wire.payload
    assert not event.message.user.HasField("display_name")
