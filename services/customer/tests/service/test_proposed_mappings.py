"""ProposeMappings over gRPC: which column of a file that was sent up may fill which field."""

from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import import_pb2
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from .imports import counts, imports, listed, run_import, sent

Confidence = import_pb2.ColumnProposal.Confidence


async def proposed(
    customer: ServiceUnderTest, person: Person, content: bytes, **fields: str
) -> dict[str, import_pb2.ColumnProposal]:
    upload = await sent(customer, person, content)
    request = import_pb2.ProposeMappingsRequest(
        **{"resource": "accounts", "upload": upload.name, **fields}
    )
    answer = await imports(customer).ProposeMappings(request, metadata=person.metadata)
    return {column.column: column for column in answer.columns}


async def test_what_is_proposed_can_be_imported_as_it_is(customer: ServiceUnderTest) -> None:
    """INVARIANT: the sure mappings of a proposal make a sound import, references among them."""
    ada = await customer.person("customer.*")
    mark = f"{uuid4()}"
    await run_import(customer, ada, f"external_id,display_name\n{mark},Parent {mark}\n".encode())
    content = (
        "Company Name,Parent Company,Number of Employees,Note\n"
        f"Child {mark},Parent {mark},12,x\nOrphan {mark},,many,y\n"
    ).encode()
    found = await proposed(customer, ada, content)
    assert [(c.mapping.field, c.confidence) for c in found.values()] == [
        ("display_name", Confidence.HIGH),
        ("parent_account", Confidence.HIGH),  # it is there
        ("employee_count", Confidence.LOW),  # "many" is no number
        ("", Confidence.CONFIDENCE_UNSPECIFIED),
    ]
    assert found["Parent Company"].mapping.lookup == "accounts.display_name"
    assert list(found["Number of Employees"].samples) == ["12", "many"]
    mappings = [c.mapping for c in found.values() if c.confidence == Confidence.HIGH]
    run = await run_import(customer, ada, content, *mappings)
    assert (counts(run), run.warning_count) == ((2, 0, 0, 0), 0)
    accounts = await listed(customer, ada)
    parent = accounts[f"Parent {mark}"]
    assert accounts[f"Child {mark}"].parent_account == parent.name
    # By external id and by name, too: whatever the column holds.
    for text, lookup in ((mark, ""), (parent.name, "")):
        again = await proposed(customer, ada, f"name,Parent Company\nx,{text}\n".encode())
        assert again["Parent Company"].confidence == Confidence.HIGH
        assert again["Parent Company"].mapping.lookup == lookup
    absent = (await proposed(customer, ada, b"name,Parent Company\nx,Nobody\n"))["Parent Company"]
    assert absent.confidence == Confidence.MEDIUM


@pytest.mark.parametrize(
    ("content", "fields", "reason", "field"),
    [
        (b"a\n1\n", {"resource": "nonsense"}, "INVALID_FIELD", "resource"),
        (b"a\n1\n", {"encoding": "utf-7"}, "INVALID_FIELD", "encoding"),
        (b"", {}, "EMPTY_FILE", "upload"),
        ("ä\n1\n".encode("latin-1"), {}, "UNKNOWN_ENCODING", "upload"),
    ],
)
async def test_what_cannot_be_proposed_for_is_refused_with_a_reason(
    customer: ServiceUnderTest, content: bytes, fields: dict[str, str], reason: str, field: str
) -> None:
    """INVARIANT: the same reasons as those of an import, naming the field."""
    ada = await customer.person("customer.*")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await proposed(customer, ada, content, **fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(caught.value)["reason"] == reason
    assert details_of(caught.value)["fields"] == [field]


async def test_foreign_files_are_not_read(customer: ServiceUnderTest) -> None:
    """INVARIANT: nobody looks into a file that somebody else has sent up."""
    ada, eve = await customer.person("customer.*"), await customer.person("*")
    upload = await sent(customer, ada, b"name\nx\n")
    request = import_pb2.ProposeMappingsRequest(resource="accounts", upload=upload.name)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await imports(customer).ProposeMappings(request, metadata=eve.metadata)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
