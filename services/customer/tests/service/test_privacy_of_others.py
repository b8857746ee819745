"""What an erasure takes out of accounts and contacts of others, and an archive whose files are lost."""

from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import attachment_pb2, custom_field_pb2
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    attachment_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    custom_field_pb2_grpc,
)
from crmattachments import rows
from crmattachments.personal import FilesOfPeople
from crmkit.personal.erase import erase
from crmkit.personal.subject import Found, Subject
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest
from customer.storage.search import search_keys

from .searching import account, contact

MAIL = "zqann@mail.example"


async def custom_field(customer: ServiceUnderTest, who: Person) -> None:
    stub: Any = custom_field_pb2_grpc.CustomFieldServiceStub(customer.channel)
    field = custom_field_pb2.CustomField(
        resource="accounts", field_id="hint", display_name="Hint", type="TEXT", filterable=True
    )
    request = custom_field_pb2.CreateCustomFieldRequest(custom_field=field)
    await stub.CreateCustomField(request, metadata=who.metadata)
    await customer.running.home.custom_fields.reload()


async def test_others_keep_themselves_without_the_words_of_whom_is_erased(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: texts of accounts and contacts are redacted, and not found by what they said before.

    How to reach somebody is theirs: also where it is the same.
    """
    ada = await customer.person("customer.*")
    await custom_field(customer, ada)
    person = await contact(customer, ada, display_name="Ann", emails=[{"address": MAIL}])
    acme = await account(
        customer, ada, display_name="Acme", custom_fields={"hint": f"Ask {MAIL.upper()}!"}
    )
    jim = await contact(
        customer,
        ada,
        display_name="Jim",
        job_title=f"Assistant of {MAIL}",
        emails=[{"address": MAIL}],
    )
    accounts: Any = account_pb2_grpc.AccountServiceStub(customer.channel)
    contacts: Any = contact_pb2_grpc.ContactServiceStub(customer.channel)
    graded = account_pb2.GradeAccountRequest(name=acme, grade="A", reason=f"{MAIL} pays")
    await accounts.GradeAccount(graded, metadata=ada.metadata)
    of = {"contacts": frozenset({UUID(person.partition("/")[2])})}
    await erase(customer.running.home, Subject(of, (MAIL,)))
    shown = await accounts.GetAccount(
        account_pb2.GetAccountRequest(name=acme), metadata=ada.metadata
    )
    assert shown.custom_fields["hint"] == "Ask [erased]!"
    assert shown.grade_reason == "[erased] pays"
    other = await contacts.GetContact(
        contact_pb2.GetContactRequest(name=jim), metadata=ada.metadata
    )
    assert other.job_title == "Assistant of [erased]"
    assert [email.address for email in other.emails] == [MAIL]
    query = sa.select(search_keys.c.value).where(
        search_keys.c.record == UUID(acme.partition("/")[2])
    )
    keys = {row[0] for row in await customer.database.fetch_all(compile_statement(query))}
    assert "acme" in keys
    assert not {key for key in keys if "zqann" in key}


async def test_a_file_that_is_lost_is_a_note_in_the_archive(customer: ServiceUnderTest) -> None:
    """INVARIANT: the others are there; an archive does not wait for what nobody can bring back."""
    ada = await customer.person("customer.*")
    person = await contact(customer, ada, display_name="Jo")
    files: Any = attachment_pb2_grpc.AttachmentServiceStub(customer.channel)
    made = []
    for name in ("a.txt", "b.txt"):
        upload = attachment_pb2.CreateAttachmentRequest(parent=person, file_name=name)
        upload.file.data = b"text"
        one = await files.CreateAttachment(iter([upload]), metadata=ada.metadata)
        made.append(one.name.rpartition("/")[2])
    home = customer.running.home
    folder = Path(home.settings.attachments_url.removeprefix("file://"))
    (folder / rows.key(home.name, UUID(made[0]))).unlink()
    found = Found(Subject({"contacts": frozenset({UUID(person.partition("/")[2])})}))
    pieces = [piece async for piece in FilesOfPeople().read(home, found)]
    kept = {piece.path.rpartition("/")[2]: piece.data for piece in pieces}
    assert kept["b.txt"] == b"text"
    assert b"lost" in kept["a.txt.missing.txt"]
    assert len(kept) == 2
