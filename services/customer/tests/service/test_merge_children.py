"""What belongs to records that are merged, and what finds them: comments, files, followers, look-ups."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import (
    attachment_pb2,
    collaborator_pb2,
    comment_pb2,
    custom_field_pb2,
    follower_pb2,
    lookup_pb2,
)
from crm.common.v1.lookup_pb2_grpc import LookupServiceStub
from crm.customer.v1 import (
    attachment_pb2_grpc,
    collaborator_pb2_grpc,
    comment_pb2_grpc,
    custom_field_pb2_grpc,
    follower_pb2_grpc,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.testing.harness import ServiceUnderTest
from customer.storage.contact import CONTACTS
from customer.usecases.personal_subject import subject_of

from .merging import clerk


async def test_what_people_added_is_shown_with_the_survivor_and_goes_back(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: comments and files of a merged record are its survivor's, under their old names."""
    ada = await clerk(customer)
    comments = comment_pb2_grpc.CommentServiceStub(customer.channel)
    files = attachment_pb2_grpc.AttachmentServiceStub(customer.channel)
    kept, gone = await ada.account("Acme"), await ada.account("ACME Inc")

    async def say(account: Any, text: str) -> Any:
        request = comment_pb2.CreateCommentRequest(parent=account.name, comment={"text": text})
        return await ada.do(comments.CreateComment, request)

    def pieces() -> Iterator[attachment_pb2.CreateAttachmentRequest]:
        request = attachment_pb2.CreateAttachmentRequest(parent=gone.name, file_name="a.txt")
        request.file.data = b"text"
        yield request

    async def shown(account: Any) -> tuple[set[str], set[str]]:
        asked = comment_pb2.ListCommentsRequest(parent=account.name)
        said = (await ada.do(comments.ListComments, asked)).comments
        of = attachment_pb2.ListAttachmentsRequest(parent=account.name)
        held = (await ada.do(files.ListAttachments, of)).attachments
        return {c.text for c in said}, {a.name for a in held}

    old = await say(gone, "before")
    held = await files.CreateAttachment(pieces(), metadata=ada.who.metadata)
    await ada.merge(kept, gone)
    await say(gone, "meanwhile")
    assert await shown(kept) == await shown(gone) == ({"before", "meanwhile"}, {held.name})
    got = await ada.do(comments.GetComment, comment_pb2.GetCommentRequest(name=old.name))
    assert got == old
    update = comment_pb2.UpdateCommentRequest(comment={"name": old.name, "text": "after"})
    assert (await ada.do(comments.UpdateComment, update)).name == old.name
    get = attachment_pb2.GetAttachmentRequest(name=held.name)
    assert await ada.do(files.GetAttachment, get) == held
    await ada.unmerge(kept)
    assert await shown(gone) == ({"after"}, {held.name})
    assert await shown(kept) == ({"meanwhile"}, set())


async def test_who_followed_a_merged_record_follows_the_survivor(
    customer: ServiceUnderTest,
) -> None:
    """Also its owner, who followed it without having said so; not who has unfollowed the survivor."""
    ada, bob, eve = [await clerk(customer) for _ in range(3)]
    stub = follower_pb2_grpc.FollowerServiceStub(customer.channel)
    kept, gone = await ada.account("Acme"), await bob.account("ACME Inc")
    await eve.do(stub.FollowRecord, follower_pb2.FollowRecordRequest(name=gone.name))
    await eve.do(stub.FollowRecord, follower_pb2.FollowRecordRequest(name=kept.name))
    await eve.do(stub.UnfollowRecord, follower_pb2.UnfollowRecordRequest(name=kept.name))
    await ada.merge(kept, gone)
    request = follower_pb2.ListFollowersRequest(parent=kept.name)
    listed = (await ada.do(stub.ListFollowers, request)).followers
    assert {f.user for f in listed} == {ada.who.name, bob.who.name}


async def test_custom_fields_follow_and_come_back(customer: ServiceUnderTest) -> None:
    """INVARIANT: a custom field shows the survivor, in the record and in filters."""
    ada = await clerk(customer)
    stub = custom_field_pb2_grpc.CustomFieldServiceStub(customer.channel)
    field = {
        "resource": "accounts", "field_id": "bank", "display_name": "Bank", "type": "REFERENCE",
        "target": "accounts", "filterable": True,
    }  # fmt: skip
    request = custom_field_pb2.CreateCustomFieldRequest(custom_field=field)
    await ada.do(stub.CreateCustomField, request)
    kept, gone = await ada.account("Bank"), await ada.account("The Bank")
    client = await ada.account("Client", custom_fields={"bank": gone.name})

    async def banked(account: Any) -> list[str]:
        found = await ada.list_accounts(f'custom_fields.bank = "{account.name}"')
        assert all(a.custom_fields["bank"] == account.name for a in found)
        return [a.name for a in found]

    await ada.merge(kept, gone)
    assert (await banked(kept), await banked(gone)) == ([client.name], [])
    later = await ada.account("Later", custom_fields={"bank": gone.name})
    await ada.unmerge(kept)
    assert (await banked(kept), await banked(gone)) == ([later.name], [client.name])


@pytest.mark.parametrize("field", ["name", "external_id", "display_name", "customer_number"])
async def test_imports_find_the_survivor_by_what_they_know(
    customer: ServiceUnderTest, field: str
) -> None:
    """INVARIANT: a name, number or identifier of a merged record leads to the survivor, within scope."""
    ada, bob = await clerk(customer), await clerk(customer, ("customer.*", "OWN"))
    kept = await ada.account("Acme")
    gone = await ada.account(f"ACME {uuid4()}", external_id=str(uuid4()))
    await ada.merge(kept, gone)
    stub = LookupServiceStub(customer.channel)
    value = getattr(gone, field)
    request = lookup_pb2.LookUpRecordsRequest(collection="accounts", field=field, values=[value])

    async def found(who: Any) -> list[tuple[str, str]]:
        as_service = customer.running.home.clients.as_service(who.who.name)
        matches = (await stub.LookUpRecords(request, metadata=as_service)).matches
        return [(match.value, match.name) for match in matches]

    assert await found(ada) == [(value, kept.name)]
    assert await found(bob) == []


async def test_a_merge_is_not_for_collaborators(customer: ServiceUnderTest) -> None:
    """Whoever a record is shared with may not make it disappear."""
    ada, bob = await clerk(customer), await clerk(customer, ("customer.*", "OWN"))
    theirs, mine = await ada.account("Acme"), await bob.account("Acme")
    stub = collaborator_pb2_grpc.CollaboratorServiceStub(customer.channel)
    shared = collaborator_pb2.Collaborator(user=bob.who.name, access="EDIT")
    request = collaborator_pb2.CreateCollaboratorRequest(parent=theirs.name, collaborator=shared)
    await ada.do(stub.CreateCollaborator, request)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await bob.merge(mine, theirs)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert (await ada.get(theirs)) == theirs


async def test_who_was_merged_into_a_person_is_that_person(customer: ServiceUnderTest) -> None:
    """INVARIANT: what is given out and erased of a person covers the records that were merged into theirs."""
    ada = await clerk(customer)
    a, b, c = [await ada.contact(f"Ada {i}", emails=[{"address": f"{i}@a.example"}]) for i in "abc"]
    await ada.merge(b, a)
    await ada.merge(c, b)
    async with customer.database.transaction() as tx:
        call = new_call(customer.running.home, service_principal("customer"), tx)
        contact = await CONTACTS.get(call, a.name, permission=CONTACTS.permission("get"))
        subject = await subject_of(call, tx, contact)
    assert set(subject.names) == {a.name, b.name, c.name}
    assert set(subject.texts) == {"a@a.example", "b@a.example", "c@a.example"}
