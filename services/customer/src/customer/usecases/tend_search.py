"""The search index beside the requests: filled from what is there, rid of words that nobody has."""

import asyncio
from contextlib import suppress

import psycopg
import structlog

from crmkit.call import Home
from crmkit.errors import Failure
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.search_upkeep import drop_gone, fill, forget_lost_words

SEARCHED = (ACCOUNTS, CONTACTS)
_SECONDS_BETWEEN_ROUNDS = 60.0
_ROUNDS_BETWEEN_FILLS = 10  # again, for what code wrote that knows nothing of the index
_log = structlog.get_logger("crm.search")


async def tend_search(home: Home, stop: asyncio.Event) -> None:
    """Mends the index at the start and every ten minutes, and forgets lost words every minute."""
    rounds = 0
    while not stop.is_set():
        with suppress(psycopg.Error, Failure):  # the database is away: the next round tries again
            if rounds % _ROUNDS_BETWEEN_FILLS == 0:
                for collection in SEARCHED:
                    dropped = await drop_gone(home, collection)
                    filled = await fill(home, collection)
                    if dropped or filled:
                        kind = collection.name
                        _log.info("search index mended", kind=kind, filled=filled, dropped=dropped)
            rounds += 1
            while not stop.is_set() and await forget_lost_words(home):
                pass
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_BETWEEN_ROUNDS):
                await stop.wait()
