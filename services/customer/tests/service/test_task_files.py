"""Tasks as files: what was done elsewhere comes in with its history, and goes out again."""

import csv
import io
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import export_pb2, import_pb2
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    export_pb2_grpc,
    import_pb2_grpc,
    task_pb2,
    task_pb2_grpc,
)
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

HEADER = "title,state,priority,due_time,close_time,related,external_id\n"


async def imported(
    customer: ServiceUnderTest,
    person: Person,
    content: str,
    mappings: Sequence[dict[str, str]] = (),
) -> Any:
    """An ended import of tasks; each column goes into the field of its name if nothing else is said."""
    stub: Any = import_pb2_grpc.ImportServiceStub(customer.channel)
    request = import_pb2.CreateUploadRequest()
    request.file.data = content.encode()
    upload = await stub.CreateUpload(iter([request]), metadata=person.metadata)
    wanted = import_pb2.Import(resource="tasks", upload=upload.name)
    header = content.split("\n", 1)[0].split(",")
    for mapping in mappings or [{"column": column, "field": column} for column in header]:
        wanted.mappings.add(**mapping)
    run = await stub.CreateImport(
        import_pb2.CreateImportRequest(**{"import": wanted}), metadata=person.metadata
    )

    async def ended() -> Any:
        found = await stub.GetImport(
            import_pb2.GetImportRequest(name=run.name), metadata=person.metadata
        )
        return found if found.HasField("end_time") else None

    return await eventually(ended)


async def exported(customer: ServiceUnderTest, person: Person, **fields: Any) -> bytes:
    """The file of an export of tasks."""
    stub: Any = export_pb2_grpc.ExportServiceStub(customer.channel)
    run = await stub.CreateExport(
        export_pb2.CreateExportRequest(export=export_pb2.Export(resource="tasks", **fields)),
        metadata=person.metadata,
    )

    async def ended() -> Any:
        found = await stub.GetExport(
            export_pb2.GetExportRequest(name=run.name), metadata=person.metadata
        )
        return found if found.HasField("end_time") else None

    await eventually(ended)
    request = export_pb2.DownloadExportRequest(name=run.name)
    pieces = stub.DownloadExport(request, metadata=person.metadata)
    return b"".join([piece.data async for piece in pieces])


async def test_tasks_come_in_with_their_history_and_go_out_again(
    customer: ServiceUnderTest,
) -> None:
    """Done long ago, about a record of another service, as of the time when it was done."""
    ada = await customer.person("*")
    about = f"opportunities/{await customer.know('opportunities')}"
    rows = [
        f"Send offer,DONE,HIGH,2024-03-01,2024-03-02T10:00:00Z,{about},T-1",
        "Call,OPEN,,2024-03-01,,,T-2",
        "Wrong,OPEN,,,2024-03-01,,T-3",
        "Nothing there,OPEN,,,,accounts/0190b0a0-0000-7000-8000-000000000000,T-4",
    ]
    run = await imported(customer, ada, HEADER + "\n".join(rows))
    assert (run.created_count, run.failed_count) == (2, 2)
    stub = task_pb2_grpc.TaskServiceStub(customer.channel)
    listed = await stub.ListTasks(
        task_pb2.ListTasksRequest(filter='external_id = "T-*"', order_by="external_id"),
        metadata=ada.metadata,
    )
    done, open_ = listed.tasks
    assert (done.state, list(done.related), done.closer) == (task_pb2.Task.DONE, [about], ada.name)
    assert open_.state == task_pb2.Task.OPEN
    events = await customer.events(done.name, count=2)
    assert [e.routing_key for e in events] == ["customer.task.created", "customer.task.completed"]
    assert events[1].effective_time.isoformat() == "2024-03-02T10:00:00+00:00"
    content = await exported(
        customer, ada, filter='external_id = "T-1"', fields=["title", "state", "related"]
    )
    (row,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert row == {"title": "Send offer", "state": "DONE", "related": about}


async def test_what_a_task_is_about_is_looked_up_column_by_column(
    customer: ServiceUnderTest,
) -> None:
    """A column for each kind of record: two columns may fill the same list."""
    ada = await customer.person("*")
    key = uuid4().hex[:8]
    stub = account_pb2_grpc.AccountServiceStub(customer.channel)
    acme = await stub.CreateAccount(
        account_pb2.CreateAccountRequest(
            account=account_pb2.Account(display_name="Acme", external_id=f"A-{key}")
        ),
        metadata=ada.metadata,
    )
    jo = await contact_pb2_grpc.ContactServiceStub(customer.channel).CreateContact(
        contact_pb2.CreateContactRequest(
            contact=contact_pb2.Contact(display_name=f"Jo {key}", account=acme.name)
        ),
        metadata=ada.metadata,
    )
    mappings = [
        {"column": "title", "field": "title"},
        {"column": "company", "field": "related", "lookup": "accounts.external_id"},
        {"column": "person", "field": "related", "lookup": "contacts.display_name"},
    ]
    content = f"title,company,person\n{key} both,A-{key},Jo {key}\n{key} one,A-{key},\n{key} none,,Nobody\n"
    run = await imported(customer, ada, content, mappings)
    assert (run.created_count, run.warning_count) == (3, 1)
    tasks = task_pb2_grpc.TaskServiceStub(customer.channel)
    listed = await tasks.ListTasks(
        task_pb2.ListTasksRequest(filter=f'title = "{key}*"', order_by="title"),
        metadata=ada.metadata,
    )
    assert [list(task.related) for task in listed.tasks] == [[acme.name, jo.name], [], [acme.name]]
    for lookup in ("users.email", "products.display_name"):
        mappings[1]["lookup"] = lookup
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await imported(customer, ada, content, mappings)
        assert details_of(refused.value)["fields"] == ["import.mappings[1].lookup"]
