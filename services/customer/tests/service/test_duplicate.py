"""Duplicates over gRPC: what is found, who sees it, and what people decide."""

from typing import Any
from uuid import UUID

import grpc
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.date_pb2 import Date

from crm.common.v1.comment_pb2 import Comment, CreateCommentRequest
from crm.common.v1.contact_point_pb2 import Address, EmailAddress, PhoneNumber
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    comment_pb2_grpc,
    contact_pb2,
    duplicate_pb2,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import ServiceUnderTest
from customer.domain.duplicate import HIDDEN_FROM_SOME
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.usecases.find_duplicates import members_were_merged, members_were_unmerged

from .duplicates import (
    BORN,
    Contact,
    Set,
    contact,
    contacts,
    found,
    looked_at,
    refused,
    scan,
    sets_of,
    stub,
)

# What no version of the service has written, and the end of it.
_SPOIL = compile_statement(
    sa.text("UPDATE contacts SET emails = '[{\"nonsense\": 1}]' WHERE id = :id")
)
_MEND = compile_statement(sa.text("UPDATE contacts SET emails = '[]' WHERE id = :id"))


async def test_a_contact_entered_twice_is_found_with_reasons(customer: ServiceUnderTest) -> None:
    """Misspelt and with the names crosswise, but born on one day: found right after it is created."""
    by = await customer.person("*")
    first = await contact(customer, by, "Jonathan", "Harrington", birthday=BORN)
    second = await contact(customer, by, "Harington", "Jonathan", birthday=BORN)

    one = await found(customer, by, first)

    assert sorted(one.members) == sorted([first, second])
    assert (one.resource, one.state) == ("contacts", Set.OPEN)
    assert one.score == one.pairs[0].score > 0.99
    reasons = {r.field: r for r in one.pairs[0].reasons}
    assert reasons["birthday"].description == "The birthdays are the same."
    assert {reasons["given_name"].finding, reasons["family_name"].finding} == {"same", "alike"}
    assert reasons["name_order"].description == "Given and family name stand crosswise."
    assert (
        reasons["birthday"].weight
        > reasons["family_name"].weight
        > 0
        > reasons["name_order"].weight
    )
    events = await customer.events(one.name, count=2)
    assert [e.routing_key for e in events] == [
        "customer.duplicate.created",
        "customer.duplicate.found",
    ]
    assert b"arrington" not in b"".join(e.wire.payload for e in events)


async def test_two_contacts_of_one_conversion_are_found(customer: ServiceUnderTest) -> None:
    """Created at the same moment, with the same e-mail address and nothing else."""
    by = await customer.person("*")
    email = [EmailAddress(address="twice@conversion.example")]
    first = await contact(customer, by, "", "", emails=email)
    second = await contact(customer, by, "", "", emails=email)
    assert set((await found(customer, by, first)).members) == {first, second}


async def test_a_name_alone_or_a_couple_s_address_makes_no_duplicate(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: never the name alone; what one home shares is a hint, which a search shows."""
    by = await customer.person("*")
    home: dict[str, Any] = {
        "emails": [EmailAddress(address="familie.sommer@home.example")],
        "phones": [PhoneNumber(number="+49 30 901820")],
        "addresses": [
            Address(address_lines=["Lindenweg 4"], postal_code="10115", locality="Berlin")
        ],
    }
    peter = await contact(customer, by, "Peter", "Sommer", **home)
    await contact(customer, by, "Annika", "Sommer", **home)
    await contact(customer, by, "Peter", "Sommer")
    await looked_at(customer)

    assert await sets_of(customer, by, peter) == []
    request = duplicate_pb2.SearchDuplicatesRequest(record=peter, min_score=0.0001)
    hints = (await stub(customer).SearchDuplicates(request, metadata=by.metadata)).matches
    assert hints
    assert not any(match.duplicate for match in hints)


async def test_a_change_that_makes_records_differ_ends_their_set(
    customer: ServiceUnderTest,
) -> None:
    """Sets follow the records: another birthday and other names, and the set is in the trash."""
    by = await customer.person("*")
    first = await contact(customer, by, "Ottilie", "Vandermeer", birthday=BORN)
    second = await contact(customer, by, "Ottilie", "Vandermeer", birthday=BORN)
    one = await found(customer, by, first)
    changed = Contact(name=second, birthday=Date(year=1931, month=12, day=2))
    request = contact_pb2.UpdateContactRequest(
        contact=changed, update_mask=FieldMask(paths=["birthday"])
    )
    await contacts(customer).UpdateContact(request, metadata=by.metadata)

    async def gone() -> bool:
        return not await sets_of(customer, by, first)

    await eventually(gone)
    get = duplicate_pb2.GetDuplicateSetRequest(name=one.name)
    left = await stub(customer).GetDuplicateSet(get, metadata=by.metadata)
    assert left.HasField("delete_time")


async def test_what_is_said_about_a_record_is_no_change_of_it(customer: ServiceUnderTest) -> None:
    """INVARIANT: the watch goes on, whatever the event log says of comments and followers."""
    ada = await customer.person("*")
    name = await contact(customer, ada, "Commented", "On")
    comments = comment_pb2_grpc.CommentServiceStub(customer.channel)
    request = CreateCommentRequest(parent=name, comment=Comment(text="Call them."))
    await comments.CreateComment(request, metadata=ada.metadata)
    await looked_at(customer)
    assert not customer.running.failed


async def test_a_third_record_joins_the_set_and_a_deleted_one_leaves_it(
    customer: ServiceUnderTest,
) -> None:
    """The set keeps its name whatever joins it or leaves it."""
    by = await customer.person("*")
    names = [await contact(customer, by, "Leopold", "Quickborn", birthday=BORN) for _ in range(2)]
    one = await found(customer, by, names[0])
    names.append(await contact(customer, by, "Leopold", "Quickbron", birthday=BORN))
    more = await found(customer, by, names[0], 3)
    assert more.name == one.name
    request = contact_pb2.DeleteContactRequest(name=names[1])
    await contacts(customer).DeleteContact(request, metadata=by.metadata)
    less = await found(customer, by, names[0], 2)
    assert (less.name, set(less.members)) == (one.name, {names[0], names[2]})


async def test_a_dismissed_pair_is_not_reported_again(customer: ServiceUnderTest) -> None:
    """INVARIANT: not by a change of a member, and not by a scan; a dismissed set stays dismissed."""
    by = await customer.person("*")
    first = await contact(customer, by, "Hildegard", "Zimmerli", birthday=BORN)
    second = await contact(customer, by, "Hildegard", "Zimmerli", birthday=BORN)
    one = await found(customer, by, first)
    request = duplicate_pb2.DismissDuplicateSetRequest(name=one.name, etag=one.etag)
    answer = await stub(customer).DismissDuplicateSet(request, metadata=by.metadata)
    assert answer.state == Set.DISMISSED
    again = duplicate_pb2.DismissDuplicateSetRequest(name=one.name)
    outcome = await refused(stub(customer).DismissDuplicateSet(again, metadata=by.metadata))
    assert outcome == (grpc.StatusCode.FAILED_PRECONDITION, "ILLEGAL_TRANSITION")

    update = contact_pb2.UpdateContactRequest(
        contact=Contact(name=second, job_title="Baker"), update_mask=FieldMask(paths=["job_title"])
    )
    await contacts(customer).UpdateContact(update, metadata=by.metadata)
    await looked_at(customer)
    await scan(customer, by)
    assert [s.name for s in await sets_of(customer, by, first, all_=True)] == [one.name]


async def test_only_who_sees_every_member_sees_a_set(customer: ServiceUnderTest) -> None:
    """INVARIANT: a set tells nothing of a record to who may not read it: not in lists, nor by name."""
    admin = await customer.person("*")
    one_, other = [await customer.person(("customer.*", "OWN")) for _ in range(2)]
    mine = [await contact(customer, one_, "Wendelin", "Oberhuber", birthday=BORN) for _ in range(2)]
    set_ = await found(customer, one_, mine[0])
    assert await sets_of(customer, other, mine[0]) == []
    get = duplicate_pb2.GetDuplicateSetRequest(name=set_.name)
    outcome = await refused(stub(customer).GetDuplicateSet(get, metadata=other.metadata))
    assert outcome == (grpc.StatusCode.NOT_FOUND, "RECORD_NOT_FOUND")
    dismiss = duplicate_pb2.DismissDuplicateSetRequest(name=set_.name)
    assert (await refused(stub(customer).DismissDuplicateSet(dismiss, metadata=other.metadata)))[
        0
    ] == (grpc.StatusCode.NOT_FOUND)

    theirs = await contact(customer, other, "Wendelin", "Oberhuber", birthday=BORN)
    assert len((await found(customer, admin, mine[0], 3)).members) == 3
    assert await sets_of(customer, one_, mine[0]) == []  # one member is somebody else's
    request = duplicate_pb2.SearchDuplicatesRequest(record=theirs)
    matches = await stub(customer).SearchDuplicates(request, metadata=other.metadata)
    assert not matches.matches


async def test_a_record_is_searched_for_before_it_exists(customer: ServiceUnderTest) -> None:
    """A candidate is compared and not stored; a firm by its name and web domain."""
    by = await customer.person("*")
    there = await contact(
        customer,
        by,
        "Cornelius",
        "Appelboom",
        emails=[EmailAddress(address="c.appelboom@mill.example")],
    )
    await looked_at(customer)
    candidate = Contact(
        given_name="Cornelius",
        family_name="Apelboom",
        emails=[EmailAddress(address="C.Appelboom@mill.example")],
    )
    request = duplicate_pb2.SearchDuplicatesRequest(contact=candidate)
    answer = await stub(customer).SearchDuplicates(request, metadata=by.metadata)
    assert [(m.record, m.duplicate) for m in answer.matches] == [(there, True)]

    account = account_pb2.Account(
        display_name="Muster Maschinenbau GmbH", website="https://www.muster.example"
    )
    firms = account_pb2_grpc.AccountServiceStub(customer.channel)
    create = account_pb2.CreateAccountRequest(account=account)
    firm = (await firms.CreateAccount(create, metadata=by.metadata)).name
    await looked_at(customer)
    same = account_pb2.Account(display_name="Muster Maschinenbau AG", domains=["muster.example"])
    request = duplicate_pb2.SearchDuplicatesRequest(account=same)
    answer = await stub(customer).SearchDuplicates(request, metadata=by.metadata)
    assert [(m.record, m.duplicate) for m in answer.matches] == [(firm, True)]

    both = duplicate_pb2.SearchDuplicatesRequest(account=same, contact=candidate)
    for wrong in (duplicate_pb2.SearchDuplicatesRequest(), both):
        outcome = await refused(stub(customer).SearchDuplicates(wrong, metadata=by.metadata))
        assert outcome == (grpc.StatusCode.INVALID_ARGUMENT, "REQUIRED_FIELD")


async def test_a_hidden_field_is_no_reason_of_a_set(customer: ServiceUnderTest) -> None:
    """INVARIANT: neither a set nor its events say of a tax number whether another account has it; a search
    tells those who may see tax numbers."""
    by = await customer.person("*")
    parties = ("customer.accounts.get", "customer.contacts.get")
    sets = ("customer.duplicateSets.list", "customer.duplicateSets.search")
    blind = await customer.person(*parties, *sets)
    firms = account_pb2_grpc.AccountServiceStub(customer.channel)
    names = []
    for form in ("GmbH", "AG"):
        firm = account_pb2.Account(
            display_name=f"Quellwasser Brunnenbau {form}",
            website="https://quellwasser.example",
            tax_id="XX4711081512",
        )
        create = account_pb2.CreateAccountRequest(account=firm)
        names.append((await firms.CreateAccount(create, metadata=by.metadata)).name)
    one = await found(customer, by, names[0])
    for person in (by, blind):
        (seen,) = await sets_of(customer, person, names[0])
        fields = {reason.field for reason in seen.pairs[0].reasons}
        assert fields
        assert not fields & HIDDEN_FROM_SOME
    events = await customer.events(one.name, count=2)
    assert b"tax" not in b"".join(e.wire.payload for e in events)
    request = duplicate_pb2.SearchDuplicatesRequest(record=names[0])
    for person, expected in ((by, {"tax_id"}), (blind, set())):
        answer = await stub(customer).SearchDuplicates(request, metadata=person.metadata)
        assert {r.field for r in answer.matches[0].reasons} & HIDDEN_FROM_SOME == expected
    assert ACCOUNTS.contract.sensitive | CONTACTS.contract.sensitive == HIDDEN_FROM_SOME


async def test_a_record_that_cannot_be_compared_is_left_out(customer: ServiceUnderTest) -> None:
    """INVARIANT: one record at fault does not end the search for duplicates of all others."""
    by = await customer.person("*")
    email = [EmailAddress(address="unreadable@broken.example")]
    broken = await contact(customer, by, "Un", "Readable", emails=email)
    await looked_at(customer)
    async with customer.database.transaction() as tx:
        await tx.execute(_SPOIL, {"id": UUID(broken.partition("/")[2])})
    neighbour = await contact(customer, by, "Un", "Readable", emails=email)
    first = await contact(customer, by, "Perpetua", "Sonnenschein", birthday=BORN)
    second = await contact(customer, by, "Perpetua", "Sonnenschein", birthday=BORN)
    await looked_at(customer)
    async with customer.database.transaction() as tx:
        await tx.execute(_MEND, {"id": UUID(broken.partition("/")[2])})
    assert set((await found(customer, by, first)).members) == {first, second}
    assert await sets_of(customer, by, neighbour) == []


async def test_two_private_persons_are_duplicates_as_accounts(customer: ServiceUnderTest) -> None:
    """A private person is one account: it is reported once, not as a contact as well."""
    by = await customer.person("*")
    firms = account_pb2_grpc.AccountServiceStub(customer.channel)
    names = []
    for _ in range(2):
        account = account_pb2.Account(
            display_name="Roswitha Engelhardt",
            kind=account_pb2.Account.PERSON,
            phones=[PhoneNumber(number="+49 89 636480")],
        )
        request = account_pb2.CreateAccountRequest(account=account)
        names.append((await firms.CreateAccount(request, metadata=by.metadata)).name)
    one = await found(customer, by, names[0])
    assert (one.resource, sorted(one.members)) == ("accounts", sorted(names))


async def test_members_that_are_merged_settle_their_set(customer: ServiceUnderTest) -> None:
    """What a merge calls: the set is MERGED with it, and open again when the merge is taken back."""
    by = await customer.person("*")
    names = [await contact(customer, by, "Balduin", "Kesselring", birthday=BORN) for _ in range(2)]
    one = await found(customer, by, names[0])
    get = duplicate_pb2.GetDuplicateSetRequest(name=one.name)
    for work, state in ((members_were_merged, Set.MERGED), (members_were_unmerged, Set.OPEN)):
        home = customer.running.home
        async with home.database.transaction() as tx:
            await work(new_call(home, service_principal("customer"), tx), names[0], names[1:])
        answer = await stub(customer).GetDuplicateSet(get, metadata=by.metadata)
        assert answer.state == state
