"""Contacts over gRPC: what a client may rely on besides the standard methods."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from crm.customer.v1 import contact_pb2, contact_pb2_grpc
from crmkit.testing.harness import ServiceUnderTest, details_of

Contact = contact_pb2.Contact


def stub(customer: ServiceUnderTest) -> contact_pb2_grpc.ContactServiceStub:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def create(customer: ServiceUnderTest, who: object, **fields: object) -> contact_pb2.Contact:
    request = contact_pb2.CreateContactRequest(contact=Contact(**fields))
    created: contact_pb2.Contact = await stub(customer).CreateContact(
        request, metadata=who.metadata
    )
    return created


async def names(customer: ServiceUnderTest, who: object, filter_: str) -> list[str]:
    request = contact_pb2.ListContactsRequest(filter=filter_, order_by="sort_name")
    listed = await stub(customer).ListContacts(request, metadata=who.metadata)
    return [contact.display_name for contact in listed.contacts]


async def test_chinese_names_are_sorted_and_found_by_pinyin(customer: ServiceUnderTest) -> None:
    """Among the others, and by what is typed on a keyboard without Chinese."""
    ada = await customer.person(("customer.*", "OWN"))
    for given, family in (("三", "张"), ("Zoe", "Zimmer"), ("Ada", "Lovelace"), ("渔", "仇")):
        await create(customer, ada, given_name=given, family_name=family)
    assert await names(customer, ada, "") == ["Ada Lovelace", "仇渔", "张三", "Zoe Zimmer"]
    assert await names(customer, ada, 'sort_name = "zhang*"') == ["张三"]
    assert await names(customer, ada, 'sort_name = "qiu*"') == ["仇渔"]


async def test_numbers_are_kept_in_e164_whatever_was_typed(customer: ServiceUnderTest) -> None:
    """By the number's own country, the address's, or the organisation's; found by what is kept."""
    ada = await customer.person(("customer.*", "OWN"))
    await customer.settings(format_locale="en-GB")
    created = await create(
        customer,
        ada,
        display_name="Hans",
        phones=[
            {"number": "030 12345678 ext. 9"},
            {"number": "020 7946 0018", "region_code": "GB"},
        ],
        addresses=[{"address_lines": ["Unter den Linden 1"], "region_code": "de", "label": "Home"}],
    )
    assert [(p.number, p.extension, p.region_code) for p in created.phones] == [
        ("+493012345678", "9", "DE"),
        ("+442079460018", "", "GB"),
    ]
    assert (created.addresses[0].region_code, created.addresses[0].label) == ("DE", "home")
    british = await create(customer, ada, display_name="Ian", phones=[{"number": "020 7946 0018"}])
    assert british.phones[0].number == "+442079460018"
    assert await names(customer, ada, 'phones.number = "+442079460018"') == ["Hans", "Ian"]


async def test_a_number_typed_again_is_no_change(customer: ServiceUnderTest) -> None:
    """INVARIANT: a version says that something happened; another spelling is nothing."""
    ada = await customer.person("customer.*")
    phones = [{"number": "030 12345678", "region_code": "DE"}]
    created = await create(customer, ada, display_name="Hans", phones=phones)
    request = contact_pb2.UpdateContactRequest(
        contact=Contact(name=created.name, phones=phones), update_mask=FieldMask(paths=["phones"])
    )
    assert await stub(customer).UpdateContact(request, metadata=ada.metadata) == created


async def test_a_new_family_name_shows_in_the_name_that_was_made_of_it(
    customer: ServiceUnderTest,
) -> None:
    """History tells of what was changed, not of what follows from it."""
    ada = await customer.person("customer.*")
    created = await create(customer, ada, given_name="Ada", family_name="King")
    changed = await stub(customer).UpdateContact(
        contact_pb2.UpdateContactRequest(contact=Contact(name=created.name, family_name="Byron")),
        metadata=ada.metadata,
    )
    assert (changed.display_name, changed.sort_name) == ("Ada Byron", "byron ada")
    _, updated = await customer.events(created.name, count=2)
    assert list(updated.message.changed_fields) == ["display_name", "family_name"]
    assert b"byron" not in updated.wire.payload.lower()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "contact.display_name"),
        (
            {"emails": [{"address": f"{n}@x.example", "primary": True} for n in "ab"]},
            "contact.emails[1].primary",
        ),
        (
            {"display_name": "A", "addresses": [{"region_code": "1x"}]},
            "contact.addresses[0].region_code",
        ),
    ],
)
async def test_bad_input_names_the_field(
    customer: ServiceUnderTest, fields: dict[str, object], field: str
) -> None:
    """Bad input gets a clear error that names the field."""
    ada = await customer.person("customer.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(customer, ada, **fields)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == [field]
