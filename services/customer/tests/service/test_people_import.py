"""Files of customers from elsewhere: numbers, identifiers, grades, credit, private persons."""

from crm.customer.v1 import account_pb2, contact_pb2, contact_pb2_grpc
from crmkit.testing.harness import ServiceUnderTest

from .imports import counts, issues, listed, run_import
from .test_account_facts import create, stub


async def test_what_another_system_knew_of_customers_comes_along(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a row with a taken number or identifier fails alone; new numbers pass over those brought."""
    ada = await customer.person(("customer.*", "OWN"), ("customer.accounts.setCredit", "OWN"))
    next_number = (await create(customer, ada, display_name="Before")).customer_number
    taken = f"C-{int(next_number.removeprefix('C-')) + 3:06}"
    header = (
        "display_name,customer_number,external_ids.erp,grade,credit_state,credit_limit,domains,"
        "credit_limit.currency_code,phones.number,phones.region_code"
    )
    content = "\n".join(
        [
            header,
            f"One,{taken},1,VIP,WATCH,5000,one.example;www.one.test,EUR,030 12345678,DE",
            f"Two,{taken},2,,,,,,,",
            "Three,,1,,,,,,,",
            "Four,,4,A,,,,,,",
            "Five,,,,,,,,,",
        ]
    )
    run = await run_import(customer, ada, content.encode())
    assert counts(run) == (3, 0, 0, 2)
    assert sorted((i.row, i.field) for i in await issues(customer, ada, run)) == [
        (3, "customer_number"),
        (4, "external_ids"),
    ]
    found = await listed(customer, ada)
    one = found["One"]
    assert (one.customer_number, dict(one.external_ids)) == (taken, {"erp": "1"})
    assert (one.grade, one.grade_source) == (
        account_pb2.Account.VIP,
        account_pb2.Account.GradeSource.MANUAL,
    )
    assert (one.credit_state, one.credit_limit.units) == (account_pb2.Account.WATCH, 5000)
    assert list(one.domains) == ["one.example", "one.test"]
    assert one.phones[0].number == "+493012345678"
    numbers = [account.customer_number for account in found.values()]
    assert len(set(numbers)) == len(numbers) == 4
    after = [await create(customer, ada, display_name=f"After {n}") for n in range(4)]
    assert taken not in {account.customer_number for account in after}


async def test_credit_is_imported_by_whom_it_may_be_decided(customer: ServiceUnderTest) -> None:
    """INVARIANT: no file gives what its sender may not give by hand."""
    ada = await customer.person(("customer.*", "OWN"))
    run = await run_import(customer, ada, b"display_name,credit_state\nOne,OK\nTwo,\n")
    assert counts(run) == (1, 0, 0, 1)
    assert list(await listed(customer, ada)) == ["Two"]


async def test_private_persons_come_with_their_contacts(customer: ServiceUnderTest) -> None:
    """In bulk as one by one."""
    ada = await customer.person(("customer.*", "OWN"))
    content = (
        "display_name,kind,emails.address\n张三,PERSON,a@x.example\nAcme,ORGANISATION,b@x.example\n"
    )
    run = await run_import(customer, ada, content.encode())
    assert counts(run) == (2, 0, 0, 0)
    contacts = contact_pb2_grpc.ContactServiceStub(customer.channel)
    (contact,) = (
        await contacts.ListContacts(contact_pb2.ListContactsRequest(), metadata=ada.metadata)
    ).contacts
    request = account_pb2.GetAccountRequest(name=contact.person_account)
    account = await stub(customer).GetAccount(request, metadata=ada.metadata)
    assert (account.display_name, account.emails) == (contact.display_name, contact.emails)
    assert contact.sort_name == "zhang san"
