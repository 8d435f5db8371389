"""Finds entries whose object is gone from the store, before their address is handed out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from copperplate.errors import StoreUnavailable

if TYPE_CHECKING:
    from copperplate.model import Entry
    from copperplate.ports import Ledger, ObjectStore

logger = logging.getLogger(__name__)

# How long a hit waits for the store to say whether the object is there.
EXISTS_SECONDS: Final = 2.0


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
