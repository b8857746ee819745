"""Customer pools over gRPC: who sees what is in them, who gets it, and how much."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import (
    collaborator_pb2,
    document_pb2,
    export_pb2,
    import_pb2,
    lookup_pb2,
    lookup_pb2_grpc,
)
from crm.common.v1.comment_pb2 import Comment, CreateCommentRequest
from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    collaborator_pb2_grpc,
    comment_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    customer_pool_pb2,
    customer_pool_pb2_grpc,
    document_pb2_grpc,
    export_pb2_grpc,
    import_pb2_grpc,
)
from crmkit.clock import clock
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

OWN = ("customer.*", "OWN")
TOMORROW = timedelta(days=1)
Account, CustomerPool = account_pb2.Account, customer_pool_pb2.CustomerPool


def accounts(customer: ServiceUnderTest) -> Any:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


def pools(customer: ServiceUnderTest) -> Any:
    return customer_pool_pb2_grpc.CustomerPoolServiceStub(customer.channel)


async def make_pool(customer: ServiceUnderTest, person: Person, name: str, **fields: Any) -> Any:
    pool = CustomerPool(display_name=name, **fields)
    request = customer_pool_pb2.CreateCustomerPoolRequest(customer_pool=pool)
    return await pools(customer).CreateCustomerPool(request, metadata=person.metadata)


async def change_pool(customer: ServiceUnderTest, person: Person, name: str, **fields: Any) -> Any:
    pool = CustomerPool(name=name, **fields)
    request = customer_pool_pb2.UpdateCustomerPoolRequest(customer_pool=pool)
    return await pools(customer).UpdateCustomerPool(request, metadata=person.metadata)


async def make_account(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    account = Account(**{"display_name": "Acme", **fields})
    request = account_pb2.CreateAccountRequest(account=account)
    made = await accounts(customer).CreateAccount(request, metadata=person.metadata)
    return str(made.name)


async def get_account(customer: ServiceUnderTest, person: Person, name: str) -> Any:
    request = account_pb2.GetAccountRequest(name=name)
    return await accounts(customer).GetAccount(request, metadata=person.metadata)


async def listed(customer: ServiceUnderTest, person: Person, filter_: str = "") -> set[str]:
    request = account_pb2.ListAccountsRequest(filter=filter_, page_size=1000)
    page = await accounts(customer).ListAccounts(request, metadata=person.metadata)
    return {account.name for account in page.accounts}


async def release(
    customer: ServiceUnderTest, person: Person, name: str, pool: str, **fields: Any
) -> Any:
    request = account_pb2.ReleaseAccountToPoolRequest(name=name, pool=pool, **fields)
    return await accounts(customer).ReleaseAccountToPool(request, metadata=person.metadata)


async def claim(customer: ServiceUnderTest, person: Person, name: str, **fields: Any) -> Any:
    request = account_pb2.ClaimAccountRequest(name=name, **fields)
    return await accounts(customer).ClaimAccount(request, metadata=person.metadata)


async def refusal(attempt: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """Status, reason and details of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attempt
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details


def contacts(customer: ServiceUnderTest) -> Any:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def make_contact(customer: ServiceUnderTest, person: Person, account: str) -> str:
    contact = contact_pb2.Contact(given_name="Ada", account=account)
    request = contact_pb2.CreateContactRequest(contact=contact)
    made = await contacts(customer).CreateContact(request, metadata=person.metadata)
    return str(made.name)


async def get_contact(customer: ServiceUnderTest, person: Person, name: str) -> Any:
    request = contact_pb2.GetContactRequest(name=name)
    return await contacts(customer).GetContact(request, metadata=person.metadata)


def unique(name: str = "East") -> str:
    return f"{name} {uuid4()}"


# -- in and out


async def test_an_account_goes_into_a_pool_and_is_claimed(customer: ServiceUnderTest) -> None:
    """Its owner's contacts go with it, others' stay; each step is a version with its event and history."""
    boss, ben = await customer.person("*"), await customer.person(OWN)
    ada = await customer.person(OWN)
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, ada)
    own = await make_contact(customer, ada, account)
    others = await make_contact(customer, boss, account)
    pooled = await release(customer, ada, account, pool.name)
    assert (pooled.pool, pooled.owner, pooled.team) == (pool.name, "", "")
    assert pooled.HasField("pool_time")
    assert (await get_contact(customer, boss, own)).owner == ""
    assert (await get_contact(customer, boss, others)).owner == boss.name
    claimed = await claim(customer, ben, account)
    assert (claimed.pool, claimed.claim_pool, claimed.owner) == ("", pool.name, ben.name)
    assert not claimed.HasField("pool_time")
    assert (await get_contact(customer, ben, own)).owner == ben.name
    assert (await get_contact(customer, boss, others)).owner == boss.name
    events = await customer.events(account, count=3)
    assert [e.routing_key for e in events] == [
        "customer.account.created", "customer.account.pooled", "customer.account.claimed",
    ]  # fmt: skip
    assert (events[1].message.previous_owner, events[1].message.automatic) == (ada.name, False)
    assert (events[1].actor, events[2].message.pool) == (ada.name, pool.name)
    assert (events[2].actor, events[2].owner) == (ben.name, ben.id)
    answer = await accounts(customer).ListRevisions(
        ListRevisionsRequest(parent=account), metadata=ben.metadata
    )
    changed = {change.field for change in answer.revisions[0].changes}
    assert {"owner", "pool", "claim_pool"} <= changed


async def test_a_private_person_goes_with_their_contact(customer: ServiceUnderTest) -> None:
    """INVARIANT: account and contact of a person have one owner, or none, together."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, ada, display_name="Jane", kind=Account.PERSON)
    request = contact_pb2.ListContactsRequest(filter=f'person_account = "{account}"')
    await release(customer, ada, account, pool.name)
    (contact,) = (await contacts(customer).ListContacts(request, metadata=boss.metadata)).contacts
    assert contact.owner == ""
    await claim(customer, ada, account)
    (contact,) = (await contacts(customer).ListContacts(request, metadata=ada.metadata)).contacts
    assert contact.owner == ada.name


async def test_what_is_in_a_pool_is_not_released_and_what_is_not_is_not_claimed(
    customer: ServiceUnderTest,
) -> None:
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss)
    code, reason, details = await refusal(claim(customer, boss, account))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ILLEGAL_TRANSITION")
    found = details["metadata"]
    assert (found["state"], found["allowed_methods"]) == ("OWNED", "releaseToPool")
    await release(customer, boss, account, pool.name)
    code, reason, details = await refusal(release(customer, boss, account, pool.name))
    assert (reason, details["metadata"]["state"]) == ("ILLEGAL_TRANSITION", "IN_POOL")


async def test_a_version_that_is_not_the_latest_is_neither_released_nor_claimed(
    customer: ServiceUnderTest,
) -> None:
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss)
    old = '"7"'
    _, reason, _ = await refusal(release(customer, boss, account, pool.name, etag=old))
    assert reason == "ETAG_MISMATCH"
    await release(customer, boss, account, pool.name, etag='"1"')
    assert (await refusal(claim(customer, boss, account, etag=old)))[1] == "ETAG_MISMATCH"
    assert (await claim(customer, boss, account, etag='"2"')).owner == boss.name


async def test_a_repeat_with_the_same_id_claims_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: an answer that was lost is had by asking again; nothing is counted twice."""
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique(), claim_limit=1)
    account = await make_account(customer, boss)
    await release(customer, boss, account, pool.name)
    request_id = str(uuid4())
    first = await claim(customer, boss, account, request_id=request_id)
    assert await claim(customer, boss, account, request_id=request_id) == first


async def test_a_pool_that_is_none_is_named_as_the_field_at_fault(
    customer: ServiceUnderTest,
) -> None:
    boss = await customer.person("*")
    account = await make_account(customer, boss)
    pool = await make_pool(customer, boss, unique())
    await pools(customer).DeleteCustomerPool(
        customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name), metadata=boss.metadata
    )
    for name, wanted in (
        (pool.name, "REFERENCE_DELETED"),
        (f"customerPools/{uuid4()}", "REFERENCE_NOT_FOUND"),
        ("accounts/1", "INVALID_FIELD"),
        ("", "REQUIRED_FIELD"),
    ):
        _, reason, details = await refusal(release(customer, boss, account, name))
        assert (reason, details["fields"]) == (wanted, ["pool"])


async def test_a_manager_gives_what_is_in_a_pool_to_somebody(customer: ServiceUnderTest) -> None:
    """A transfer takes it out of the pool, and counts for nobody's limit."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique(), claim_limit=1)
    given, claimed = [await make_account(customer, boss) for _ in range(2)]
    for account in (given, claimed):
        await release(customer, boss, account, pool.name)
    request = account_pb2.TransferAccountRequest(name=given, owner=ada.name)
    moved = await accounts(customer).TransferAccount(request, metadata=boss.metadata)
    assert (moved.pool, moved.claim_pool, moved.owner) == ("", "", ada.name)
    assert (await claim(customer, ada, claimed)).owner == ada.name


# -- who sees it


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


async def file_of(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    exports = export_pb2_grpc.ExportServiceStub(customer.channel)
    export = export_pb2.Export(**fields)
    request = export_pb2.CreateExportRequest(export=export)
    made = await exports.CreateExport(request, metadata=person.metadata)

    async def ended() -> bool:
        found = await exports.GetExport(
            export_pb2.GetExportRequest(name=made.name), metadata=person.metadata
        )
        return bool(found.state == export_pb2.Export.SUCCEEDED)

    await eventually(ended)
    parts = exports.DownloadExport(
        export_pb2.DownloadExportRequest(name=made.name), metadata=person.metadata
    )
    return b"".join([part.data async for part in parts]).decode("utf-8-sig")


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


# -- several at a time


@pytest.mark.parametrize("grants", ["OWN", "ALL"])
async def test_of_several_who_claim_at_once_one_gets_it(
    customer: ServiceUnderTest, grants: str
) -> None:
    """INVARIANT: exactly one becomes the owner; each other is told the state in which it is now."""
    boss = await customer.person("*")
    crowd = [await customer.person(("customer.*", grants)) for _ in range(6)]
    pool = await make_pool(customer, boss, unique())
    for _ in range(5):
        account = await make_account(customer, boss)
        await release(customer, boss, account, pool.name)
        answers = await asyncio.gather(
            *(claim(customer, person, account) for person in crowd), return_exceptions=True
        )
        won = [answer for answer in answers if isinstance(answer, Account)]
        lost = [details_of(answer) for answer in answers if isinstance(answer, grpc.RpcError)]
        assert (len(won), len(lost)) == (1, 5)
        assert {(d["reason"], d["metadata"]["state"]) for d in lost} == {
            ("ILLEGAL_TRANSITION", "OWNED")
        }
        assert (await get_account(customer, boss, account)).owner == won[0].owner
        kinds = [e.routing_key for e in await customer.events(account, count=3)]
        assert kinds.count("customer.account.claimed") == 1


@pytest.mark.parametrize("limit", ["claim_limit", "claim_limit_per_day"])
async def test_claims_at_once_do_not_pass_the_limit(customer: ServiceUnderTest, limit: str) -> None:
    """INVARIANT: whoever claims eight at a time has as many as they may, and the rest are refused."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique(), **{limit: 3})
    waiting = [await make_account(customer, boss) for _ in range(8)]
    for account in waiting:
        await release(customer, boss, account, pool.name)
    answers = await asyncio.gather(
        *(claim(customer, ada, account) for account in waiting), return_exceptions=True
    )
    refused = [details_of(answer) for answer in answers if isinstance(answer, grpc.RpcError)]
    assert len(refused) == 5
    assert {(d["reason"], d["metadata"]["limit"], d["metadata"]["allowed"]) for d in refused} == {
        ("CLAIM_LIMIT_REACHED", limit, "3")
    }
    assert len(await listed(customer, ada, f'owner = "{ada.name}"')) == 3


async def test_who_gives_one_back_may_claim_another_but_not_on_the_same_day(
    customer: ServiceUnderTest,
) -> None:
    """The limit of a day counts what was claimed, also what was given back; the next day begins anew."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    at_once = await make_pool(customer, boss, unique(), claim_limit=1)
    per_day = await make_pool(customer, boss, unique(), claim_limit_per_day=1)
    for pool, wanted in ((at_once, None), (per_day, "CLAIM_LIMIT_REACHED")):
        first, second = [await make_account(customer, boss) for _ in range(2)]
        for account in (first, second):
            await release(customer, boss, account, pool.name)
        await claim(customer, ada, first)
        await release(customer, ada, first, pool.name)
        if wanted is None:
            await claim(customer, ada, second)
        else:
            assert (await refusal(claim(customer, ada, second)))[1] == wanted
            with clock.shifted(TOMORROW):
                await claim(customer, ada, second)


# -- pools


async def test_pools_are_changed_by_who_may_change_all(customer: ServiceUnderTest) -> None:
    """INVARIANT: nobody with a narrower scope decides on what others lose; everybody reads them."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique(), days_without_interaction=30)
    assert pool.warning_days == 3
    for attempt in (
        make_pool(customer, ada, unique()),
        change_pool(customer, ada, pool.name, claim_limit=9),
        pools(customer).DeleteCustomerPool(
            customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name), metadata=ada.metadata
        ),
    ):
        assert (await refusal(attempt))[0] == grpc.StatusCode.PERMISSION_DENIED
    request = customer_pool_pb2.GetCustomerPoolRequest(name=pool.name)
    assert await pools(customer).GetCustomerPool(request, metadata=ada.metadata) == pool


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"days_without_interaction": 0}, "customer_pool.days_without_interaction"),
        ({"days_without_interaction": 2}, "customer_pool.days_without_interaction"),
        ({"warning_days": 91}, "customer_pool.warning_days"),
        ({"exempt_grades": [9]}, "customer_pool.exempt_grades"),
        ({"claim_limit": -1}, "customer_pool.claim_limit"),
        ({"teams": ["teams/1"]}, "customer_pool.teams"),
    ],
)
async def test_what_makes_no_pool_is_refused(
    customer: ServiceUnderTest, fields: dict[str, Any], at_fault: str
) -> None:
    """The field at fault is named."""
    boss = await customer.person("*")
    _, _, details = await refusal(make_pool(customer, boss, unique(), **fields))
    assert [field.partition("[")[0] for field in details["fields"]] == [at_fault]


async def test_a_pool_with_accounts_in_it_is_not_deleted(customer: ServiceUnderTest) -> None:
    """INVARIANT: no account waits where nobody finds it; not for a release at the same time either."""
    boss = await customer.person("*")
    for _ in range(5):
        pool = await make_pool(customer, boss, unique())
        account = await make_account(customer, boss)
        delete = pools(customer).DeleteCustomerPool(
            customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name), metadata=boss.metadata
        )
        answers = await asyncio.gather(
            release(customer, boss, account, pool.name), delete, return_exceptions=True
        )
        refused = [details_of(a)["reason"] for a in answers if isinstance(a, grpc.RpcError)]
        assert refused in (["POOL_IN_USE"], ["REFERENCE_DELETED"])
        found = await get_account(customer, boss, account)
        assert found.pool == (pool.name if refused == ["POOL_IN_USE"] else "")


async def test_what_is_in_the_trash_does_not_keep_a_pool(customer: ServiceUnderTest) -> None:
    """Nobody could move it: an account that is deleted or was merged is in nobody's way."""
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss)
    await release(customer, boss, account, pool.name)
    gone = account_pb2.DeleteAccountRequest(name=account)
    await accounts(customer).DeleteAccount(gone, metadata=boss.metadata)
    delete = customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name)
    deleted = await pools(customer).DeleteCustomerPool(delete, metadata=boss.metadata)
    assert deleted.HasField("delete_time")


async def test_pools_come_from_files_and_go_into_files(customer: ServiceUnderTest) -> None:
    """What is wrong is a row's problem; who may not change pools brings none in either."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    good = unique()
    content = f"display_name,days_without_interaction,claim_limit\n{good},30,5\n,30,5\n"
    run = await imported(customer, boss, content)
    assert (run.created_count, run.failed_count) == (1, 1)
    text = await file_of(
        customer, boss, resource="customerPools", filter=f'display_name = "{good}"',
        fields=["display_name", "days_without_interaction", "warning_days"],
    )  # fmt: skip
    assert text.splitlines()[1] == f"{good},30,3"
    refused = await imported(customer, ada, f"display_name\n{unique()}\n")
    assert (refused.created_count, refused.failed_count) == (0, 1)


async def imported(customer: ServiceUnderTest, person: Person, content: str) -> Any:
    stub: Any = import_pb2_grpc.ImportServiceStub(customer.channel)
    request = import_pb2.CreateUploadRequest()
    request.file.data = content.encode()
    upload = await stub.CreateUpload(iter([request]), metadata=person.metadata)
    wanted = import_pb2.Import(resource="customerPools", upload=upload.name)
    for column in content.split("\n", 1)[0].split(","):
        wanted.mappings.add(column=column, field=column)
    run = await stub.CreateImport(
        import_pb2.CreateImportRequest(**{"import": wanted}), metadata=person.metadata
    )

    async def ended() -> Any:
        found = await stub.GetImport(
            import_pb2.GetImportRequest(name=run.name), metadata=person.metadata
        )
        return found if found.HasField("end_time") else None

    return await eventually(ended)
