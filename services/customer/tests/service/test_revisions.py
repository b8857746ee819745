"""The history of accounts and contacts: imports, other services' events, erasure."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from crm.common.v1.revision_pb2 import ListRevisionsRequest, Revision
from crm.customer.v1 import account_pb2, account_pb2_grpc, contact_pb2, contact_pb2_grpc
from crmkit import revisions
from crmkit.names import parse_name
from crmkit.testing.harness import Person, ServiceUnderTest
from customer.storage.contact import CONTACTS

from .imports import Policy, run_import


async def history(stub: Any, person: Person, parent: str) -> list[Revision]:
    page = await stub.ListRevisions(ListRevisionsRequest(parent=parent), metadata=person.metadata)
    return list(page.revisions)


def values(revision: Revision) -> dict[str, tuple[Any, Any]]:
    return {
        c.field: (MessageToDict(c.old_value), MessageToDict(c.new_value)) for c in revision.changes
    }


async def test_an_import_writes_history_that_names_it(customer: ServiceUnderTest) -> None:
    """INVARIANT: what an import creates and changes can be told from what people did."""
    ada = await customer.person("customer.*")
    first = await run_import(
        customer, ada, b"external_id,display_name,industry\nH1,Acme,retail\nH2,Globex,\n"
    )
    second = await run_import(
        customer, ada, b"external_id,display_name,industry\nH1,Acme,banking\n", policy=Policy.UPDATE
    )
    stub = account_pb2_grpc.AccountServiceStub(customer.channel)
    listing = account_pb2.ListAccountsRequest(filter='external_id = "H1"')
    (account,) = (await stub.ListAccounts(listing, metadata=ada.metadata)).accounts
    changed, created = await history(stub, ada, account.name)
    assert (created.kind, created.imported, created.correlation_id) == (
        "created", True, first.name,
    )  # fmt: skip
    assert values(created)["display_name"] == (None, "Acme")
    assert (changed.kind, changed.correlation_id, changed.actor) == (
        "updated", second.name, ada.name,
    )  # fmt: skip
    assert values(changed) == {"industry": ("retail", "banking")}


async def test_personal_values_can_be_erased_from_history(customer: ServiceUnderTest) -> None:
    """INVARIANT: after an erasure no revision holds a personal value; who changed what, when, stays."""
    ada = await customer.person("customer.*")
    stub = contact_pb2_grpc.ContactServiceStub(customer.channel)
    contact = contact_pb2.Contact(
        display_name="Grace Hopper",
        emails=[{"address": "g@navy.example"}],
        labels={"tier": "gold"},
    )
    created = await stub.CreateContact(
        contact_pb2.CreateContactRequest(contact=contact), metadata=ada.metadata
    )
    renamed = contact_pb2.Contact(
        name=created.name, display_name="G. Hopper", labels={"tier": "iron"}
    )
    await stub.UpdateContact(
        contact_pb2.UpdateContactRequest(contact=renamed), metadata=ada.metadata
    )
    record = parse_name(created.name, collection="contacts", field="name")
    await revisions.erase_personal(
        customer.database,
        CONTACTS.codec,
        customer.running.home.custom_fields.of("contacts"),
        record,
    )
    shown = await history(stub, ada, created.name)
    assert "Hopper" not in str(shown)
    assert "navy" not in str(shown)
    erased = {c.field for r in shown for c in r.changes if c.erased}
    assert {"display_name", "emails"} <= erased
    assert [r.kind for r in shown] == ["updated", "created"]
    assert values(shown[0])["labels"] == ({"tier": "gold"}, {"tier": "iron"})
