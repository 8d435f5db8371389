"""The tiers of a process, in their order: memory, disk, Redis. Then come ledger and store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.feed import Fill, Tier
from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.ports.tiers import Copy
from copperplate.recipes.kinds import KINDS
from copperplate.tiers.coherence import Coherence, Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.feed import FeedPage
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Clock, Feed
    from copperplate.ports.tiers import CopyTier, TierFigures
    from copperplate.tiers.memory import MemoryItem, MemoryTier


TIERS_OF_COPIES: Final = frozenset({Tier.MEMORY, Tier.DISK, Tier.REDIS})


class Tiers:
    """Copies of public pictures, answered without the ledger. Any of the tiers may be missing; all without a feed."""

    def __init__(
        self,
        feed: Feed | None,
        clock: Clock,
        *,
        stale_for: timedelta = timedelta(0),
        memory: MemoryTier | None = None,
        shared: Sequence[CopyTier] = (),
    ) -> None:
        self._memory = memory if feed is not None else None
        self._shared = shared if feed is not None else ()
        self._clock = clock
        self.coherence = Coherence(feed, clock, stale_for=stale_for, on_page=self._drop_wrong)

    @property
    def is_off(self) -> bool:
        """Whether there is none."""
        return self._memory is None and not self._shared

    def find_hot(self, key: str) -> MemoryItem | None:
        """The copy in memory of that rendition, where it may be answered as it is: the shortest way there is."""
        if self._memory is None or not self.coherence.is_fresh or (item := self._memory.find(key)) is None:
            return None
        self.coherence.note_traffic()
        return item

    async def find(self, request: PictureRequest) -> LookupResult | None:
        """What a tier has of the rendition requested, as a hit, or as stale where the ledger does not answer.

        Found in Redis it has no bytes.
        """
        if self.is_off or not KINDS[request.kind].is_public:
            return None
        trust = await self.coherence.trust()
        if trust is Trust.NONE:
            return None
        key = request.rendition_key
        if self._memory is not None and (item := self._memory.find(key, is_stale=trust is Trust.STALE)) is not None:
            return _found(item.copy, trust, Tier.MEMORY)
        for tier in self._shared:
            copy = await tier.find(key, self.coherence.database)
            if copy is None or copy.entry.key != key or copy.entry.generation_key != request.generation_key:
                continue
            # Again: this process may have been frozen meanwhile.
            if (trust := await self.coherence.trust()) is Trust.NONE:
                return None
            if not self.coherence.is_right(copy, tier.tier):
                await tier.drop(key)
                continue
            if copy.body is not None and self._memory is not None:
                self._memory.keep(copy)
            return _found(copy, trust, tier.tier)
        return None

    async def confirm(self, found: LookupResult) -> LookupResult | None:
        """What a tier had a while ago, if it is still right; None where it is not. Anything else as it is."""
        if found.tier not in TIERS_OF_COPIES or found.fill is None:
            return found
        trust = await self.coherence.trust()
        copy = Copy(entry=found.entry, cursor=found.fill.cursor, database=found.fill.database)
        if trust is Trust.NONE or not self.coherence.is_right(copy, found.tier):
            return None
        return replace(found, outcome=_outcome_of(trust))

    def begin_fill(self) -> Fill | None:
        """To be called before the ledger is asked for what may be kept. None where nothing may be: see `keep`."""
        self.coherence.note_traffic()
        if self.is_off or (cursor := self.coherence.cursor) is None:
            return None
        return Fill(cursor, self.coherence.database)

    async def keep(self, request: PictureRequest, found: LookupResult) -> None:
        """Keep what was found after its `fill` began, if nothing was declared wrong of it meanwhile.

        What is not recorded yet is kept in memory alone; what a tier has itself is not kept there again.
        """
        if (fill := found.fill) is None or found.body is None or not KINDS[request.kind].is_public:
            return
        copy = Copy(entry=found.entry, cursor=fill.cursor, database=fill.database, body=found.body)
        if self._memory is not None and self.coherence.is_right(copy, Tier.MEMORY):
            self._memory.keep(copy)
        if found.keeping is not None:
            return
        for tier in self._shared:
            if tier.tier is not found.tier and self.coherence.is_right(copy, tier.tier):
                await tier.keep(copy, request)

    async def drop(self, entry: Entry) -> None:
        """The object of an entry is gone: forget its copies."""
        if self._memory is not None:
            self._memory.drop(entry.key)
        for tier in self._shared:
            await tier.drop(entry.key)

    async def figures(self) -> Sequence[TierFigures]:
        """What is in each tier."""
        memory = [] if self._memory is None else [self._memory.figures()]
        return memory + [known for tier in self._shared if (known := await tier.figures()) is not None]

    async def close(self) -> None:
        """Read the feed no more, and let go of files and connections."""
        await self.coherence.close()
        for tier in self._shared:
            await tier.close()

    def _drop_wrong(self, page: FeedPage) -> None:
        """Memory forgets what is wrong at once. Disk and Redis are judged when a copy is found."""
        memory = self._memory
        if memory is None:
            return

        def is_right(copy: Copy) -> bool:
            return self.coherence.is_right(copy, Tier.MEMORY)

        if not page.is_continued:
            memory.drop_wrong(None, is_right)
        for key in {each.generation_key for each in page.invalidations}:
            memory.drop_wrong(key, is_right)


def _found(copy: Copy, trust: Trust, tier: Tier) -> LookupResult:
    fill = Fill(copy.cursor, copy.database)
    return LookupResult(entry=copy.entry, outcome=_outcome_of(trust), body=copy.body, tier=tier, fill=fill)


def _outcome_of(trust: Trust) -> Outcome:
    return Outcome.HIT if trust is Trust.FRESH else Outcome.STALE
