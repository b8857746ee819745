"""Lists of documents: of a record, or of all records of a kind that the caller may read."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import document_pb2
from crmattachments import rows
from crmattachments.rows import COLUMNS
from crmkit.call import Call
from crmkit.children.parents import Parents
from crmkit.children.tables import ATTACHMENT
from crmkit.filters import FilterField, compile_filter
from crmkit.paging import Order, parse_order_by
from crmkit.row_pages import page_of_rows

_ALL = "/-"  # the name of no record: all of a kind (AIP-159)
_c = ATTACHMENT.c
# What differs from the version's own, under the names of the document.
_SHOWN = {
    "document_title": sa.func.coalesce(_c.title, _c.file_name),
    "document_made": sa.func.coalesce(_c.document_create_time, _c.create_time),
    "document_changed": sa.func.coalesce(_c.document_update_time, _c.update_time),
    "document_id": sa.func.coalesce(_c.document, _c.id),
}
_KINDS = {
    "title": ("document_title", "text"),
    "folder": ("folder", "text"),
    "tags": ("tags", "texts"),
    "expire_time": ("expire_time", "timestamp"),
    "file_name": ("file_name", "text"),
    "content_type": ("content_type", "text"),
    "size_bytes": ("size_bytes", "integer"),
    "version_number": ("version_number", "integer"),
    "create_time": ("document_made", "timestamp"),
    "update_time": ("document_changed", "timestamp"),
}
_NEWEST_FIRST = [Order("id", ATTACHMENT.c.id, descending=True)]


async def page_of_documents(
    call: Call, parents: Parents, request: document_pb2.ListDocumentsRequest
) -> tuple[list[dict[str, Any]], str]:
    """The current versions of the documents of a page, and the token of the next.

    Raises:
        InvalidArgument: `INVALID_FILTER`, `INVALID_ORDER_BY` or `INVALID_PAGE_TOKEN`.
        NotFound: There is no such record within the caller's scope.
        PermissionDenied: The caller may read no record of the kind.
    """
    parameters: dict[str, object] = {}
    query = sa.select(*COLUMNS, *(shown.label(name) for name, shown in _SHOWN.items()))
    if request.parent.endswith(_ALL):
        collection = parents.collection(request.parent, "parent")
        scope = collection.scope(call, collection.permission("get"))
        conditions, found = collection.listing.matching(call, scope, "")
        parameters |= found
        records = collection.table
        query = query.join(records, records.c.id == _c.record).where(*conditions)
    else:
        parent = await parents.find(call, request.parent)
        query = query.where(_c.record.in_(parent.records))
    query = query.where(_c.is_current)
    if not request.show_deleted:
        query = query.where(_c.delete_time.is_(None))
    listed = query.subquery("documents")
    fields = {name: FilterField(listed.c[column], kind) for name, (column, kind) in _KINDS.items()}
    wanted = compile_filter(request.filter, fields, zone=call.organization.zone)
    page = sa.select(*listed.c).where(*([wanted] if wanted is not None else []))
    ordered = {name: field.column for name, field in fields.items() if field.kind != "texts"}
    orders = parse_order_by(request.order_by, {**ordered, "id": listed.c.document_id})
    bound_to = "\0".join(
        ["documents", request.parent, request.filter, request.order_by, str(request.show_deleted)]
    )
    found_rows, token = await page_of_rows(
        call, page, orders, request, bound_to, parameters=parameters
    )
    return [rows.values(row[: len(COLUMNS)]) for row in found_rows], token


async def page_of_versions(
    call: Call, document: UUID, request: document_pb2.ListDocumentVersionsRequest
) -> tuple[list[dict[str, Any]], str]:
    """The versions of a page, newest first, and the token of the next."""
    query = sa.select(*COLUMNS).where(sa.or_(_c.id == document, _c.document == document))
    if not request.show_deleted:
        query = query.where(_c.delete_time.is_(None))
    bound_to = f"versions/{document}/{request.show_deleted}"
    found, token = await page_of_rows(call, query, _NEWEST_FIRST, request, bound_to)
    return [rows.values(row) for row in found], token
