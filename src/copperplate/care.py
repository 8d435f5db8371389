"""Tidying up: what is old goes, what is broken off is closed, and dead objects leave the store.

Any number of runs may overlap: rows are claimed, and removing an object twice is removing it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from copperplate.ports import LedgerCare, ObjectStore

logger = logging.getLogger(__name__)

KEEP: Final = timedelta(days=30)
ROWS: Final = 500  # one statement stays well below the database's time limit
OBJECTS: Final = 100  # are removed well within the five minutes they are claimed for
ROUNDS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What one run removed. Not complete: the bound of a run was reached, or a store did not answer."""

    images: int
    generations: int
    swept: int
    objects: int
    is_complete: bool


async def clean(
    ledger: LedgerCare, stores: Iterable[ObjectStore], *, keep: timedelta = KEEP, rounds: int = ROUNDS
) -> Cleaned:
    """Remove what was not served for `keep`, close what was broken off, empty the bin.

    Each step takes at most `rounds` statements. Raises `LedgerUnavailable`; what was done stays done.
    """
    images, bare, entries_done = await _clean_entries(ledger, keep, rounds)
    swept, sweeping_done = await _sweep(ledger, rounds)
    done, generations_done = await _clean_generations(ledger, rounds)
    objects, objects_done = await _remove_objects(ledger, {store.bucket: store for store in stores}, rounds)
    return Cleaned(
        images=images,
        generations=bare + done,
        swept=swept,
        objects=objects,
        is_complete=entries_done and sweeping_done and generations_done and objects_done,
    )


async def _clean_entries(ledger: LedgerCare, keep: timedelta, rounds: int) -> tuple[int, int, bool]:
    images = generations = 0
    for _ in range(rounds):
        gone = await ledger.cleanup_entries(keep, ROWS)
        if not gone["images"] and not gone["generations"]:
            return images, generations, True
        images += gone["images"]
        generations += gone["generations"]
    return images, generations, False


async def _sweep(ledger: LedgerCare, rounds: int) -> tuple[int, bool]:
    swept = 0
    for _ in range(rounds):
        closed = await ledger.sweep(ROWS)
        swept += closed
        if closed < ROWS:
            return swept, True
    return swept, False


async def _clean_generations(ledger: LedgerCare, rounds: int) -> tuple[int, bool]:
    generations = 0
    for _ in range(rounds):
        gone = (await ledger.cleanup_generations(ROWS))["generations"]
        generations += gone
        if gone < ROWS:
            return generations, True
    return generations, False


async def _remove_objects(ledger: LedgerCare, stores: dict[str, ObjectStore], rounds: int) -> tuple[int, bool]:
    """Store first, row second: a crash between the two repeats the removal, it never loses an object."""
    objects = 0
    for _ in range(rounds):
        claimed = await ledger.claim_discarded(OBJECTS)
        if not claimed:
            return objects, True
        removed, is_whole = await _remove(claimed, stores)
        if removed:
            objects += await ledger.forget_discarded(removed)
        if not is_whole:
            return objects, False
    return objects, False


async def _remove(claimed: Sequence[tuple[int, str, str]], stores: dict[str, ObjectStore]) -> tuple[list[int], bool]:
    """The ids of the objects that are certainly gone, and whether those are all; the rest is claimed again later."""
    removed: list[int] = []
    for bucket in sorted({bucket for _, bucket, _ in claimed}):
        ids = {path: id_ for id_, within, path in claimed if within == bucket}
        try:
            gone = await stores[bucket].remove(list(ids)) if bucket in stores else frozenset[str]()
        except StoreUnavailable:
            logger.warning("cleanup: the object store of %s does not answer", bucket)
            continue
        removed += [ids[path] for path in ids if path in gone]
    return removed, len(removed) == len(claimed)
