"""The search index beside the requests: filled from what is there, rid of words that nobody has."""

import asyncio
from contextlib import suppress

import psycopg
import structlog

from crmkit.call import Home
from crmkit.errors import Failure
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.search_upkeep import fill, forget_lost_words

SEARCHED = (ACCOUNTS, CONTACTS)
_SECONDS_BETWEEN_ROUNDS = 60.0
_ROUNDS_BETWEEN_FILLS = 60  # once more for what older code wrote while replicas were replaced
_log = structlog.get_logger("crm.search")


async def tend_search(home: Home, stop: asyncio.Event) -> None:
    """Fills the index at the start and every hour, and forgets lost words every minute."""
    rounds = 0
    while not stop.is_set():
        with suppress(psycopg.Error, Failure):  # the database is away: the next round tries again
            if rounds % _ROUNDS_BETWEEN_FILLS == 0:
                for collection in SEARCHED:
                    if filled := await fill(home, collection):
                        _log.info("search index filled", kind=collection.name, records=filled)
            rounds += 1
            while not stop.is_set() and await forget_lost_words(home):
                pass
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_BETWEEN_ROUNDS):
                await stop.wait()
