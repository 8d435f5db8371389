"""Finds entries whose object is gone from the store, before their address is handed out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from copperplate.errors import StoreUnavailable
from copperplate.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Entry
    from copperplate.ports import Ledger, ObjectStore

logger = logging.getLogger(__name__)

# How long a hit waits for the store to say whether the object is there.
EXISTS_SECONDS: Final = 2.0
# A lost picture is made anew; if the store loses the new one too, the store is at fault.
FINDS: Final = 3
STORE_LOSES: Final = "the object store loses objects"


async def find_kept_object(
    find: Callable[[], Awaitable[LookupResult]], is_lost: Callable[[Entry], Awaitable[bool]]
) -> LookupResult:
    """What is found, with its object: hits are verified by `is_lost`; a picture that was just made is not checked.

    Raises `StoreUnavailable` where the store loses what is made anew, and what `find` raises.
    """
    for _ in range(FINDS):
        found = await find()
        if found.outcome is not Outcome.HIT or not await is_lost(found.entry):
            return found
    raise StoreUnavailable(STORE_LOSES)


async def is_lost(entry: Entry, *, store: ObjectStore, ledger: Ledger) -> bool:
    """Whether the object of an entry is gone; if so, the loss is reported to the ledger.

    False where the store does not answer in time: a CDN may still serve the object. Raises `StoreMisconfigured`
    where a setting closes the address.
    """
    try:
        async with asyncio.timeout(EXISTS_SECONDS):
            await store.check_addresses()
            if await store.exists(entry.path):
                return False
    except (StoreUnavailable, TimeoutError) as error:
        logger.warning("bucket %s does not say whether an object is there: %s", store.bucket, error or "no answer")
        return False
    logger.warning("a stored object is gone: key=%s", entry.generation_key[:12])
    await ledger.report_missing(entry)
    return True
