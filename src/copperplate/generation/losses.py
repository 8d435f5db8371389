"""What the ledger believes to be stored and the store does not have: looked at before an address is handed out."""

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
    """Whether the object of an entry is gone, which the ledger then knows too.

    Where the store does not answer in time, the ledger's word stands: a CDN may serve the object all the same.
    Raises `StoreMisconfigured`, for an address that a setting closes is no better than one that is gone.
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
