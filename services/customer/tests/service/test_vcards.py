"""vCards sent into a real service and fetched from it."""

from uuid import uuid4

import grpc
import pytest

from crm.customer.v1 import contact_pb2, contact_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from . import test_export
from .imports import Field, Import, counts, issues, listed, run_import
from .test_export import Export
from .test_proposed_mappings import Confidence, proposed


async def contacts(
    customer: ServiceUnderTest, person: Person, filter_: str
) -> list[contact_pb2.Contact]:
    stub = contact_pb2_grpc.ContactServiceStub(customer.channel)
    request = contact_pb2.ListContactsRequest(filter=filter_, order_by="display_name")
    return list((await stub.ListContacts(request, metadata=person.metadata)).contacts)


def card(*lines: str) -> bytes:
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD", ""]).encode()


async def test_cards_are_imported_exported_and_imported_again(customer: ServiceUnderTest) -> None:
    """INVARIANT: what a card says of a person comes in, goes out and is the same again, with the account."""
    ada = await customer.person("customer.*")
    mark = uuid4().hex
    await run_import(customer, ada, f"display_name\nPing {mark}\n".encode())
    content = card(
        f"UID:{mark}",
        "N:Müller\\, M;Zoë;;;",
        "FN:Zoë Müller",
        f"ORG:Ping {mark}",
        "TITLE:=Boss",
        "EMAIL;TYPE=work:zoe@x.example",
        "TEL;TYPE=cell:+49 170 1234567",
        "TEL;TYPE=home,fax:0221 1234",
        "ADR;TYPE=work:;;Weg 1\\, hinten,2. Stock;Köln;NRW;50667;DE",
        "BDAY:1980-02-29",
    ) + card("N:;;;;", "X-NOTHING:x")
    found = await proposed(customer, ada, content, resource="contacts")
    assert found["organization"].confidence == Confidence.HIGH  # it is there
    account = Field(field="account", column="organization", lookup="accounts.display_name")
    run = await run_import(customer, ada, content, account, resource="contacts")
    assert (counts(run), run.warning_count) == ((1, 0, 0, 1), 0)
    assert [(i.row, i.field) for i in await issues(customer, ada, run)] == [(14, "display_name")]
    (zoe,) = await contacts(customer, ada, f'external_id = "{mark}"')
    assert (zoe.display_name, zoe.family_name) == ("Zoë Müller", "Müller, M")
    assert zoe.account == (await listed(customer, ada))[f"Ping {mark}"].name
    assert list(zoe.addresses[0].address_lines) == ["Weg 1, hinten", "2. Stock"]
    assert [(p.number, p.label) for p in zoe.phones] == [
        ("+491701234567", "mobile"),
        ("+492211234", "home fax"),  # by the address
    ]
    wanted = {"resource": "contacts", "filter": f'external_id = "{mark}"', "format": Export.VCARD}
    exported = await test_export.exported(customer, ada, **wanted)
    assert b"TYPE=cell" in exported
    assert f"ORG:Ping {mark}".encode() in exported
    policy = Import.DuplicatePolicy.UPDATE
    again = await run_import(customer, ada, exported, account, policy=policy, resource="contacts")
    assert (counts(again), again.warning_count) == ((0, 0, 1, 0), 0)  # nothing differs


async def test_cards_are_for_persons_only(customer: ServiceUnderTest) -> None:
    """INVARIANT: a card makes no account, and an account no card; both say why."""
    ada = await customer.person("customer.*")
    run = await run_import(customer, ada, card("FN:Ada", "N:;Ada;;;"))
    assert (run.state, run.error_reason) == (Import.FAILED, "WRONG_FILE")
    for fields, at in (
        ({"resource": "accounts"}, "export.format"),
        ({"resource": "contacts", "fields": ["display_name"]}, "export.fields"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await test_export.started(customer, ada, format=Export.VCARD, **fields)
        assert details_of(caught.value)["fields"] == [at]
