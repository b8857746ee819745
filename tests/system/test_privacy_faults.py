"""Erasures and archives while services are away, and what others write meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest_asyncio
import sqlalchemy as sa

from crmkit.ids import uuid5_of
from crmkit.personal.erasure import AGAIN, JOB
from crmkit.runner import RunningService
from crmkit.statements import compile_statement
from crmkit.testing import eventually

from .conftest import Client, RunningSystem, started


@pytest_asyncio.fixture(scope="module")
async def own() -> AsyncIterator[RunningSystem]:
    """A system whose services the tests may stop."""
    with TemporaryDirectory(prefix="crm-privacy-") as folder:
        async with started(Path(folder), amqp_url="") as running:
            yield running


@asynccontextmanager
async def away(crm: RunningSystem, name: str) -> AsyncIterator[None]:
    """A service is down as long as the block lasts."""
    old = crm.system.running[name]
    await old.stop(drain_seconds=0)
    try:
        yield
    finally:
        new = RunningService(old.service, old.settings, old.roles)
        await new.start()
        await new.work()
        await new.ready()
        crm.system.running[name] = new


async def contact(client: Client, mark: str, **more: Any) -> str:
    body = {"display_name": mark, "emails": [{"address": f"{mark}@mail.example"}], **more}
    return str((await client.post("/v1/contacts", body))["name"])


async def ticket(client: Client, subject: str, of: str) -> str:
    async def made() -> str:  # support hears of the contact first
        answer = await client.http.post("/v1/tickets", json={"subject": subject, "contact": of})
        return str(answer.json()["name"]) if answer.status_code == httpx.codes.OK else ""

    return await eventually(made)


async def parts_of(client: Client, erasure: str) -> dict[str, str]:
    now = await client.get(f"/v1/{erasure}")
    return {part["service"]: part["state"] for part in now["parts"]}


async def ended(client: Client, erasure: str) -> Any:
    async def look() -> Any:
        now = await client.get(f"/v1/{erasure}")
        return now if now["state"] == "SUCCEEDED" else None

    return await eventually(look, timeout=60)


async def ask(crm: RunningSystem, service: str, query: str, **parameters: Any) -> list[Any]:
    statement = compile_statement(sa.text(query))
    return await crm.system.running[service].database.fetch_all(statement, parameters)


async def test_a_service_that_is_down_is_named_and_waited_for(own: RunningSystem) -> None:
    """INVARIANT: archive and erasure wait for the missing service, and come right when it is back."""
    admin, mark = own.admin, f"zq{uuid4().hex[:12]}"
    person = await contact(admin, mark)
    asked = await ticket(admin, mark, person)
    async with away(own, "support"):
        archive = await admin.post(f"/v1/{person}:exportPersonalData")

        async def waits() -> bool:
            return bool((await admin.get(f"/v1/{archive['name']}"))["waits_for"] == "support")

        await eventually(waits)
        shown = await admin.post(f"/v1/{person}:erase", {"reason": "R", "validate_only": True})
        states = {part["service"]: part["state"] for part in shown["parts"]}
        assert (states["support"], states["customer"]) == ("UNREACHABLE", "UNREACHABLE")
        erasure = (await admin.post(f"/v1/{person}:erase", {"reason": "Request 1"}))["name"]

        async def others() -> bool:
            confirmed = {
                s for s, state in (await parts_of(admin, erasure)).items() if state == "CONFIRMED"
            }
            return confirmed >= {"identity", "marketing", "sales", "reporting"}

        await eventually(others)
        # Nothing is lost meanwhile: who has not erased must still be able to find the person.
        waiting = await parts_of(admin, erasure)
        assert (waiting["support"], waiting["customer"]) == ("WAITING", "WAITING")
        assert (await admin.get(f"/v1/{person}"))["display_name"] == mark
        again = await admin.http.post(f"/v1/{person}:erase", json={"reason": "R"})
        assert again.json()["details"][0]["reason"] == "ERASURE_RUNNING"
        back = await admin.http.post(f"/v1/{person}:undelete", json={})
        assert back.json()["details"][0]["reason"] == "ERASURE_RUNNING"
    done = await ended(admin, erasure)
    assert {part["state"] for part in done["parts"]} == {"CONFIRMED"}

    async def emptied() -> bool:  # the gateway hears some seconds later that the service is back
        answer = await admin.http.get(f"/v1/{asked}")
        return answer.status_code == httpx.codes.OK and answer.json()["subject"] == "[erased]"

    await eventually(emptied)
    gone = await admin.get(f"/v1/{archive['name']}")
    assert gone["state"] in {"FAILED", "EXPIRED"}
    refused = await admin.http.get(f"/v1/{archive['name']}:download")
    assert refused.status_code == httpx.codes.BAD_REQUEST


async def test_what_was_written_meanwhile_goes_with_a_second_look(own: RunningSystem) -> None:
    """INVARIANT: a request that had begun before leaves nothing; a repeat changes nothing."""
    admin, mark = own.admin, f"zq{uuid4().hex[:12]}"
    person = await contact(admin, mark)
    first = await ticket(admin, mark, person)
    late = (await admin.post("/v1/tickets", {"subject": mark}))["name"]
    erasure = (await admin.post(f"/v1/{person}:erase", {"reason": "Request 2"}))["name"]
    await ended(admin, erasure)
    id_, of = UUID(erasure.partition("/")[2]), person.partition("/")[2]
    update = (
        "UPDATE tickets SET contact = CAST(:of AS uuid) WHERE id = CAST(:id AS uuid) RETURNING id"
    )
    await ask(own, "support", update, of=of, id=late.partition("/")[2])

    async def promised() -> bool:
        query = "UPDATE job SET due_time = now() WHERE id = CAST(:id AS uuid) RETURNING id"
        return bool(await ask(own, "support", query, id=str(uuid5_of(id_, AGAIN))))

    await eventually(promised)

    async def looked() -> bool:
        return bool((await admin.get(f"/v1/{late}"))["subject"] == "[erased]")

    await eventually(looked)
    before = await admin.get(f"/v1/{first}"), await admin.get(f"/v1/{erasure}")
    # The event once more, as after a restore of the consumer's database.
    insert = (
        "INSERT INTO job (id, kind, arguments, state, due_time, attempts, failures) VALUES"
        " (CAST(:id AS uuid), :kind, jsonb_build_object('erasure', CAST(:erasure AS text)),"
        " 'QUEUED', now(), 0, 0) RETURNING id"
    )
    job = str(uuid5_of(id_, JOB))
    await ask(own, "support", insert, id=job, kind=JOB, erasure=str(id_))

    async def repeated() -> bool:
        query = "SELECT count(*) FROM event_log WHERE subject = :subject"
        ((count,),) = await ask(own, "support", query, subject=erasure)
        return bool(count == 2)

    await eventually(repeated)
    assert (await admin.get(f"/v1/{first}"), await admin.get(f"/v1/{erasure}")) == before


async def test_an_address_that_others_have_too_is_left_alone(own: RunningSystem) -> None:
    """INVARIANT: erasing one of a couple takes nothing from the other."""
    admin, mark = own.admin, f"zq{uuid4().hex[:12]}"
    shared = [{"address": f"{mark}@mail.example"}]
    one = await contact(admin, f"{mark}-a", emails=shared)
    other = await contact(admin, f"{mark}-b", emails=shared)
    note = await admin.post("/v1/tasks", {"title": f"Write to {mark}@mail.example"})
    await admin.post(f"/v1/{one}:erase", {"reason": "Request 3"})

    async def erased() -> bool:
        return "erase_time" in await admin.get(f"/v1/{one}")

    await eventually(erased)
    assert (await admin.get(f"/v1/{other}"))["emails"][0]["address"] == f"{mark}@mail.example"
    assert mark in (await admin.get(f"/v1/{note['name']}"))["title"]


async def test_a_deleted_contact_is_erased_too_and_stays_in_the_trash(own: RunningSystem) -> None:
    """The trash is no hiding place, and what is left does not come back."""
    admin, mark = own.admin, f"zq{uuid4().hex[:12]}"
    person = await contact(admin, mark)
    deleted = await admin.http.delete(f"/v1/{person}")
    assert deleted.status_code == httpx.codes.OK
    await ended(admin, (await admin.post(f"/v1/{person}:erase", {"reason": "R"}))["name"])
    now = await admin.get(f"/v1/{person}")
    assert (now["display_name"], now["delete_time"]) == ("[erased]", deleted.json()["delete_time"])


async def test_only_who_may_and_who_asked(own: RunningSystem) -> None:
    """INVARIANT: both rights have to be named; an archive is for whoever asked; both are in the audit log."""
    admin, mark = own.admin, f"zq{uuid4().hex[:12]}"
    person = await contact(admin, mark)
    _, manager = await own.person("Manager")
    _, colleague = await own.person("Administrator")
    for verb, body in (("erase", {"reason": "R"}), ("exportPersonalData", {})):
        answer = await manager.http.post(f"/v1/{person}:{verb}", json=body)
        assert answer.status_code == httpx.codes.FORBIDDEN, answer.text
    empty = await admin.http.post(f"/v1/{person}:erase", json={"reason": " "})
    assert empty.status_code == httpx.codes.BAD_REQUEST
    (bad,) = (d for d in empty.json()["details"] if "field_violations" in d)
    assert [violation["field"] for violation in bad["field_violations"]] == ["reason"]
    stale = await admin.http.post(f"/v1/{person}:erase", json={"reason": "R", "etag": '"9"'})
    assert stale.json()["details"][0]["reason"] == "ETAG_MISMATCH"
    archive = await admin.post(f"/v1/{person}:exportPersonalData")

    async def there() -> bool:
        return bool((await admin.get(f"/v1/{archive['name']}"))["state"] == "SUCCEEDED")

    await eventually(there)
    for path in (archive["name"], f"{archive['name']}:download"):
        hidden = await colleague.http.get(f"/v1/{path}")
        assert hidden.status_code == httpx.codes.NOT_FOUND
    assert (await admin.http.get(f"/v1/{archive['name']}:download")).status_code == httpx.codes.OK
    late = "UPDATE job SET due_time = now() WHERE kind = 'remove_personal_data' RETURNING id"
    await ask(own, "customer", late)

    async def removed() -> bool:
        return bool((await admin.get(f"/v1/{archive['name']}"))["state"] == "EXPIRED")

    await eventually(removed)
    over = await admin.http.get(f"/v1/{archive['name']}:download")
    assert over.json()["details"][0]["reason"] == "EXPORT_EXPIRED"

    async def logged() -> bool:
        listed = await admin.get("/v1/auditEntries", page_size=200)
        actions = {(e["action"].rpartition(".")[2], e["outcome"]) for e in listed["audit_entries"]}
        return actions >= {
            ("ExportPersonalData", "SUCCEEDED"), ("DownloadPersonalDataExport", "SUCCEEDED"),
            ("EraseContact", "REFUSED"),
        }  # fmt: skip

    await eventually(logged)
