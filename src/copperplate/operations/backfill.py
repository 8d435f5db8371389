"""Placeholders for pictures that were kept before there were any: a few by each cleanup, from the stored originals."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from copperplate.errors import (
    ObjectMissing,
    ProviderFailed,
    StillGenerating,
    StoreMisconfigured,
    StoreUnavailable,
)
from copperplate.generation.digests import digest_of
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.model import Entry
    from copperplate.ports import Clock, Images, KeptPictures, ObjectStore

logger = logging.getLogger(__name__)

# By one run. A picture takes 0.2 s to fetch and to decode.
PICTURES: Final = 50
SECONDS: Final = 20.0


class Backfill:
    """One run: each step makes the placeholder of one picture, and answers whether there is nothing left to do.

    A picture that cannot be decoded is noted and not tried again. One whose object is gone is left to whoever asks for
    it; each day's run begins at another place, so that such pictures are in nobody's way.
    """

    def __init__(self, ledger: KeptPictures, stores: Mapping[str, ObjectStore], images: Images, clock: Clock) -> None:
        self._ledger = ledger
        self._stores = stores
        self._images = images
        self._clock = clock
        self._waiting: list[Entry] | None = None
        self._stop_at = 0.0
        self.made = 0
        self.skipped = 0
        # How many have no placeholder yet; None: not known.
        self.left: int | None = None

    async def step(self) -> bool:
        """One picture; the first step looks for them, the last one counts those that are left."""
        if self._waiting is None:
            self._waiting = await self._find()
            self._stop_at = self._clock.monotonic() + SECONDS
        if not self._waiting or self._clock.monotonic() >= self._stop_at:
            self.left = await self._ledger.count_without_placeholder()
            return True
        entry = self._waiting.pop()
        try:
            await self._make(entry)
        except (ObjectMissing, KeyError):
            self.skipped += 1
        except (StoreUnavailable, StoreMisconfigured, StillGenerating) as error:
            logger.warning("placeholders are left to the next run: %s: %s", error.code, error)
            self._waiting.clear()
        return False

    async def _find(self) -> list[Entry]:
        begin = sha256_hex(f"{self._clock.now():%Y-%m-%d}".encode())
        behind = list(await self._ledger.originals_without_placeholder(PICTURES, after=begin))
        if len(behind) == PICTURES:
            return behind
        before = await self._ledger.originals_without_placeholder(PICTURES - len(behind))
        return [*behind, *(entry for entry in before if entry.key <= begin)]

    async def _make(self, entry: Entry) -> None:
        body = await self._stores[KINDS[entry.kind].bucket].get(entry.path)
        if await digest_of(body) != entry.digest:
            raise ObjectMissing("the stored bytes are not the ones that were recorded")
        try:
            placeholder = await self._images.placeholder(body)
        except ProviderFailed as error:
            logger.warning("no placeholder can be made: %s key=%s", error, entry.generation_key[:12])
            await self._ledger.set_placeholder(entry.generation_key, None)
            self.skipped += 1
            return
        if await self._ledger.set_placeholder(entry.generation_key, placeholder):
            self.made += 1
