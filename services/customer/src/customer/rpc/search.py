"""Searching accounts and contacts."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import search_pb2
from crmkit.call import Call
from crmkit.paging import Order, decode_token, encode_token, fingerprint, page_size
from crmkit.sensitive import hidden
from customer.domain.search_entry import CUSTOM, texts_of
from customer.domain.search_matches import Match, explain
from customer.domain.search_query import Query, parse_query
from customer.storage.search_query import MOST
from customer.usecases.search_customers import SEARCHED, Found, Hit, eyes_of, search

# What a token says of the last result: how well it answers, its name, itself.
_ORDERS = [
    Order("score", sa.column("score", sa.Double), descending=True),
    Order("name", sa.column("name", sa.Text), descending=False),
    Order("id", sa.column("id", sa.Uuid), descending=False),
]


class SearchService:
    """The one method."""

    async def Search(
        self, request: search_pb2.SearchRequest, call: Call
    ) -> search_pb2.SearchResponse:
        """A page of what answers a query, the best first."""
        query = parse_query(request.query, call.organization.region_code)
        eyes = eyes_of(call, request.kinds)
        bound_to = fingerprint("search", request.query, *request.kinds)
        size = page_size(request.page_size, maximum=MOST)
        last = decode_token(request.page_token, bound_to, _ORDERS) if request.page_token else None
        found = await search(call, eyes, query)
        hits = found.best()
        if last is not None:
            hits = [hit for hit in hits if hit.place > _place(last)]
        page = hits[:size]
        answer = search_pb2.SearchResponse(results=await _results(call, query, found, page))
        if len(hits) > size:
            end = page[-1]
            answer.next_page_token = encode_token([end.score, end.name, end.id], bound_to)
        return answer


def _place(values: Sequence[Any]) -> tuple[float, str, UUID]:
    score, name, id_ = values
    return -score, name, id_


async def _results(
    call: Call, query: Query, found: Found, hits: Sequence[Hit]
) -> list[search_pb2.SearchResult]:
    records: dict[UUID, Any] = {}
    for kind, collection in SEARCHED.items():
        ids = [hit.id for hit in hits if hit.kind == kind]
        if ids:
            permission = collection.permission("list")
            got = await collection.get_many(call, ids, permission=permission)
            records |= {record.id: record for record in got}
    return [_result(call, query, found, hit, records[hit.id]) for hit in hits if hit.id in records]


def _result(
    call: Call, query: Query, found: Found, hit: Hit, record: Any
) -> search_pb2.SearchResult:
    collection = SEARCHED[hit.kind]
    unseen = hidden(call.principal, collection.contract, record.owner, record.team)
    custom = call.home.custom_fields.of(hit.kind).by_id
    texts = [
        text
        for text in texts_of(record)
        if text.field not in unseen
        and (
            not text.field.startswith(CUSTOM) or custom[text.field.removeprefix(CUSTOM)].filterable
        )
    ]
    matches = explain(query, texts, found.meant, record.sort_name or "")
    return search_pb2.SearchResult(
        record=collection.codec.name_of(hit.id),
        kind=hit.kind,
        display_name=record.display_name or "",
        score=hit.score,
        matches=[_match(match) for match in matches],
    )


def _match(match: Match) -> search_pb2.SearchMatch:
    message = search_pb2.SearchMatch(field=match.field, value=match.value)
    for start, length in match.highlights:
        message.highlights.add(start=start, length=length)
    return message
