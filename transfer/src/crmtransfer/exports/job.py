"""The job of an export: page by page, each with the progress in one transaction.

It may be run again at any time: it goes on behind the last page that is written. What its creator may
list at that moment is what a page shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from crmkit import contract
from crmkit.access import scope_condition, scope_parameters, service_principal
from crmkit.call import Call, Home, new_call
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.interceptors.errors import failure_of
from crmkit.jobs import is_transient
from crmkit.sensitive import hidden_in
from crmkit.statements import compile_statement
from crmtransfer.ended import tell_that_it_ended
from crmtransfer.exports import runs
from crmtransfer.exports.columns import Column, columns_of
from crmtransfer.exports.csv_writer import csv_bytes

PAGE_ROWS = 1000
_log = structlog.get_logger("crm.exports")


class Stopped(Exception):  # noqa: N818 - somebody cancelled the export, or another worker took it
    """The export is no longer ours to continue."""


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
        """Runs an export to its end, from wherever it stands.

        Raises:
            Exception: Only what a later attempt may not meet again; the rest ends the export.
        """
        run = await runs.find(call.home.database, UUID(arguments["export"]))
        if run is None or run.state not in runs.ACTIVE:
            return
        try:
            await self._run(call.home, run)
        except Stopped:
            return
        except Exception as error:
            if is_transient(error):
                raise
            failure = failure_of(error)
            if failure is None:
                _log.exception("export failed", run=run.name)
            message = failure.message if failure else "Something went wrong on our side."
            await self._end(call, run, "FAILED", message)
        else:
            await self._end(call, run, "SUCCEEDED")

    async def _end(self, call: Call, run: runs.Run, state: str, message: str | None = None) -> None:
        counts = await runs.end(call.tx, run, state, message)
        if counts is not None:
            await tell_that_it_ended(call, "export", run, state, counts)

    async def _run(self, home: Home, run: runs.Run) -> None:
        collection = self._collections[run.specification.resource]
        custom = home.custom_fields.of(collection.name)
        unseen = hidden_from(_call(home, collection, run), collection)
        columns = columns_of(collection, run.specification.fields, custom, unseen)
        work = _Work(home, collection, columns)
        total = await work.count(run)
        async with home.database.transaction() as tx:
            await runs.begin(tx, run.id, total)
        while run.page_token != "":
            run = await work.write_page(run)


def _call(home: Home, collection: Collection[Any], run: runs.Run) -> Call:
    """The creator listing, with today's rights and the limits of the key that began it."""
    by = service_principal(home.name)
    if run.creator is not None:
        by = home.rights.principal(run.creator).limited_to(run.row["limits"])
    call = new_call(home, by)
    call.method = list_rpc(collection)
    return call


@dataclass(frozen=True)
class _Work:
    home: Home
    collection: Collection[Any]
    columns: list[Column]

    async def count(self, run: runs.Run) -> int:
        """How many records there are to write."""
        call, collection = _call(self.home, self.collection, run), self.collection
        scope = collection.scope(call, collection.permission("list"))
        conditions = [
            collection.listing.condition(call, scope, run.specification.filter),
            scope_condition(collection.table, scope),
            collection.table.c.delete_time.is_(None),
        ]
        query = sa.select(sa.func.count()).select_from(collection.table)
        statement = compile_statement(query.where(*[c for c in conditions if c is not None]))
        row = await call.reader.fetch_one(statement, scope_parameters(call.principal, scope))
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
        rows = [self._row(self.collection.message(record)) for record in records]
        header = [[column.path for column in self.columns]] if run.page_token is None else []
        data = csv_bytes([*header, *rows])
        async with self.home.database.transaction() as tx:
            now = await runs.lock(tx, run.id)
            if now is None or now.state != "RUNNING" or now.page_token != run.page_token:
                raise Stopped
            await runs.advance(tx, run, data, len(rows), token)
            written = await runs.find(tx, run.id)
        assert written is not None  # we held its lock
        return written

    def _row(self, message: Any) -> list[str]:
        return [column.text(message) for column in self.columns]
