"""From a request to the bytes of its rendition.

The steps of a hit, each of which answers where it can:
1. hot: `http/hot_pictures.py` sends what is in memory, before the request is parsed (`Tiers.find_hot`);
2. tiers: memory, disk, Redis, where the feed says that copies are right (`Tiers.find`, ADR 0068);
3. ledger: the entry, or a generation that is shared with all who ask (`Coordinator.find`);
4. store: the bytes, checked by their digest (`Renditions._load`; what Redis has of an entry has none either);
5. keep: the copy enters the tiers, if nothing was declared wrong since `Tiers.begin_fill` (`Tiers.keep`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from copperplate.errors import (
    CopperplateError,
    InvalidDisplay,
    ObjectMissing,
    StillGenerating,
    StoreUnavailable,
)
from copperplate.generation.digests import digest_of
from copperplate.generation.lookup import LookupResult
from copperplate.generation.losses import is_lost
from copperplate.ledger_answers import Hit
from copperplate.recipes.objects import original_key
from copperplate.serving.rendition_maker import RenditionMaker
from copperplate.serving.renewals import Renewals
from copperplate.single_flight import SingleFlight
from copperplate.tiers.tiers import Tiers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.generation.lookup import LookupOptions
    from copperplate.model import Entry, Outcome, PictureRequest
    from copperplate.ports import Clock, Images, Ledger, ObjectStore
    from copperplate.single_flight import Call

T = TypeVar("T")
logger = logging.getLogger(__name__)

NOT_KEPT: Final = (
    "This form is larger than an answer may be here, and the picture has as many stored forms as it may have. "
    "Ask for a smaller width, or for webp or avif."
)


class Renditions:
    """Finds and reads the renditions requested. Renditions and reads are coalesced like generations."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        ledger: Ledger,
        kinds: Mapping[str, Kind],
        images: Images,
        clock: Clock,
        tiers: Tiers | None = None,
    ) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._kinds = kinds
        self._clock = clock
        self._tiers = tiers or Tiers(None, clock)
        self._maker = RenditionMaker(ledger=ledger, images=images, clock=clock)
        self._reads: SingleFlight[bytes] = SingleFlight()
        self._renewals = Renewals(clock)

    async def find(self, request: PictureRequest, options: LookupOptions) -> LookupResult:
        """The entry of the rendition requested, made if there is none; raises what `Coordinator.find` raises."""
        if (copy := await self._find_copy(request)) is not None:
            return copy
        return await self._until_right(lambda: self._find(request, options))

    async def read(
        self,
        request: PictureRequest,
        options: LookupOptions,
        *,
        at_most_bytes: int | None = None,
        found: LookupResult | None = None,
    ) -> LookupResult:
        """The rendition asked for, with its bytes; raises what `Coordinator.find` raises.

        Without them only where there are more than `at_most_bytes` and the store has a public address for them.
        What `find` answered a moment ago is not looked up again, unless its object turns out to be gone.
        """
        found = found or await self._find_copy(request)
        if found is not None:
            with contextlib.suppress(ObjectMissing):
                read = await self._read(request, found, at_most_bytes)
                # Reading takes a while: what was declared wrong meanwhile is looked up.
                if (right := await self._tiers.confirm(read)) is not None:
                    return right
        return await self._until_right(lambda: self._find_and_read(request, options, at_most_bytes))

    def is_current(self, entry: Entry) -> bool:
        """Whether the encoders of today would make the same bytes; an original is not encoded."""
        return self._maker.is_current(entry)

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the renditions that `call` left behind be made and kept; a late one is made anew by whoever asks."""
        stop_at = self._clock.monotonic() + within_seconds
        await self._renewals.finish(call, within_seconds=within_seconds)
        await self._maker.finish(call, within_seconds=max(0.0, stop_at - self._clock.monotonic()))

    async def shut_down(self, *, within_seconds: float) -> None:
        """The process ends: let the renditions under way be made and kept, and cancel the late ones. Reads go on."""
        stop_at = self._clock.monotonic() + within_seconds
        await self._renewals.drain(within_seconds=within_seconds)
        await self._maker.shut_down(within_seconds=max(0.0, stop_at - self._clock.monotonic()))

    async def close(self) -> None:
        """Cancel the reads that no caller waits for any more."""
        await self._reads.drain(within_seconds=0)

    async def _until_right(self, work: Callable[[], Awaitable[LookupResult]]) -> LookupResult:
        """What `work` finds; again where that was declared wrong while it was read or made, at most three times.

        Whoever joined may have begun long after the ledger answered, and after all knew that this is wrong.
        """
        for _ in range(3):
            found = await self._persist(work)
            if (right := await self._tiers.confirm(found)) is not None:
                return right
        raise StillGenerating

    async def _persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Repeat `work` where a stored object turned out to be gone: its entry is dropped by then.

        At most three times: a rendition and then its original may be missing.
        """
        for _ in range(2):
            with contextlib.suppress(ObjectMissing):
                return await work()
            logger.warning("a stored object is gone or altered; making it anew")
        try:
            return await work()
        except ObjectMissing as error:
            raise StoreUnavailable("the object store loses objects") from error

    async def _find(self, request: PictureRequest, options: LookupOptions) -> LookupResult:
        found = await self._coordinator.find(request, options)
        if found.entry.key != request.rendition_key:
            if found.body is not None:
                self._tiers.keep_original(request, found)
            load = partial(self._fetch_original, request, found)
            return await self._maker.make(request, found, store=self._store(request), load=load)
        return found if self._maker.is_current(found.entry) else await self._renew(request, found)

    async def _find_copy(self, request: PictureRequest) -> LookupResult | None:
        """The rendition in a tier; while the ledger does not answer also one that is made of the original there."""
        if (copy := await self._tiers.find(request, self._maker.is_current)) is not None:
            return copy
        if (original := await self._tiers.find_stale_original(request)) is None:
            return None
        load = partial(self._fetch, request, original.entry)
        made = await self._maker.make(request, original, store=self._store(request), load=load)
        return await self._tiers.confirm(replace(made, tier=original.tier))

    async def _find_and_read(
        self, request: PictureRequest, options: LookupOptions, at_most_bytes: int | None
    ) -> LookupResult:
        options = replace(options, load=partial(self._load_for_all, request, at_most_bytes))
        return await self._read(request, await self._find(request, options), at_most_bytes)

    async def _load_for_all(
        self, request: PictureRequest, at_most_bytes: int | None, found: LookupResult
    ) -> LookupResult:
        """What many wait for, with its bytes: so all of them are woken once, when it can be answered.

        Where they cannot be read, with the reason: those who want no bytes are answered all the same.
        """
        entry = found.entry
        is_answer = entry.key == request.rendition_key and self._maker.is_current(entry)
        if not is_answer or (at_most_bytes is not None and entry.size_bytes > at_most_bytes):
            return found
        try:
            return replace(found, body=await self._fetch(request, entry))
        except CopperplateError as error:
            return replace(found, fault=error)
        except asyncio.CancelledError:
            return found  # the process ends, and the flight with it; reads go on

    async def _read(self, request: PictureRequest, found: LookupResult, at_most_bytes: int | None) -> LookupResult:
        entry, store = found.entry, self._store(request)
        if at_most_bytes is not None and entry.size_bytes > at_most_bytes and store.public_url(entry.path) is not None:
            return replace(await self._require_address(request, found), body=None)
        if found.fault is not None:
            raise found.fault
        if found.body is None:
            found = replace(found, body=await self._fetch(request, entry))
        if not found.is_shared and self._maker.is_current(entry):  # else whoever asked first keeps it
            self._tiers.keep(request, found)
        return found

    async def _require_address(self, request: PictureRequest, found: LookupResult) -> LookupResult:
        """The same, once its object is known to exist, for an answer that is only its address.

        Raises `ObjectMissing` where it is gone, and what keeping it raises. What was just stored is not checked.
        """
        if (keeping := found.keeping) is not None:
            await asyncio.wait((keeping,))
            if keeping.cancelled():
                raise StillGenerating
            if (entry := keeping.result()) is None:
                raise InvalidDisplay(NOT_KEPT)
            return replace(found, entry=entry, keeping=None)
        is_fresh = found.body is not None and found.tier is None
        if not is_fresh and await is_lost(found.entry, store=self._store(request), ledger=self._ledger):
            await self._tiers.drop(found.entry)
            raise ObjectMissing("the object of an address is gone")
        return found

    async def _renew(self, request: PictureRequest, found: LookupResult) -> LookupResult:
        """The same rendition, made again by the encoders of today; the old one where that fails or takes long."""
        renewed = await self._renewals.renew(request.rendition_key, lambda: self._make_again(request, found.outcome))
        return found if renewed is None else replace(renewed, outcome=found.outcome)

    async def _make_again(self, request: PictureRequest, outcome: Outcome) -> LookupResult:
        fill = self._tiers.begin_fill()
        match await self._ledger.peek(request.generation_key, original_key(request.generation_key)):
            case Hit(entry=entry):
                original = LookupResult(entry=entry, outcome=outcome, fill=fill, is_found=True)
            case _:
                raise ObjectMissing("there is no original")
        # An original that is gone is not reported: its renditions would go with it.
        load = partial(self._verified, request, entry)
        store = self._store(request)
        return await self._maker.make(request, original, store=store, load=load)

    async def _fetch_original(self, request: PictureRequest, found: LookupResult) -> bytes:
        body = await self._fetch(request, found.entry)
        self._tiers.keep_original(request, replace(found, body=body))
        return body

    async def _fetch(self, request: PictureRequest, entry: Entry) -> bytes:
        body, _ = await self._reads.run(entry.path, lambda: self._load(request, entry))
        return body

    async def _load(self, request: PictureRequest, entry: Entry) -> bytes:
        if (body := await self._tiers.find_body(entry)) is not None:
            return body
        try:
            return await self._verified(request, entry)
        except ObjectMissing:
            await self._tiers.drop(entry)
            await self._ledger.report_missing(entry)
            raise

    async def _verified(self, request: PictureRequest, entry: Entry) -> bytes:
        body = await self._store(request).get(entry.path)
        if await digest_of(body) != entry.digest:
            raise ObjectMissing("the stored bytes are not the ones that were recorded")
        return body

    def _store(self, request: PictureRequest) -> ObjectStore:
        return self._kinds[request.kind].store
