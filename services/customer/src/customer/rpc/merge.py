"""Merging accounts or contacts, and taking it back: the same for both."""

from typing import Any

from crmkit.call import Call
from customer.storage.merge_record import MERGE_RECORDS
from customer.storage.party import Parties
from customer.usecases.merge import merge
from customer.usecases.unmerge import unmerge


async def merge_into(call: Call, parties: Parties[Any], request: Any, answer: Any) -> Any:
    """Merges what a request names; fills the answer."""
    survivor, record = await merge(call, parties, request)
    getattr(answer, parties.contract.singular).CopyFrom(parties.message(survivor))
    answer.merge_record.CopyFrom(MERGE_RECORDS.message(record))
    return answer


async def take_back(call: Call, parties: Parties[Any], request: Any, answer: Any) -> Any:
    """Takes back the merge that a request names; fills the answer."""
    survivor, restored, record = await unmerge(call, parties, request)
    getattr(answer, parties.contract.singular).CopyFrom(parties.message(survivor))
    answer.restored.extend([parties.message(one) for one in restored])
    answer.merge_record.CopyFrom(MERGE_RECORDS.message(record))
    return answer
