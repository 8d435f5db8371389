"""The tiers of a process, in their order: memory, disk, Redis. Then come ledger and store (ADR 0068)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from copperplate.feed import Tier
from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.ports.tiers import Copy
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import original_key
from copperplate.tiers.coherence import Coherence, Trust
from copperplate.tiers.names import KnownNames
from copperplate.tiers.removals import Removals
from copperplate.tiers.shared_writes import SharedWrites

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copperplate.feed import FeedPage, Fill
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Clock, Feed
    from copperplate.ports.kept_pictures import KeptPicture
    from copperplate.ports.tiers import CopyTier, HotCopy, TierFigures
    from copperplate.single_flight import Call
    from copperplate.tiers.memory import MemoryItem, MemoryTier

# Those that are answered without the ledger.
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
        note_cdn_purges: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:
        self._memory = memory if feed is not None else None
        self._shared = tuple(shared) if feed is not None else ()
        self._on_disk = [tier for tier in self._shared if tier.tier is Tier.DISK]
        self._clock = clock
        self._names = None if self._memory is None else KnownNames()
        self._note_cdn_purges = note_cdn_purges
        self.coherence = Coherence(feed, clock, stale_for=stale_for, on_page=self._drop_wrong)
        self._removals = Removals(self._on_disk, self.coherence, clock)
        self._writes = SharedWrites(self.coherence.is_right, look_again=self._removals.look_again)

    @property
    def is_off(self) -> bool:
        """Whether there is none."""
        return self._memory is None and not self._shared

    def start(self) -> None:
        """Read the feed for the first time, behind whatever comes next. Needs a running event loop."""
        if not self.is_off:
            self.coherence.note_traffic()

    def find_hot(self, key: str, now: float | None = None) -> MemoryItem | None:
        """The copy in memory of that rendition, where it may be answered as it is: the shortest way there is.

        `now` is by the monotonic clock, if that was asked for this request.
        """
        if self._memory is None:
            return None
        now = self._clock.monotonic() if now is None else now
        if not self.coherence.is_fresh_at(now) or (item := self._memory.find(key, now)) is None:
            return None
        self.coherence.note_traffic()
        return item

    def find_hot_stale(self, key: str, now: float | None = None) -> MemoryItem | None:
        """The copy in memory, to be answered as stale: only while it is known that the ledger does not answer."""
        now = self._clock.monotonic() if now is None else now
        if self._memory is None or self.coherence.is_fresh_at(now) or not self.coherence.is_stale_at(now):
            return None
        self.coherence.note_traffic()
        return self._memory.find(key)

    def find_hot_on_disk(
        self, request: PictureRequest, now: float, is_usable: Callable[[Entry], bool]
    ) -> tuple[HotCopy, bytes] | None:
        """The copy on disk and its bytes, where it may be answered as it is, fresh and without waiting for anything.

        As with any other use of it, it enters memory if that lets it.
        """
        coherence = self.coherence
        if not self._on_disk or not coherence.is_fresh_at(now):
            return None
        for tier in self._on_disk:
            if (found := tier.find_quickly(request.rendition_key, coherence.database)) is None:
                continue
            copy, body = found[0].copy, found[1]
            is_asked_for = copy.entry.generation_key == request.generation_key and is_usable(copy.entry)
            # Judged now: the process may have stood still while it looked.
            if not is_asked_for or not coherence.is_fresh or not coherence.is_right(copy, tier.tier):
                return None
            coherence.note_traffic()
            if self._memory is not None and (fill := coherence.begin_fill()) is not None:
                self._memory.keep(Copy(entry=copy.entry, cursor=fill.cursor, database=fill.database, body=body))
            return found
        return None

    def seconds_left(self, found: LookupResult) -> float | None:
        """How long the tier that had this may answer with it; of what is stale, below 0: since when it may be wrong.

        None where that has no end: such a copy is right until it is declared wrong.
        """
        if found.outcome is Outcome.STALE:
            return -self.coherence.past_trust_seconds
        if found.tier is not Tier.MEMORY or self._memory is None:
            return None
        return self._memory.seconds_left(found.entry.key)

    async def find(
        self, request: PictureRequest, is_usable: Callable[[Entry], bool] = lambda _: True
    ) -> LookupResult | None:
        """What a tier has of the rendition requested, as a hit, or as stale where the ledger does not answer.

        Found in Redis it has no bytes. What is not usable, of older encoders, is passed over, and never enters memory.
        """
        if self.is_off or not KINDS[request.kind].is_public:
            return None
        trust = await self.coherence.trust()
        if trust is Trust.NONE:
            return None
        if self._memory is not None:
            # One that is too old by its age is taken only where nothing newer can be had.
            item = self._memory.find(request.rendition_key, None if trust is Trust.STALE else self._clock.monotonic())
            if item is not None:
                return self._found(item.copy, trust, Tier.MEMORY)
        return await self._find_shared(request.rendition_key, request.generation_key, is_usable)

    async def find_stale_original(self, request: PictureRequest) -> LookupResult | None:
        """While the ledger does not answer: a copy of the original, with its bytes, to make the rendition from."""
        key = original_key(request.generation_key)
        if self.is_off or not KINDS[request.kind].is_public or request.rendition_key == key:
            return None
        if await self.coherence.trust() is not Trust.STALE:
            return None
        if self._memory is not None and (item := self._memory.find(key)) is not None:
            return self._found(item.copy, Trust.STALE, Tier.MEMORY)
        found = await self._find_shared(key, request.generation_key, lambda _: True)
        return found if found is not None and found.body is not None and found.outcome is Outcome.STALE else None

    async def find_body(self, entry: Entry) -> bytes | None:
        """The bytes of an entry that the ledger has just told of: the same object, however old the copy is."""
        if not KINDS[entry.kind].is_public:
            return None
        item = None if self._memory is None else self._memory.find(entry.key)
        if item is not None and _is_object(item.copy, entry):
            return item.copy.body
        for tier in self._on_disk if self.coherence.database else ():
            copy = await tier.find(entry.key, self.coherence.database)
            if copy is not None and copy.body is not None and _is_object(copy, entry):
                return copy.body
        return None

    async def confirm(self, found: LookupResult) -> LookupResult | None:
        """What a tier or the ledger had a while ago, if it is still right; None where it is not.

        What the ledger had needs no trust in copies: it is right unless this process knows better. What was made since
        is answered as it is.
        """
        is_copy = found.tier in TIERS_OF_COPIES
        if self.is_off or not (is_copy or found.is_found):
            return found
        trust = await self.coherence.trust()
        if is_copy and trust is Trust.NONE:
            return None
        key, tier = found.entry.generation_key, found.tier or Tier.STORAGE
        if found.fill is None:
            # This process had not read the feed when it asked: since then it may have read that the picture is wrong.
            return None if self.coherence.is_named(key, None, tier) else found
        if not self.coherence.is_fill_right(key, found.fill, tier):
            return None
        return replace(found, outcome=_outcome_of(trust)) if is_copy else found

    def begin_fill(self) -> Fill | None:
        """To be called before the ledger is asked for what may be kept. None where nothing may be: see `keep`."""
        if self.is_off:
            return None
        self.coherence.note_traffic()
        return self.coherence.begin_fill()

    def keep(self, request: PictureRequest, found: LookupResult) -> None:
        """Keep what was found with its bytes, if nothing was declared wrong of it since its fill began.

        It enters the tiers before the one that had it; those on disk and in Redis behind the answer, and what is not
        recorded yet once it is.
        """
        # A rendition that was just made of an original in memory is not there yet itself.
        is_there = found.tier is Tier.MEMORY and found.keeping is None
        if is_there or (copy := self._copy_of(found)) is None:
            return
        if self._memory is not None and self.coherence.is_right(copy, Tier.MEMORY):
            self._memory.keep(copy)
        names = [tier.tier for tier in self._shared]
        above = names.index(found.tier) if found.tier in names else len(names)
        self._writes.begin(self._shared[:above], copy, request, found.keeping)

    def keep_original(self, request: PictureRequest, found: LookupResult) -> None:
        """Keep an original that was read for a rendition: on disk, where it takes no room from what is asked for."""
        if (copy := self._copy_of(found)) is not None:
            self._writes.begin(self._on_disk, copy, request)

    async def find_name(self, name: str) -> KeptPicture | None:
        """What the name of a public picture stands for, where that is known and may be trusted."""
        if self._names is None or self._names.find(name) is None or await self.coherence.trust() is Trust.NONE:
            return None
        return self._names.find(name)

    def keep_name(self, name: str, kept: KeptPicture, fill: Fill | None) -> None:
        """Remember what a name stands for, if nothing was declared wrong of it since `fill`."""
        if self._names is None or fill is None or not KINDS[kept.kind].is_public:
            return
        if self.coherence.is_fill_right(kept.generation_key, fill, Tier.MEMORY):
            self._names.keep(name, kept, fill)

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

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the copies that `call` left behind be written, and give up the late ones."""
        await self._writes.finish(call, within_seconds=within_seconds)

    async def shut_down(self, *, within_seconds: float) -> None:
        """The process ends: let all copies be written, and give up the late ones."""
        await self._writes.drain(within_seconds=within_seconds)

    async def close(self) -> None:
        """Read the feed no more, and let go of files and connections."""
        await self.coherence.close()
        await self._removals.close()
        await self._writes.drain(within_seconds=0)
        for tier in self._shared:
            await tier.close()

    async def _find_shared(
        self, key: str, generation_key: str, is_usable: Callable[[Entry], bool]
    ) -> LookupResult | None:
        for tier in self._shared:
            copy = await tier.find(key, self.coherence.database)
            if copy is None or copy.entry.key != key or copy.entry.generation_key != generation_key:
                continue
            # Judged now: the process may have stood still, or read of an invalidation, while it looked.
            if (trust := await self.coherence.trust()) is Trust.NONE:
                return None
            if self.coherence.is_wrong(copy, tier.tier):
                await tier.drop(key)
            elif self.coherence.is_right(copy, tier.tier) and is_usable(copy.entry):
                return self._found(copy, trust, tier.tier)
        return None

    def _found(self, copy: Copy, trust: Trust, tier: Tier) -> LookupResult:
        # What is right has no invalidation that was read by now: what is kept of it carries the cursor of now.
        fill = self.coherence.begin_fill()
        return LookupResult(entry=copy.entry, outcome=_outcome_of(trust), body=copy.body, tier=tier, fill=fill)

    def _copy_of(self, found: LookupResult) -> Copy | None:
        if found.fill is None or found.body is None or not KINDS[found.entry.kind].is_public:
            return None
        return Copy(entry=found.entry, cursor=found.fill.cursor, database=found.fill.database, body=found.body)

    def _drop_wrong(self, page: FeedPage) -> None:
        """Memory forgets what is wrong at once, the disk soon. There and in Redis a copy that is found is judged."""
        # First: of a hit in memory nothing is judged, and what fails after this is not to leave a wrong one there.
        self._forget_wrong(page)
        self._removals.note(page)
        if page.due_cdn_scopes:
            self._note_cdn_purges(page.due_cdn_scopes)

    def _forget_wrong(self, page: FeedPage) -> None:
        memory, names = self._memory, self._names
        if memory is None or names is None:
            return

        def is_right(copy: Copy) -> bool:
            return self.coherence.is_right(copy, Tier.MEMORY)

        def is_name_right(generation_key: str, fill: Fill) -> bool:
            return self.coherence.is_fill_right(generation_key, fill, Tier.MEMORY)

        keys = {each.generation_key for each in page.invalidations}
        for key in [None] if not page.is_continued or None in keys else keys:
            memory.drop_wrong(key, is_right)
            names.drop_wrong(key, is_name_right)


def _outcome_of(trust: Trust) -> Outcome:
    return Outcome.HIT if trust is Trust.FRESH else Outcome.STALE


def _is_object(copy: Copy, entry: Entry) -> bool:
    return copy.entry.path == entry.path and copy.entry.digest == entry.digest
