"""Declaring pictures wrong: the ledger forgets them at once, then the stores, then every CDN."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from copperplate.errors import StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import Condition
    from copperplate.ports import Cdn, Maintenance, ObjectStore

logger = logging.getLogger(__name__)

ROWS: Final = 500  # one statement stays well below the database's time limit
ALL: Final = 2**31 - 1


async def purge(
    ledger: Maintenance,
    condition: Condition,
    *,
    is_dry_run: bool,
    stores: Mapping[str, ObjectStore] = MappingProxyType({}),
    cdns: Sequence[Cdn] = (),
) -> dict[str, Any]:
    """Declare pictures wrong: the ledger forgets them at once, then the stores (by bucket), then every CDN.

    Answers `generations`, `images`, `bytes`. Every hit asks the ledger first, so no process has to be told. An object
    that a store does not remove is left to the next cleanup. Raises `LedgerUnavailable`, and purging again goes on;
    what the first CDN that failed says, once all were asked: its copies end with their hour.
    """
    sums, keys, objects = Counter[str](), list[str](), list[tuple[str, str]]()
    try:
        while True:
            # A real purge comes to its end in steps; a dry run counts everything in one.
            batch = await ledger.purge(condition, ALL if is_dry_run else ROWS, is_dry_run=is_dry_run)
            sums.update(generations=batch.generations, images=batch.images, bytes=batch.size_bytes)
            keys += batch.keys
            objects += batch.objects
            if is_dry_run or batch.generations < ROWS:
                return {name: sums[name] for name in ("generations", "images", "bytes")}
    finally:
        # Once, and after the ledger: what is asked for meanwhile must not come back. The objects before the CDNs,
        # which would else fetch them once more.
        if keys:
            await _remove_now(stores, objects)
            await _forget_copies(cdns, keys, objects)


async def _remove_now(stores: Mapping[str, ObjectStore], objects: Sequence[tuple[str, str]]) -> None:
    """Without the grace of other removals: nobody shall load what was declared wrong."""
    for bucket, store in stores.items():
        try:
            await store.remove([path for within, path in objects if within == bucket])
        except (StoreUnavailable, StoreMisconfigured) as error:
            logger.warning("purge: objects are left to the next cleanup: %s: %s", error.code, error)


async def _forget_copies(cdns: Sequence[Cdn], keys: Sequence[str], objects: Sequence[tuple[str, str]]) -> None:
    ends = await asyncio.gather(*(cdn.forget(keys, objects) for cdn in cdns), return_exceptions=True)
    failed = [end for end in ends if isinstance(end, BaseException)]
    for end in failed[1:]:
        logger.warning("purge: %s", end)
    if failed:
        raise failed[0]
