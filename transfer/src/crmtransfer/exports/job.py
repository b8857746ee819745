"""The job of an export: page by page, each with the progress in one transaction.

It may be run again at any time: it goes on behind the last page that is written. What its creator may
list at that moment is what a page shows.
"""

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import export_pb2
from crmkit import contract
from crmkit.call import Call, Home, new_call
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.sensitive import conceal, hidden_in
from crmkit.statements import compile_statement
from crmtransfer.exports import runs, vcards, workbook
from crmtransfer.exports.columns import Column, columns_of
from crmtransfer.exports.csv_writer import csv_bytes
from crmtransfer.running import ACTIVE, Stopped, creator, finish

PAGE_ROWS = 1000


def list_rpc(collection: Collection[Any]) -> Method | None:
    """The List method of a collection; None if it has none."""
    resource = collection.contract
    service = contract.services()[f"crm.{resource.service}.v1.{resource.noun}Service"]
    permission = collection.permission("list")
    return next((m for m in contract.methods_of(service) if m.permission == permission), None)


def hidden_from(call: Call, collection: Collection[Any]) -> frozenset[str]:
    """The fields that a caller may not see in every record that they may list."""
    scope = collection.scope(call, collection.permission("list"))
    return hidden_in(call.principal, collection.contract, scope)


class ExportJob:
    """Handles the job kind `export` of one service."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._collections = collections

    async def __call__(self, call: Call, arguments: dict[str, Any]) -> None:
        """Runs an export to its end, from wherever it stands."""
        run = await runs.find(call.home.database, UUID(arguments["export"]))
        if run is None or run.state not in ACTIVE:
            return
        await finish(call, "export", run, self._run(call, run), runs.end)

    async def _run(self, call: Call, run: runs.Run) -> None:
        home = call.home
        collection = self._collections[run.specification.resource]
        custom = home.custom_fields.of(collection.name)
        unseen = hidden_from(_call(home, collection, run), collection)
        columns = columns_of(collection, run.specification.fields, custom, unseen)
        work = _Work(home, collection, columns, unseen, self._collections)
        total = await work.count(run)
        if run.is_workbook:
            workbook.check_count(total)
        async with home.database.transaction() as tx:
            await runs.begin(tx, run.id, total)
        while run.page_token != "":
            run = await work.write_page(run)
        if run.is_workbook:
            count, size = await workbook.make(home, run, columns)
            await runs.replace_draft(call.tx, run, count, size)


def _call(home: Home, collection: Collection[Any], run: runs.Run) -> Call:
    """The creator listing, with today's rights and the limits of the key that began it."""
    call = new_call(home, creator(home, run.row))
    call.method = list_rpc(collection)
    return call


@dataclass(frozen=True)
class _Work:
    home: Home
    collection: Collection[Any]
    columns: list[Column]
    hidden: frozenset[str]
    all_collections: Mapping[str, Collection[Any]]

    async def count(self, run: runs.Run) -> int:
        """How many records there are to write."""
        call, collection = _call(self.home, self.collection, run), self.collection
        scope = collection.scope(call, collection.permission("list"))
        conditions, parameters = collection.listing.matching(call, scope, run.specification.filter)
        query = sa.select(sa.func.count()).select_from(collection.table).where(*conditions)
        row = await call.reader.fetch_one(compile_statement(query), parameters)
        return int(row[0]) if row else 0

    async def write_page(self, run: runs.Run) -> runs.Run:
        """Writes the next page; answers the export as it stands then. Raises Stopped."""
        request = SimpleNamespace(
            filter=run.specification.filter,
            order_by=run.specification.order_by,
            show_deleted=False,
            page_token=run.page_token or "",
        )
        call = _call(self.home, self.collection, run)
        records, token = await self.collection.list_page(call, request, PAGE_ROWS)
        messages = [self.collection.message(record) for record in records]
        for message in messages:  # a shared record may hide what the others show
            conceal(call.principal, message)
        if run.specification.format == export_pb2.Export.VCARD:
            names = await vcards.organizations(call, self.all_collections, messages)
            data = vcards.cards(messages, names, self.hidden)
        else:
            data = self._table(run, messages)
        async with self.home.database.transaction() as tx:
            now = await runs.lock(tx, run.id)
            if now is None or now.state != "RUNNING" or now.page_token != run.page_token:
                raise Stopped
            await runs.advance(tx, run, data, len(messages), token, draft=run.is_workbook)
            written = await runs.find(tx, run.id)
        assert written is not None  # we held its lock
        return written

    def _table(self, run: runs.Run, messages: Sequence[Any]) -> bytes:
        header = [[column.path for column in self.columns]] if run.page_token is None else []
        rows = [[column.text(message) for column in self.columns] for message in messages]
        if run.is_workbook:
            for row in rows:
                workbook.check_row(self.columns, row)
        mark = BOM_UTF8 if header and run.specification.byte_order_mark else b""
        return mark + csv_bytes([*header, *rows])
