"""Roles over gRPC: what they may contain and who may change them."""

from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from crm.identity.v1 import role_pb2, team_pb2
from crmkit.testing.harness import details_of
from crmkit.testing.polling import eventually

if TYPE_CHECKING:
    from conftest import Identity

Role = role_pb2.Role


async def details(call: grpc.aio.UnaryUnaryCall) -> tuple[str, list[str]]:
    """The reason and the fields of a refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    found = details_of(error.value)
    return found["reason"], found["fields"]


async def test_the_built_in_roles_are_there_and_stay_as_they_are(identity: "Identity") -> None:
    """INVARIANT: not even an administrator changes what every installation has."""
    admin = await identity.administrator()
    page = await identity.roles.ListRoles(
        role_pb2.ListRolesRequest(filter="built_in = true"), metadata=admin.metadata
    )
    assert {role.display_name for role in page.roles} == {
        "Administrator", "Manager", "Sales", "Marketing", "Support", "Analyst", "Read-only",
    }  # fmt: skip
    for role in page.roles:
        update = role_pb2.UpdateRoleRequest(
            role=Role(name=role.name, description="x"), update_mask=FieldMask(paths=["description"])
        )
        delete = role_pb2.DeleteRoleRequest(name=role.name)
        for call in (
            identity.roles.UpdateRole(update, metadata=admin.metadata),
            identity.roles.DeleteRole(delete, metadata=admin.metadata),
        ):
            assert (await details(call))[0] == "BUILT_IN_ROLE"


@pytest.mark.parametrize(
    "permission",
    ["sales.nothing.get", "sale*", "crm.*", "sales.*.get", "**", "sales.products.read_sensitive"],
)
async def test_a_permission_that_does_not_exist_is_refused(
    identity: "Identity", permission: str
) -> None:
    """A typing error in a role is no silent lack of rights."""
    admin = await identity.administrator()
    role = Role(display_name="R", grants=[{"permission": permission, "record_scope": "ALL"}])
    call = identity.roles.CreateRole(role_pb2.CreateRoleRequest(role=role), metadata=admin.metadata)
    assert await details(call) == ("UNKNOWN_PERMISSION", ["role.grants[0].permission"])


@pytest.mark.parametrize(
    ("permission", "record_scope"),
    [("*", "ALL"), ("*", "OWN"), ("sales.*", "SUBTREE"), ("customer.accounts.get", "OWN")],
)
async def test_nobody_writes_into_a_role_what_they_lack(
    identity: "Identity", permission: str, record_scope: str
) -> None:
    """INVARIANT: a role cannot be made into a way up."""
    own = await identity.role(("identity.roles.*", "ALL"), ("sales.*", "TEAM"))
    clerk_user = await identity.user(own.name)
    session = await identity.sign_in(clerk_user.email)
    metadata = (("authorization", f"Bearer {session.access_token}"),)
    grant = {"permission": permission, "record_scope": record_scope}
    for call in (
        identity.roles.CreateRole(
            role_pb2.CreateRoleRequest(role=Role(display_name="Up", grants=[grant])),
            metadata=metadata,
        ),
        identity.roles.UpdateRole(
            role_pb2.UpdateRoleRequest(role=Role(name=own.name, grants=[*own.grants, grant])),
            metadata=metadata,
        ),
    ):
        assert await details(call) == ("GRANT_NOT_HELD", ["role.grants"])


async def test_a_deleted_role_gives_nothing_any_more(identity: "Identity") -> None:
    """INVARIANT: a right that was taken away is gone, also for those signed in."""
    admin = await identity.administrator()
    role = await identity.role(("identity.teams.list", "ALL"))
    session = await identity.sign_in((await identity.user(role.name)).email)
    metadata = (("authorization", f"Bearer {session.access_token}"),)
    await identity.teams.ListTeams(team_pb2.ListTeamsRequest(), metadata=metadata)
    await identity.roles.DeleteRole(
        role_pb2.DeleteRoleRequest(name=role.name), metadata=admin.metadata
    )

    async def denied() -> bool:
        try:
            await identity.teams.ListTeams(team_pb2.ListTeamsRequest(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code() == grpc.StatusCode.PERMISSION_DENIED
        return False

    assert await eventually(denied)


async def test_a_role_name_is_taken_once(identity: "Identity") -> None:
    """Two roles of one name could not be told apart."""
    admin = await identity.administrator()
    call = identity.roles.CreateRole(
        role_pb2.CreateRoleRequest(role=Role(display_name="Sales")), metadata=admin.metadata
    )
    assert await details(call) == ("ALREADY_EXISTS", ["role.display_name"])
