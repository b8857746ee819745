"""Erasures over gRPC, in the service that owns contacts."""

import io
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa

from crm.customer.v1 import (
    consent_pb2,
    consent_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    interaction_pb2,
    interaction_pb2_grpc,
    privacy_pb2,
    privacy_pb2_grpc,
)
from crmattachments.store import file_store
from crmkit import clock
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.errors import Unavailable
from crmkit.ids import uuid5_of, uuid7
from crmkit.job_tables import IMPORT, JOB
from crmkit.jobs import enqueue
from crmkit.personal.erasure import AGAIN
from crmkit.personal.subject import Found, Subject
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from crmkit.trash import purge_expired
from crmtransfer.personal import RunsAboutPeople
from customer.storage.contact import CONTACTS
from customer.storage.erasure import erasures
from customer.storage.personal_data_export import Archive, find_archive, insert_archive
from customer.usecases.erase_contact import FORGET
from customer.usecases.export_personal_data import GATHER, REMOVE, remove_archives


def contacts(customer: ServiceUnderTest) -> contact_pb2_grpc.ContactServiceStub:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def officer(customer: ServiceUnderTest) -> Person:
    return await customer.person("customer.*", "customer.contacts.purge", "customer.contacts.erase")


async def contact(customer: ServiceUnderTest, who: Person, mark: str) -> str:
    made = contact_pb2.Contact(display_name=mark, emails=[{"address": f"{mark}@mail.example"}])
    request = contact_pb2.CreateContactRequest(contact=made)
    return str((await contacts(customer).CreateContact(request, metadata=who.metadata)).name)


async def refusal_of_purge(customer: ServiceUnderTest, who: Person, name: str) -> str:
    request = contact_pb2.PurgeContactRequest(name=name)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await contacts(customer).PurgeContact(request, metadata=who.metadata)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    return str(details_of(caught.value)["reason"])


async def running(customer: ServiceUnderTest, name: str, mark: str) -> UUID:
    """An erasure that waits for a service that is away."""
    id_ = uuid7()
    values = {
        "id": id_, "contact": UUID(name.partition("/")[2]), "names": [name],
        "texts": [f"{mark}@mail.example"], "reason": "r", "create_time": clock.now(),
        "state": "RUNNING", "parts": [],
    }  # fmt: skip
    await customer.database.execute(compile_statement(sa.insert(erasures).values(values)))
    return id_


async def erase(customer: ServiceUnderTest, who: Person, name: str) -> UUID:
    stub = privacy_pb2_grpc.PrivacyServiceStub(customer.channel)
    request = privacy_pb2.EraseContactRequest(name=name, reason="Request 1")
    erasure = (await stub.EraseContact(request, metadata=who.metadata)).name

    async def ended() -> bool:
        now = await stub.GetErasure(
            privacy_pb2.GetErasureRequest(name=erasure), metadata=who.metadata
        )
        return bool(now.state == privacy_pb2.Erasure.State.SUCCEEDED)

    await eventually(ended)
    return UUID(erasure.partition("/")[2])


async def due_now(customer: ServiceUnderTest, kind: str, erasure: UUID) -> None:
    """A job that waits for its time has it."""
    job = sa.update(JOB).where(JOB.c.id == uuid5_of(erasure, kind)).values(due_time=clock.now())
    await customer.database.execute(compile_statement(job))


async def texts_of(customer: ServiceUnderTest, erasure: UUID) -> list[str]:
    query = sa.select(erasures.c.texts).where(erasures.c.id == erasure)
    row = await customer.database.fetch_one(compile_statement(query))
    return list(row[0]) if row else []


async def note(customer: ServiceUnderTest, who: Person, text: str) -> str:
    made = interaction_pb2.Interaction(kind="NOTE", body=text)
    request = interaction_pb2.CreateInteractionRequest(interaction=made)
    stub = interaction_pb2_grpc.InteractionServiceStub(customer.channel)
    return str((await stub.CreateInteraction(request, metadata=who.metadata)).name)


async def body_of(customer: ServiceUnderTest, who: Person, name: str) -> str:
    request = interaction_pb2.GetInteractionRequest(name=name)
    stub = interaction_pb2_grpc.InteractionServiceStub(customer.channel)
    return str((await stub.GetInteraction(request, metadata=who.metadata)).body)


async def test_whom_an_erasure_has_to_find_is_not_purged(customer: ServiceUnderTest) -> None:
    """INVARIANT: neither by hand nor with age; the erasure would never end, and never be told."""
    ada = await officer(customer)
    jo = await contact(customer, ada, "zqone")
    await contacts(customer).DeleteContact(
        contact_pb2.DeleteContactRequest(name=jo), metadata=ada.metadata
    )
    await running(customer, jo, "zqone")
    assert await refusal_of_purge(customer, ada, jo) == "ERASURE_RUNNING"
    await purge_expired(customer.running.home, [CONTACTS], clock.now() + timedelta(days=1))
    request = contact_pb2.GetContactRequest(name=jo)
    assert (await contacts(customer).GetContact(request, metadata=ada.metadata)).name == jo


async def test_the_proof_of_consent_outlives_an_erasure(customer: ServiceUnderTest) -> None:
    """INVARIANT: the shell of somebody erased, with their ledger, cannot be purged."""
    ada = await officer(customer)
    jo = await contact(customer, ada, "zqtwo")
    ledger = consent_pb2_grpc.ConsentServiceStub(customer.channel)
    given = consent_pb2.Consent(
        contact=jo, channel="EMAIL", purpose="newsletter", decision="GRANTED", method="PAPER"
    )
    made = await ledger.RecordConsent(
        consent_pb2.RecordConsentRequest(consent=given), metadata=ada.metadata
    )
    await erase(customer, ada, jo)
    assert await refusal_of_purge(customer, ada, jo) == "CONTACT_ERASED"
    request = consent_pb2.GetConsentRequest(name=made.name)
    kept = await ledger.GetConsent(request, metadata=ada.metadata)
    assert (kept.contact, kept.purpose) == (jo, "newsletter")


async def test_the_second_look_finds_quotations_too(customer: ServiceUnderTest) -> None:
    """INVARIANT: the addresses are known until every service has looked twice, and no longer."""
    ada = await officer(customer)
    jo = await contact(customer, ada, "zqthree")
    again = await contact(customer, ada, "zqfour")
    erased = await erase(customer, ada, jo), await erase(customer, ada, again)
    late = await note(customer, ada, "Write to zqthree@mail.example.")
    # Who comes back is another contact, and is left alone.
    new = await contact(customer, ada, "zqfour")
    theirs = await note(customer, ada, "Write to zqfour@mail.example.")
    for erasure in erased:
        assert await texts_of(customer, erasure)
        await due_now(customer, AGAIN, erasure)

    async def looked() -> bool:
        query = sa.select(JOB.c.id).where(JOB.c.id.in_([uuid5_of(e, AGAIN) for e in erased]))
        return not await customer.database.fetch_all(compile_statement(query))

    await eventually(looked)
    assert await body_of(customer, ada, late) == "Write to [erased]."
    assert await body_of(customer, ada, theirs) == "Write to zqfour@mail.example."
    request = contact_pb2.GetContactRequest(name=new)
    kept = await contacts(customer).GetContact(request, metadata=ada.metadata)
    assert [email.address for email in kept.emails] == ["zqfour@mail.example"]
    await due_now(customer, FORGET, erased[0])

    async def forgotten() -> bool:
        return not await texts_of(customer, erased[0])

    await eventually(forgotten)


async def test_only_runs_that_began_before_are_waited_for(customer: ServiceUnderTest) -> None:
    """INVARIANT: what is begun again and again does not keep an erasure from its end."""
    now, home = clock.now(), customer.running.home
    numbers = {c.name: 0 for c in IMPORT.columns if isinstance(c.type, sa.BigInteger)}
    values = {
        "id": uuid7(), "create_time": now, "state": "RUNNING", "upload": uuid7(), "specification": b"",
        **numbers,
    }  # fmt: skip
    await customer.database.execute(compile_statement(sa.insert(IMPORT).values(values)))
    try:
        for heard, waits in ((now - timedelta(seconds=1), False), (now, True), (None, True)):
            found = Found(Subject({}), heard=heard)
            if waits:
                with pytest.raises(Unavailable):
                    await RunsAboutPeople().erase(home, found)
            else:
                await RunsAboutPeople().erase(home, found)
    finally:
        await customer.database.execute(compile_statement(sa.delete(IMPORT)))


async def archive(customer: ServiceUnderTest, of: UUID, state: str) -> Archive:
    """An archive whose file lies in the store."""
    made = Archive(uuid7(), of, None, clock.now(), state)
    home = customer.running.home
    async with home.database.transaction() as tx:
        await insert_archive(new_call(home, service_principal(home.name), tx), made)
    await file_store(home.settings).put(made.key, io.BytesIO(b"all of it"))
    return made


def file_of(customer: ServiceUnderTest, one: Archive) -> Path:
    return Path(customer.running.home.settings.attachments_url.removeprefix("file://"), one.key)


@pytest.mark.parametrize(
    ("kind", "state"), [(GATHER, "FAILED"), (REMOVE, "FAILED"), (REMOVE, "EXPIRED")]
)
async def test_what_a_killed_run_has_left_of_an_archive_is_removed(
    customer: ServiceUnderTest, kind: str, state: str
) -> None:
    """INVARIANT: no file outlives its archive, wherever the process was killed."""
    one = await archive(customer, uuid7(), state)
    async with customer.database.transaction() as tx:
        await enqueue(tx, kind, {"archive": str(one.id)})

    async def gone() -> bool:
        return not file_of(customer, one).exists()

    await eventually(gone)


async def test_an_archive_has_ended_before_its_file_is_removed(customer: ServiceUnderTest) -> None:
    """INVARIANT: whoever makes it meanwhile sees that; the file goes when the store works again."""
    person, home = uuid7(), customer.running.home
    one = await archive(customer, person, "SUCCEEDED")
    path = file_of(customer, one)
    path.unlink()
    path.mkdir()  # the store fails: this is no file
    with pytest.raises(Unavailable):
        await remove_archives(home, [person])
    now = await find_archive(customer.database, one.id)
    assert now is not None
    assert now.state == "EXPIRED"
    path.rmdir()
    path.write_bytes(b"all of it")

    async def gone() -> bool:
        job = sa.update(JOB).where(JOB.c.kind == REMOVE).values(due_time=clock.now())
        await customer.database.execute(compile_statement(job))
        return not path.exists()

    await eventually(gone)
