"""Imports of users and teams: the same rules as for the methods."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from crm.common.v1 import import_pb2
from crm.identity.v1 import import_pb2_grpc, user_pb2
from crmkit.testing.polling import eventually

if TYPE_CHECKING:
    from conftest import Identity, SignedIn

Import = import_pb2.Import
Field = import_pb2.FieldMapping


async def run_import(
    identity: "Identity", person: "SignedIn", resource: str, content: str, *mappings: Field
) -> tuple[Import, list[str]]:
    """The ended import and the reasons of its issues."""
    stub: Any = import_pb2_grpc.ImportServiceStub(identity.under_test.channel)

    def pieces() -> Iterator[import_pb2.CreateUploadRequest]:
        request = import_pb2.CreateUploadRequest()
        request.file.data = content.encode()
        yield request

    upload = await stub.CreateUpload(pieces(), metadata=person.metadata)
    wanted = Import(
        resource=resource, upload=upload.name, mappings=mappings, duplicate_policy=Import.UPDATE
    )
    run = await stub.CreateImport(
        import_pb2.CreateImportRequest(**{"import": wanted}), metadata=person.metadata
    )

    async def look() -> Import | None:
        request = import_pb2.GetImportRequest(name=run.name)
        found = await stub.GetImport(request, metadata=person.metadata)
        return found if found.HasField("end_time") else None

    ended = await eventually(look)
    assert ended is not None
    answer = await stub.ListImportIssues(
        import_pb2.ListImportIssuesRequest(parent=run.name), metadata=person.metadata
    )
    return ended, [issue.reason for issue in answer.issues]


async def test_teams_and_users_come_from_files(identity: "Identity") -> None:
    """A user finds the team by its name, and the address is compared without its case."""
    admin = await identity.administrator()
    teams, _ = await run_import(
        identity,
        admin,
        "teams",
        "Office\nNorth\nSouth\n",
        Field(field="display_name", column="Office"),
    )
    assert (teams.state, teams.created_count) == (Import.SUCCEEDED, 2)
    rows = "mail,who,office\nNora@Example.com,Nora,North\nSam@example.com,Sam,South\n"
    mappings = [
        Field(field="email", column="mail"),
        Field(field="display_name", column="who"),
        Field(field="team", column="office", lookup="teams.display_name"),
    ]
    for expected in ((2, 0), (0, 2)):  # the second time the users are there, as the file has them
        users, issues = await run_import(identity, admin, "users", rows, *mappings)
        assert (users.created_count, users.skipped_count, issues) == (*expected, [])
    page = await identity.users.ListUsers(
        user_pb2.ListUsersRequest(filter='email = "nora@example.com"'), metadata=admin.metadata
    )
    assert [(user.display_name, bool(user.team)) for user in page.users] == [("Nora", True)]


async def test_a_file_is_no_way_around_the_rules(identity: "Identity") -> None:
    """INVARIANT: nobody gives by a file what they could not give by hand."""
    clerk = await identity.person(("identity.*", "OWN"))
    rows = "mail,who,rights\nup@example.com,Up,Administrator\n"
    made, issues = await run_import(
        identity,
        clerk,
        "users",
        rows,
        Field(field="email", column="mail"),
        Field(field="display_name", column="who"),
        Field(field="roles", column="rights", lookup="roles.display_name"),
    )
    assert (made.created_count, issues) == (0, ["GRANT_NOT_HELD"])
