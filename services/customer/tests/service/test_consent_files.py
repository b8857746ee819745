"""Consents as files: ledgers of other systems come in by external id or e-mail address, and go out."""

import csv
import io
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from crm.common.v1 import export_pb2, import_pb2
from crm.customer.v1 import (
    consent_pb2,
    consent_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    export_pb2_grpc,
    import_pb2_grpc,
)
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

Consent = consent_pb2.Consent
Policy = import_pb2.Import.DuplicatePolicy
HEADER = "contact,channel,purpose,decision,method,effective_time,external_id\n"


async def contact(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    wanted = contact_pb2.Contact(display_name="Jo", **fields)
    return (
        await contact_pb2_grpc.ContactServiceStub(customer.channel).CreateContact(
            contact_pb2.CreateContactRequest(contact=wanted), metadata=person.metadata
        )
    ).name


async def imported(
    customer: ServiceUnderTest,
    person: Person,
    *rows: str,
    lookup: str = "",
    policy: int = Policy.SKIP,
) -> Any:
    """An ended import and what was wrong: (row, field, reason)."""
    stub: Any = import_pb2_grpc.ImportServiceStub(customer.channel)
    request = import_pb2.CreateUploadRequest()
    request.file.data = (HEADER + "\n".join(rows)).encode()
    upload = await stub.CreateUpload(iter([request]), metadata=person.metadata)
    wanted = import_pb2.Import(resource="consents", upload=upload.name, duplicate_policy=policy)
    for column in HEADER.strip().split(","):
        wanted.mappings.add(
            column=column, field=column, lookup=lookup if column == "contact" else ""
        )
    run = await stub.CreateImport(
        import_pb2.CreateImportRequest(**{"import": wanted}), metadata=person.metadata
    )

    async def ended() -> Any:
        found = await stub.GetImport(
            import_pb2.GetImportRequest(name=run.name), metadata=person.metadata
        )
        return found if found.HasField("end_time") else None

    run = await eventually(ended)
    issues = await stub.ListImportIssues(
        import_pb2.ListImportIssuesRequest(parent=run.name), metadata=person.metadata
    )
    return run, [(i.row, i.field, i.reason) for i in issues.issues]


async def holds(customer: ServiceUnderTest, person: Person, of: str) -> dict[tuple[int, str], int]:
    answer = await consent_pb2_grpc.ConsentServiceStub(customer.channel).GetConsentState(
        consent_pb2.GetConsentStateRequest(contact=of), metadata=person.metadata
    )
    return {(s.channel, s.purpose): s.decision for s in answer.states}


async def entries(customer: ServiceUnderTest, person: Person, of: str) -> list[Consent]:
    answer = await consent_pb2_grpc.ConsentServiceStub(customer.channel).ListConsents(
        consent_pb2.ListConsentsRequest(filter=f'contact = "{of}"', order_by="effective_time"),
        metadata=person.metadata,
    )
    return list(answer.consents)


async def test_a_ledger_comes_in_by_external_id_in_any_order(customer: ServiceUnderTest) -> None:
    """INVARIANT: the order of rows does not matter, only when each took effect; each change is told once."""
    ada = await customer.person("customer.*")
    ref = f"C-{uuid4()}"
    jo = await contact(customer, ada, external_id=ref)
    run, issues = await imported(
        customer, ada,
        f"{ref},EMAIL,newsletter,WITHDRAWN,,2026-05-01,{ref}-1",
        f"{ref},EMAIL,newsletter,GRANTED,TAKEN_OVER,2025-05-01,{ref}-2",
        f"{ref},SMS,newsletter,GRANTED,PAPER,2025-05-01,{ref}-3",
        f"{ref},SMS,newsletter,GRANTED,,2025-05-01,{ref}-4",
        f"{ref},PIGEON,newsletter,GRANTED,PAPER,2025-05-01,{ref}-5",
        f"nobody,SMS,newsletter,GRANTED,PAPER,2025-05-01,{ref}-6",
        f"{ref},SMS,newsletter,GRANTED,PAPER,2999-05-01,{ref}-7",
    )  # fmt: skip
    assert (run.created_count, run.failed_count) == (3, 4)
    assert {(row, field) for row, field, _ in issues} == {
        (5, "method"), (6, "channel"), (7, "contact"), (8, "effective_time"),
    }  # fmt: skip
    assert await holds(customer, ada, jo) == {
        (Consent.EMAIL, "newsletter"): Consent.WITHDRAWN,
        (Consent.SMS, "newsletter"): Consent.GRANTED,
    }
    by_id = {c.external_id: c for c in await entries(customer, ada, jo)}
    told = {
        id_.removeprefix(f"{ref}-"): [e.routing_key for e in await customer.events(c.name)]
        for id_, c in by_id.items()
    }
    changed = {id_ for id_, found in told.items() if "customer.consent.changed" in found}
    assert changed == {"1", "3"}
    assert by_id[f"{ref}-2"].effective_time.ToDatetime(UTC) == datetime(2025, 5, 1, tzinfo=UTC)


async def test_a_contact_is_found_by_an_e_mail_address(customer: ServiceUnderTest) -> None:
    """Whatever its case; an address that two contacts share says of neither."""
    ada = await customer.person("customer.*")
    mark = uuid4()
    own, shared = f"jo-{mark}@example.com", f"info-{mark}@example.com"
    emails = [contact_pb2.Contact(emails=[{"address": a}]).emails[0] for a in (shared, own)]
    jo = await contact(customer, ada, emails=emails)
    await contact(customer, ada, emails=emails[:1])
    run, issues = await imported(
        customer, ada,
        f"{own.upper()},EMAIL,surveys,GRANTED,PAPER,2025-05-01,",
        f"{shared},EMAIL,surveys,GRANTED,PAPER,2025-05-01,",
        f"nobody-{own},EMAIL,surveys,GRANTED,PAPER,2025-05-01,",
        lookup="contacts.emails",
    )  # fmt: skip
    assert run.created_count == 1
    assert issues == [
        (3, "contact", "REFERENCE_AMBIGUOUS"), (4, "contact", "REFERENCE_NOT_FOUND"),
    ]  # fmt: skip
    assert await holds(customer, ada, jo) == {(Consent.EMAIL, "surveys"): Consent.GRANTED}


async def test_a_file_adds_to_the_ledger_and_changes_nothing_in_it(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: no duplicate policy makes a file overwrite what was recorded."""
    ada = await customer.person("customer.*")
    ref = f"C-{uuid4()}"
    jo = await contact(customer, ada, external_id=ref)
    row = f"{ref},EMAIL,events,GRANTED,PAPER,2025-05-01,{ref}-1"
    await imported(customer, ada, row)
    before = await entries(customer, ada, jo)
    again, _ = await imported(customer, ada, row)
    assert (again.created_count, again.skipped_count) == (0, 1)
    forged = row.replace("GRANTED", "WITHDRAWN")
    run, issues = await imported(customer, ada, forged, policy=Policy.UPDATE)
    assert (run.updated_count, run.failed_count) == (0, 1)
    assert [reason for _, _, reason in issues] == ["APPEND_ONLY"]
    assert await entries(customer, ada, jo) == before


async def test_who_may_not_read_a_contact_imports_nothing_for_it(
    customer: ServiceUnderTest,
) -> None:
    ada = await customer.person(("customer.*", "OWN"))
    bob = await customer.person(("customer.*", "OWN"))
    ref = f"C-{uuid4()}"
    jo = await contact(customer, ada, external_id=ref)
    run, issues = await imported(customer, bob, f"{ref},EMAIL,events,GRANTED,PAPER,2025-05-01,")
    assert (run.created_count, issues) == (0, [(2, "contact", "REFERENCE_NOT_FOUND")])
    run, issues = await imported(customer, bob, f"{jo},EMAIL,events,GRANTED,PAPER,2025-05-01,")
    assert (run.created_count, issues) == (0, [(2, "contact", "REFERENCE_NOT_FOUND")])
    assert await entries(customer, ada, jo) == []


async def test_the_ledger_goes_out_within_the_contacts_scope(customer: ServiceUnderTest) -> None:
    ada = await customer.person(("customer.*", "OWN"))
    bob = await customer.person(("customer.*", "OWN"))
    jo = await contact(customer, ada, external_id=(ref := f"C-{uuid4()}"))
    await imported(customer, ada, f"{ref},POST,events,GRANTED,PAPER,2025-05-01,{ref}-1")
    stub: Any = export_pb2_grpc.ExportServiceStub(customer.channel)
    wanted = export_pb2.Export(
        resource="consents",
        filter=f'contact = "{jo}"',
        fields=["contact", "channel", "purpose", "decision", "effective_time"],
    )

    async def rows(person: Person) -> list[list[str]]:
        run = await stub.CreateExport(
            export_pb2.CreateExportRequest(export=wanted), metadata=person.metadata
        )

        async def ended() -> bool:
            request = export_pb2.GetExportRequest(name=run.name)
            return (await stub.GetExport(request, metadata=person.metadata)).HasField("end_time")

        await eventually(ended)
        request = export_pb2.DownloadExportRequest(name=run.name)
        pieces = stub.DownloadExport(request, metadata=person.metadata)
        data = b"".join([piece.data async for piece in pieces])
        return list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))[1:]

    assert await rows(ada) == [[jo, "POST", "events", "GRANTED", "2025-05-01T00:00:00Z"]]
    assert await rows(bob) == []
