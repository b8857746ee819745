"""What the law gives to persons, through the gateway: everything that is kept of them, and its end."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from crmkit.statements import compile_statement
from crmkit.testing import eventually

from .conftest import Client, RunningSystem

_COLUMNS = compile_statement(
    sa.text(
        "SELECT table_name, array_agg(column_name::text) FILTER (WHERE data_type = 'bytea')"
        " FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name"
    )
)

_LOOKED_TWICE = compile_statement(
    sa.text("UPDATE job SET due_time = now() WHERE kind = 'forget_erased_addresses'")
)


def files_with(crm: RunningSystem, marker: str) -> set[str]:
    """Every file of the data folder that holds the marker, but for the databases' own."""
    data_dir = Path(crm.system.options.data_dir)
    files = [
        path for path in data_dir.rglob("*") if "postgres" not in path.parts and path.is_file()
    ]
    return {str(f.relative_to(data_dir)) for f in files if marker.encode() in f.read_bytes()}


async def where_is(crm: RunningSystem, marker: str) -> set[str]:
    """Every table of every database, and every file of the data folder, that holds the marker."""
    found = files_with(crm, marker)
    for name, running in crm.system.running.items():
        for table, bytea in await running.database.fetch_all(_COLUMNS):
            holds = [f'"{table}"::text ILIKE :pattern']
            holds += [f"position(:marker IN {column}) > 0" for column in bytea or ()]
            query = sa.text(f'SELECT count(*) FROM "{table}" WHERE {" OR ".join(holds)}')
            parameters = {"pattern": f"%{marker}%", "marker": marker.encode()}
            row = await running.database.fetch_one(compile_statement(query), parameters)
            if row is not None and row[0]:
                found.add(f"{name}.{table}")
    return found


class Planted:
    """A private person, with a mark in every place that may hold what is personal."""

    def __init__(self, crm: RunningSystem) -> None:
        self.crm, self.admin = crm, crm.admin
        self.mark = f"zq{uuid4().hex[:16]}"
        self.email = f"{self.mark}@mail.example"
        self.contact = self.account = self.ticket = self.opportunity = self.reader = ""
        self.stays: list[str] = []

    async def keyed(self, path: str, body: Any) -> Any:
        """POST with an idempotency key, so that the answer is kept."""
        headers = {"idempotency-key": str(uuid4())}
        return Client._ok(await self.admin.http.post(path, json=body, headers=headers))

    async def plant(self) -> None:
        """Makes the person and all that is about them."""
        field = f"f{uuid4().hex[:10]}"
        for service, resource in (("customer", "contacts"), ("support", "tickets")):
            definition = {
                "resource": resource, "field_id": field, "display_name": "F", "type": "TEXT",
                "filterable": True,
            }  # fmt: skip
            await self.admin.post(f"/v1/{service}/customFields", definition)
        await self._person(field)
        await self._work(field)
        await self._elsewhere()
        await self._files()

    async def _person(self, field: str) -> None:
        mark = self.mark
        person = {
            "kind": "PERSON", "display_name": f"{mark} first", "legal_name": mark, "tax_id": mark,
            "emails": [{"address": f"old.{self.email}"}, {"address": self.email}],
            "external_id": mark, "external_ids": {"erp": mark}, "website": f"https://{mark}.example",
            "phones": [{"number": "+49 30 901820", "label": mark}],
            "addresses": [{"label": mark, "address_lines": [mark], "locality": mark}],
            "interests": [mark],
            "important_dates": [{"label": mark, "date": {"month": 5, "day": 4, "year": 1990}}],
        }  # fmt: skip
        self.account = (await self.keyed("/v1/accounts", person))["name"]
        found = await self.admin.get("/v1/contacts", filter=f'person_account = "{self.account}"')
        self.contact = found["contacts"][0]["name"]
        more = {
            "given_name": mark, "family_name": mark, "job_title": mark, "display_name": mark,
            "birthday": {"year": 1990, "month": 5, "day": 4}, "labels": {"tier": "gold"},
            "external_id": mark, "external_ids": {"shop": mark}, "custom_fields": {field: mark},
            "emails": [{"address": self.email}],
        }  # fmt: skip
        await self.admin.patch(f"/v1/{self.contact}", more)
        await self.admin.patch(f"/v1/{self.contact}", {"given_name": f"{mark}2"})
        consent = {
            "contact": self.contact, "channel": "EMAIL", "purpose": "newsletter", "decision": "GRANTED",
            "method": "PAPER", "place": mark, "evidence": mark,
        }  # fmt: skip
        self.consent = (await self.admin.post("/v1/consents", consent))["name"]

    async def _work(self, field: str) -> None:
        mark, about = self.mark, [self.contact]
        ticket = {
            "contact": self.contact, "subject": mark, "description": mark, "custom_fields": {field: mark},
        }  # fmt: skip
        self.ticket = (await self.keyed("/v1/tickets", ticket))["name"]
        deal = {"display_name": "A chair", "account": self.account, "next_step": mark}
        self.opportunity = (await self.admin.post("/v1/opportunities", deal))["name"]
        self.task = (
            await self.keyed("/v1/tasks", {"title": mark, "description": mark, "related": about})
        )["name"]
        of_ticket = {"title": f"Answer {mark}", "related": [self.ticket]}
        self.task_of_ticket = (await self.admin.post("/v1/tasks", of_ticket))["name"]
        interaction = {
            "kind": "EMAIL", "subject": mark, "body": mark, "participants": about,
            "participant_addresses": [f"{mark}@elsewhere.example"],
        }  # fmt: skip
        await self.admin.post("/v1/interactions", interaction)
        appointment = {
            "title": mark, "description": mark, "place": mark,
            "start_time": "2030-01-01T10:00:00Z", "end_time": "2030-01-01T11:00:00Z",
            "attendees": [{"contact": self.contact}, {"address": f"{mark}@elsewhere.example"}],
        }  # fmt: skip
        self.appointment = (await self.admin.post("/v1/appointments", appointment))["name"]
        for record in (self.contact, self.account, self.ticket, self.opportunity, self.task):
            me = (await self.crm.admin.get("/v1/users:current"))["name"]
            comment = {"text": f"Look, @{self.reader}: {mark} by {me}"}
            await self.keyed(f"/v1/{record}/comments", comment)
            await self._attach(record)

    async def _attach(self, record: str) -> None:
        answer = await self.admin.http.post(
            f"/v1/{record}/attachments",
            params={"file_name": f"{self.mark}.txt"},
            content=f"Dear {self.mark}".encode(),
            headers={"content-type": "text/plain", "idempotency-key": str(uuid4())},
        )
        assert answer.status_code == httpx.codes.OK, answer.text

    async def _elsewhere(self) -> None:
        """Texts of others that quote the address: they keep the rest."""
        note = {"kind": "NOTE", "body": f"They write as {self.email.upper()}."}
        self.stays.append((await self.keyed("/v1/interactions", note))["name"])
        reminder = {"title": f"Write to {self.email}, soon.", "description": self.email}
        self.stays.append((await self.keyed("/v1/tasks", reminder))["name"])
        await self.admin.patch(f"/v1/{self.stays[-1]}", {"description": f"About {self.email}"})
        view = {
            "resource": "contacts", "display_name": f"Mails of {self.email}",
            "filter": f'emails.address = "{self.email}"',
        }  # fmt: skip
        self.stays.append((await self.admin.post("/v1/savedViews", view))["name"])
        lead = {"display_name": self.mark, "emails": [{"address": self.email}], "need": self.mark}
        self.lead = (await self.admin.post("/v1/leads", lead))["name"]
        organisation = await self.admin.post("/v1/accounts", {"display_name": "Acme"})
        text = {"text": f"Their assistant is {self.email}"}
        await self.admin.post(f"/v1/{organisation['name']}/comments", text)

    async def _files(self) -> None:
        """An import with refused rows, an export, a bulk action: what was asked for, and the files."""
        sheet = (
            f"display_name,job_title\n{self.mark},clerk,{self.email}\n"  # a cell too many: refused
        )
        sent = await self.admin.http.post(
            "/v1/customer/uploads", content=sheet.encode(), headers={"content-type": "text/csv"}
        )
        wanted = {
            "resource": "contacts", "upload": sent.json()["name"],
            "mappings": [{"field": "display_name", "column": "display_name"}],
        }  # fmt: skip
        runs = [("imports", await self.admin.post("/v1/customer/imports", wanted))]
        chosen = {"resource": "contacts", "filter": f'emails.address = "{self.email}"'}
        runs.append(("exports", await self.admin.post("/v1/customer/exports", chosen)))
        runs.append(
            ("exports", await self.admin.post("/v1/customer/exports", {"resource": "tasks"}))
        )
        change = {
            "resource": "tasks", "action": "UPDATE", "filter": f'title = "{self.email}"',
            "values": {"description": f"To {self.email}"},
        }  # fmt: skip
        runs.append(("bulkActions", await self.admin.post("/v1/customer/bulkActions", change)))
        for _, run in runs:
            await self._ended(f"/v1/customer/{run['name']}")
        forgotten = b"name,mail\nX," + self.email.encode()
        await self.admin.http.post(
            "/v1/customer/uploads", content=forgotten, headers={"content-type": "text/csv"}
        )

    async def _ended(self, path: str) -> None:
        async def ended() -> bool:
            return "end_time" in await self.admin.get(path)

        await eventually(ended)


async def planted(crm: RunningSystem) -> Planted:
    """A person with everything, and somebody who is told of comments about them."""
    person = Planted(crm)
    person.reader, as_reader = await crm.person("Administrator")
    await person.plant()

    async def told() -> bool:
        listed = await as_reader.get("/v1/notifications")
        return len(listed.get("notifications", [])) >= 5

    await eventually(told)
    return person


async def archive_of(client: Client, contact: str) -> zipfile.ZipFile:
    made = await client.post(f"/v1/{contact}:exportPersonalData")

    async def there() -> Any:
        now = await client.get(f"/v1/{made['name']}")
        return now if now["state"] != "RUNNING" else None

    done = await eventually(there)
    assert done["state"] == "SUCCEEDED", done
    assert done["services"] == [
        "identity", "marketing", "reporting", "sales", "support", "workspace", "customer",
    ]  # fmt: skip
    answer = await client.http.get(f"/v1/{made['name']}:download")
    assert answer.headers["content-type"] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(answer.content))


async def erased(client: Client, contact: str) -> Any:
    asked = await client.post(f"/v1/{contact}:erase", {"reason": "Letter of 3 May"})

    async def ended() -> Any:
        now = await client.get(f"/v1/{asked['name']}")
        return now if now["state"] == "SUCCEEDED" else None

    return await eventually(ended)


async def test_a_person_gets_all_and_then_nothing_is_left(
    crm: RunningSystem, capfd: pytest.CaptureFixture[str]
) -> None:
    """INVARIANT: an erasure leaves nothing in any database, file or log; what is counted stays."""
    person = await planted(crm)
    places = await where_is(crm, person.mark)
    assert places > {
        "customer.contacts", "customer.accounts", "customer.revision", "customer.comment",
        "customer.attachment", "customer.idempotency", "customer.custom_field_value",
        "customer.tasks", "customer.interactions", "customer.appointments", "customer.consents",
        "customer.export", "customer.export_chunk", "customer.bulk_action",
        "customer.import_rejected_row", "customer.upload_chunk", "customer.contact_external_ids",
        "customer.account_external_ids", "support.tickets", "support.comment", "support.attachment",
        "support.idempotency", "sales.opportunities", "sales.leads", "sales.comment", "workspace.saved_views",
    }, places  # fmt: skip
    assert not {place for place in places if place.endswith((".event_log", ".outbox"))}

    packed = await archive_of(crm.admin, person.contact)
    assert packed.testzip() is None
    tickets = json.loads(packed.read("support/tickets.json"))
    assert [ticket["subject"] for ticket in tickets] == [person.mark]
    assert [lead["need"] for lead in json.loads(packed.read("sales/leads.json"))] == [person.mark]
    titles = {task["title"] for task in json.loads(packed.read("customer/tasks.json"))}
    assert titles == {person.mark, f"Answer {person.mark}"}
    files = [name for name in packed.namelist() if name.endswith(f"/{person.mark}.txt")]
    assert len(files) == 5
    assert {packed.read(name) for name in files} == {f"Dear {person.mark}".encode()}
    index = packed.read("index.html").decode()
    assert all(name in index for name in packed.namelist() if name != "index.html")

    shown = await crm.admin.post(
        f"/v1/{person.contact}:erase", {"reason": "Letter of 3 May", "validate_only": True}
    )
    assert shown["name"] == ""
    would = {
        p["service"]: {c["collection"]: c["count"] for c in p["counts"]} for p in shown["parts"]
    }
    assert would["support"] == {"tickets": "1"}
    assert would["sales"] == {"leads": "1", "opportunities": "1"}
    assert would["customer"]["tasks"] == "2"
    assert await where_is(crm, person.mark) >= places

    done = await erased(crm.admin, person.contact)
    assert {p["service"]: p["state"] for p in done["parts"]} == dict.fromkeys(
        ["customer", "identity", "marketing", "reporting", "sales", "support", "workspace"],
        "CONFIRMED",
    )
    left = await where_is(crm, person.mark)
    # Words of the search stand apart from whose they are; a loop forgets those that nobody has any more.
    # The erasure knows the addresses until every service has looked a second time.
    assert left <= {"customer.search_words", "customer.search_lost_words", "customer.erasures"}, (
        left
    )
    await crm.system.running["customer"].database.execute(_LOOKED_TWICE)

    async def nowhere() -> bool:
        return not await where_is(crm, person.mark)

    await eventually(nowhere)
    written = capfd.readouterr()
    assert person.mark not in written.out + written.err
    await _what_is_left(crm, person)


async def _what_is_left(crm: RunningSystem, person: Planted) -> None:
    """Shells that keep their places in figures, the proof of consent, and the rest of others' texts."""
    contact = await crm.admin.get(f"/v1/{person.contact}")
    assert contact["display_name"] == "[erased]"
    assert contact["erase_time"]
    assert not contact["labels"]
    ticket = await crm.admin.get(f"/v1/{person.ticket}")
    assert (ticket["contact"], ticket["subject"]) == (person.contact, "[erased]")
    opportunity = await crm.admin.get(f"/v1/{person.opportunity}")
    assert opportunity["display_name"] == "A chair"
    assert "next_step" not in opportunity
    consent = await crm.admin.get(f"/v1/{person.consent}")
    assert (consent["decision"], consent["purpose"]) == ("GRANTED", "newsletter")
    assert not {"place", "evidence"} & consent.keys()
    appointment = await crm.admin.get(f"/v1/{person.appointment}")
    assert [a["contact"] for a in appointment["attendees"]] == [person.contact]
    note = await crm.admin.get(f"/v1/{person.stays[0]}")
    assert note["body"] == "They write as [erased]."
    task = await crm.admin.get(f"/v1/{person.stays[1]}")
    assert (task["title"], task["description"]) == ("Write to [erased], soon.", "About [erased]")
    history = await crm.admin.get(f"/v1/{person.contact}/revisions")
    changes = [change for r in history["revisions"] for change in r["changes"]]
    assert any(change.get("erased") for change in changes)
    for verb, reason in (("undelete", "CONTACT_ERASED"), ("erase", "CONTACT_ERASED")):
        body = {"reason": "again"} if verb == "erase" else {}
        answer = await crm.admin.http.post(f"/v1/{person.contact}:{verb}", json=body)
        assert answer.json()["details"][0]["reason"] == reason, answer.text
    late = await crm.admin.http.post(
        "/v1/tickets", json={"subject": "S", "contact": person.contact}
    )
    assert late.status_code == httpx.codes.BAD_REQUEST
