"""Makes renditions of kept originals: answered as soon as they are encoded, kept behind the answer (docs/adr/0053)."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.errors import GenerationFailed, ProviderFailed, Unavailable
from copperplate.generation.digests import digest_of
from copperplate.generation.lookup import LookupResult
from copperplate.ledger_answers import Hit
from copperplate.model import Outcome
from copperplate.recipes.objects import rendition_upload
from copperplate.serving.rendition_keeper import RenditionKeeper
from copperplate.serving.rendition_room import RenditionRoom
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Clock, Images, Ledger, ObjectStore
    from copperplate.single_flight import Call

# The Retry-After where a stored original cannot be decoded.
UNREADABLE_RETRY_AFTER: Final = timedelta(minutes=15)


class RenditionMaker:
    """Makes each rendition once at a time, for all who ask for it, until it is kept.

    What nobody waits for any more is given up, as long as it is not encoded.
    """

    def __init__(self, *, ledger: Ledger, images: Images, clock: Clock) -> None:
        self._ledger = ledger
        self._images = images
        self._clock = clock
        self._room = RenditionRoom(images)
        self._keeper = RenditionKeeper(ledger)
        self._encoding: SingleFlight[LookupResult] = SingleFlight()

    def is_current(self, entry: Entry) -> bool:
        """Whether the encoders of today would make the same bytes; an original is not encoded."""
        return entry.is_original or entry.encoder_version >= self._images.encoder_version

    async def make(
        self,
        request: PictureRequest,
        found: LookupResult,
        *,
        store: ObjectStore,
        load: Callable[[], Awaitable[bytes]],
    ) -> LookupResult:
        """The rendition of the original that was found, whose bytes are loaded where they are not in memory.

        Raises `TooManyWaiters` where too many wait, `StillGenerating` after a wait, `GenerationFailed` where the
        original cannot be decoded, and what `load` raises.
        """
        flight = _flight_of(request, found.entry)
        if (made := self._keeper.find(flight)) is None:
            try:
                made, _ = await self._encoding.run(flight, lambda: self._encode(request, found, store, load))
            finally:
                self._encoding.abandon(flight)
        self._keeper.join(flight)
        if made.body is not None:  # it is of this original, which stood when whoever asks now was told of it
            made = replace(made, fill=found.fill, is_found=found.is_found)
        return replace(made, outcome=found.outcome)

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let what `call` left behind be made and kept, and cancel what is late."""
        stop_at = self._clock.monotonic() + within_seconds
        await self._encoding.finish(call, within_seconds=within_seconds)
        await self._keeper.finish(call, within_seconds=max(0.0, stop_at - self._clock.monotonic()))

    async def shut_down(self, *, within_seconds: float) -> None:
        """Let all be made and kept, and cancel what is late."""
        stop_at = self._clock.monotonic() + within_seconds
        await self._encoding.drain(within_seconds=within_seconds)
        await self._keeper.drain(within_seconds=max(0.0, stop_at - self._clock.monotonic()))

    async def _encode(
        self, request: PictureRequest, found: LookupResult, store: ObjectStore, load: Callable[[], Awaitable[bytes]]
    ) -> LookupResult:
        original = found.entry

        async def source() -> bytes:
            return found.body or await load()

        model = request.model if original.is_ai_made else None
        try:
            async with self._room.turn(original.path, model=model, load=source) as (picture, has_waited):
                is_stale = found.outcome is Outcome.STALE  # the ledger does not answer
                if has_waited and not is_stale and (kept := await self._look_again(request)) is not None:
                    return replace(kept, fill=found.fill)
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
        answer = LookupResult(entry=upload.beside(original), outcome=found.outcome, body=body)
        return self._keeper.keep(_flight_of(request, original), answer, original, upload, store)

    async def _look_again(self, request: PictureRequest) -> LookupResult | None:
        """The rendition, if another process kept it while this one waited for its turn."""
        with contextlib.suppress(Unavailable):
            match await self._ledger.peek(request.generation_key, request.rendition_key):
                case Hit(entry=entry) if entry.key == request.rendition_key and self.is_current(entry):
                    return LookupResult(entry=entry, outcome=Outcome.HIT, is_found=True)
        return None


def _flight_of(request: PictureRequest, original: Entry) -> str:
    """The same rendition of the same original: a picture that was purged and made again is another."""
    return f"{request.rendition_key} {original.path}"
