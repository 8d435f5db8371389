"""From an entry to the bytes of a rendition."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from copperplate.errors import GenerationFailed, ObjectMissing, ProviderFailed, StoreUnavailable
from copperplate.generation.crash_points import crash_point
from copperplate.generation.digests import digest_of
from copperplate.generation.lookup import LookupResult
from copperplate.generation.losses import is_lost
from copperplate.recipes.objects import rendition_upload
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.generation.lookup import LookupOptions
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Clock, Images, Ledger, ObjectStore
    from copperplate.single_flight import Call

T = TypeVar("T")
logger = logging.getLogger(__name__)

# The Retry-After where a stored original cannot be decoded.
UNREADABLE_RETRY_AFTER = timedelta(minutes=15)


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
    ) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._kinds = kinds
        self._images = images
        self._clock = clock
        self._renditions: SingleFlight[LookupResult] = SingleFlight()
        self._reads: SingleFlight[bytes] = SingleFlight()

    async def find(self, request: PictureRequest, options: LookupOptions) -> LookupResult:
        """The entry of the rendition requested, made if there is none; raises what `Coordinator.find` raises."""
        return await self._persist(lambda: self._find(request, options))

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
        if found is not None:
            with contextlib.suppress(ObjectMissing):
                return await self._read(request, found, at_most_bytes)
        return await self._persist(lambda: self._find_and_read(request, options, at_most_bytes))

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the renditions that `call` left behind be made; a late one is made anew for whoever asks next."""
        await self._renditions.finish(call, within_seconds=within_seconds)

    async def shut_down(self, *, within_seconds: float) -> None:
        """The process ends: let the renditions under way be made, and cancel the late ones. Reads go on."""
        await self._renditions.drain(within_seconds=within_seconds)

    async def close(self) -> None:
        """Cancel the reads that no caller waits for any more."""
        await self._reads.drain(within_seconds=0)

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
        if found.entry.key == request.rendition_key:
            return found
        made, _ = await self._renditions.run(request.rendition_key, lambda: self._make(request, found))
        return replace(made, outcome=found.outcome)

    async def _find_and_read(
        self, request: PictureRequest, options: LookupOptions, at_most_bytes: int | None
    ) -> LookupResult:
        return await self._read(request, await self._find(request, options), at_most_bytes)

    async def _read(self, request: PictureRequest, found: LookupResult, at_most_bytes: int | None) -> LookupResult:
        entry, store = found.entry, self._store(request)
        if at_most_bytes is not None and entry.size_bytes > at_most_bytes and store.public_url(entry.path) is not None:
            await self._require(request, found)
            return replace(found, body=None)
        if found.body is not None:
            return found
        return LookupResult(entry=entry, outcome=found.outcome, body=await self._fetch(request, entry))

    async def _require(self, request: PictureRequest, found: LookupResult) -> None:
        """Raise `ObjectMissing` where the object of an address is gone; one that was just stored is not checked."""
        is_fresh = found.body is not None
        if not is_fresh and await is_lost(found.entry, store=self._store(request), ledger=self._ledger):
            raise ObjectMissing("the object of an address is gone")

    async def _make(self, request: PictureRequest, found: LookupResult) -> LookupResult:
        """The rendition of a stored original: encoded, stored, recorded."""
        original = found.entry
        source = found.body or await self._fetch(request, original)
        try:
            async with self._images.open(source, model=request.model) as picture:
                body = await picture.encode(request.rendition, canvas=request.canvas)
        except ProviderFailed as error:
            # The original was verified when it was stored; a new one would cost money and change nothing.
            raise GenerationFailed(error.failure_class, UNREADABLE_RETRY_AFTER) from error
        upload = rendition_upload(
            request,
            digest=await digest_of(body),
            size_bytes=len(body),
            now=self._clock.now(),
            nonce=uuid4().hex,
            encoder_version=self._images.encoder_version,
        )
        if not await self._ledger.intend_rendition(original, upload):
            raise ObjectMissing("the original was replaced meanwhile")
        crash_point("rendition_intended")
        await self._store(request).put(upload.path, body, media_type=request.rendition.format.media_type)
        crash_point("rendition_stored")
        entry = await self._ledger.record_rendition(original, upload)
        if entry is None:
            raise ObjectMissing("the original was replaced meanwhile")
        # Another process may have recorded the rendition first; then its bytes count.
        return LookupResult(entry=entry, outcome=found.outcome, body=body if entry.path == upload.path else None)

    async def _fetch(self, request: PictureRequest, entry: Entry) -> bytes:
        body, _ = await self._reads.run(entry.path, lambda: self._load(request, entry))
        return body

    async def _load(self, request: PictureRequest, entry: Entry) -> bytes:
        try:
            return await self._verified(request, entry)
        except ObjectMissing:
            await self._ledger.report_missing(entry)
            raise

    async def _verified(self, request: PictureRequest, entry: Entry) -> bytes:
        body = await self._store(request).get(entry.path)
        if await digest_of(body) != entry.digest:
            raise ObjectMissing("the stored bytes are not the ones that were recorded")
        return body

    def _store(self, request: PictureRequest) -> ObjectStore:
        return self._kinds[request.kind].store
