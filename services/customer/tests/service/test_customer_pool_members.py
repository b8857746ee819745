"""Customer pools over gRPC: who sees what is in them."""

from typing import Any

import grpc

from crm.common.v1 import (
    collaborator_pb2,
    document_pb2,
    lookup_pb2,
    lookup_pb2_grpc,
)
from crm.common.v1.comment_pb2 import Comment, CreateCommentRequest
from crm.customer.v1 import (
    account_pb2,
    collaborator_pb2_grpc,
    comment_pb2_grpc,
    document_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest

from .customer_pools import (
    OWN,
    Account,
    accounts,
    claim,
    file_of,
    get_account,
    get_contact,
    listed,
    make_account,
    make_contact,
    make_pool,
    refusal,
    release,
    unique,
)


async def test_members_of_a_pool_read_what_is_in_it_and_no_more(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: Get, List, BatchGet, look-up and export show members the same; nobody changes it before they
    claim it, its contacts stay hidden, and for strangers it is not there."""
    sales = await customer.team()
    east = await customer.team(parent=sales)
    boss = await customer.person("*")
    member, stranger = await customer.person(OWN, team=east), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique(), teams=[f"teams/{sales}"])
    account = await make_account(customer, boss, display_name=unique("Acme"))
    contact = await make_contact(customer, boss, account)
    assert (await refusal(get_account(customer, member, account)))[0] == grpc.StatusCode.NOT_FOUND
    await release(customer, boss, account, pool.name)
    seen = await get_account(customer, member, account)
    assert (seen.pool, seen.owner) == (pool.name, "")
    assert account in await listed(customer, member)
    assert await listed(customer, member, f'pool = "{pool.name}"') == {account}
    assert await exported(customer, member, seen.display_name) == [account]
    request = account_pb2.BatchGetAccountsRequest(names=[account])
    batch = await accounts(customer).BatchGetAccounts(request, metadata=member.metadata)
    assert [found.name for found in batch.accounts] == [account]
    assert await looked_up(customer, member, seen.display_name) == [account]
    change = account_pb2.UpdateAccountRequest(account=Account(name=account, website="https://a.b"))
    code, reason, _ = await refusal(
        accounts(customer).UpdateAccount(change, metadata=member.metadata)
    )
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "IN_POOL")
    hidden = get_contact(customer, member, contact)
    assert (await refusal(hidden))[0] == grpc.StatusCode.NOT_FOUND
    for attempt in (get_account, claim):
        refused = refusal(attempt(customer, stranger, account))
        assert (await refused)[0] == grpc.StatusCode.NOT_FOUND
    assert account not in await listed(customer, stranger)
    assert await looked_up(customer, stranger, seen.display_name) == []
    await claim(customer, member, account)
    assert (await get_contact(customer, member, contact)).owner == member.name


async def test_what_belongs_to_an_account_in_a_pool_waits_too(customer: ServiceUnderTest) -> None:
    """INVARIANT: members attach and share nothing before they claim; they may say something about it."""
    boss, member = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss)
    await release(customer, boss, account, pool.name)
    share = collaborator_pb2.CreateCollaboratorRequest(
        parent=account,
        collaborator=collaborator_pb2.Collaborator(
            user=member.name, access=collaborator_pb2.Collaborator.EDIT
        ),
    )
    sharing: Any = collaborator_pb2_grpc.CollaboratorServiceStub(customer.channel)
    attempt = sharing.CreateCollaborator(share, metadata=member.metadata)
    assert (await refusal(attempt))[:2] == (grpc.StatusCode.PERMISSION_DENIED, "IN_POOL")
    documents: Any = document_pb2_grpc.DocumentServiceStub(customer.channel)
    document = document_pb2.CreateDocumentRequest(parent=account, file_name="offer.txt")
    document.file.data = b"one"
    attempt = documents.CreateDocument(iter([document]), metadata=member.metadata)
    assert (await refusal(attempt))[:2] == (grpc.StatusCode.PERMISSION_DENIED, "IN_POOL")
    commenting: Any = comment_pb2_grpc.CommentServiceStub(customer.channel)
    comment = CreateCommentRequest(parent=account, comment=Comment(text="I know them."))
    said = await commenting.CreateComment(comment, metadata=member.metadata)
    assert said.author == member.name


async def exported(customer: ServiceUnderTest, person: Person, name: str) -> list[str]:
    wanted = f'display_name = "{name}"'
    text = await file_of(customer, person, resource="accounts", filter=wanted, fields=["name"])
    return text.split()[1:]


async def looked_up(customer: ServiceUnderTest, person: Person, name: str) -> list[str]:
    lookup = lookup_pb2_grpc.LookupServiceStub(customer.channel)
    request = lookup_pb2.LookUpRecordsRequest(
        collection="accounts", field="display_name", values=[name]
    )
    as_service = customer.running.home.clients.as_service(person.name)
    found = await lookup.LookUpRecords(request, metadata=as_service)
    return [match.name for match in found.matches]


async def test_pages_of_a_list_have_what_is_own_and_what_is_in_pools_once_each(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: whoever owns, shares and may claim sees each record once, in one order, over all pages."""
    team = await customer.team()
    boss, ada = await customer.person("*"), await customer.person(OWN, team=team)
    pool = await make_pool(customer, boss, unique(), teams=[f"teams/{team}"])
    wanted = []
    for number in range(9):
        owner = ada if number % 3 else boss
        wanted.append(await make_account(customer, owner))
        if number % 3 == 0:
            await release(customer, boss, wanted[-1], pool.name)
    found: list[str] = []
    token = ""
    while token or not found:
        request = account_pb2.ListAccountsRequest(page_size=2, page_token=token)
        page = await accounts(customer).ListAccounts(request, metadata=ada.metadata)
        found += [account.name for account in page.accounts]
        token = page.next_page_token
    in_other_pools = await listed(customer, ada) - set(
        wanted
    )  # pools of other tests, for everybody
    assert [name for name in found if name not in in_other_pools] == list(reversed(wanted))
    assert len(found) == len(set(found))


async def test_what_is_hidden_in_a_record_stays_hidden_in_a_pool(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: members read of an account in a pool what they would of one that is shared with them."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss, tax_id="DE 1")
    await release(customer, boss, account, pool.name)
    seen = await get_account(customer, ada, account)
    assert (seen.tax_id, list(seen.hidden_fields)) == ("", ["tax_id"])
    assert await listed(customer, ada, 'tax_id = "DE 1"') == set()
    assert (await claim(customer, ada, account)).tax_id == "DE 1"


async def test_who_sees_it_otherwise_is_told_that_the_pool_is_for_others(
    customer: ServiceUnderTest,
) -> None:
    """An administrator reads everything; to claim is for the members, and to give is `:transfer`."""
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique(), teams=[f"teams/{await customer.team()}"])
    account = await make_account(customer, boss)
    await release(customer, boss, account, pool.name)
    code, reason, _ = await refusal(claim(customer, boss, account))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_A_MEMBER")


async def test_with_whom_it_is_shared_does_not_release_it(customer: ServiceUnderTest) -> None:
    """INVARIANT: a collaborator, whatever they may change, decides not on whose it is (ADR 10)."""
    boss, ada, ben = [await customer.person(grants) for grants in ("*", OWN, OWN)]
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, ada)
    share = collaborator_pb2.CreateCollaboratorRequest(
        parent=account, collaborator={"user": ben.name, "access": "EDIT"}
    )
    stub = collaborator_pb2_grpc.CollaboratorServiceStub(customer.channel)
    await stub.CreateCollaborator(share, metadata=ada.metadata)
    code, reason, _ = await refusal(release(customer, ben, account, pool.name))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "COLLABORATORS_MAY_NOT")
