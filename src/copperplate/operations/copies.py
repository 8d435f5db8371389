"""Copies of what the ledger has forgotten: objects in stores, answers in CDNs. Nobody shall load them any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from copperplate.errors import StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.ports import Cdn, ObjectStore

logger = logging.getLogger(__name__)


async def remove_now(stores: Mapping[str, ObjectStore], objects: Sequence[tuple[str, str]]) -> None:
    """Remove objects, (bucket, path), without the grace of other removals; what fails is left to the next cleanup."""
    for bucket, store in stores.items():
        try:
            await store.remove([path for within, path in objects if within == bucket])
        except (StoreUnavailable, StoreMisconfigured) as error:
            logger.warning("purge: objects are left to the next cleanup: %s: %s", error.code, error)


async def forget_copies(cdns: Sequence[Cdn], keys: Sequence[str], objects: Sequence[tuple[str, str]]) -> None:
    """Have every CDN drop its copies of these generations; raises what the first one says that failed."""
    ends = await asyncio.gather(*(cdn.forget(keys, objects) for cdn in cdns), return_exceptions=True)
    failed = [end for end in ends if isinstance(end, BaseException)]
    for end in failed[1:]:
        logger.warning("purge: %s", end)
    if failed:
        raise failed[0]
