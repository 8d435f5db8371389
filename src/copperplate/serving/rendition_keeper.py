"""Keeps renditions behind their answers: written ahead, stored, recorded."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError, LedgerUnavailable, ObjectMissing, TooManyWaiters
from copperplate.generation.crash_points import crash_point
from copperplate.ledger_answers import Hit
from copperplate.model import Outcome, PictureFormat
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    import asyncio

    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Entry, RenditionUpload
    from copperplate.ports import Ledger, ObjectStore
    from copperplate.single_flight import Call

logger = logging.getLogger(__name__)

# What waits to be stored; above that, renditions are only answered, and made again when they are asked for again.
MAX_BYTES: Final = 64_000_000


class RenditionKeeper:
    """Keeps each rendition once, in a flight of its own. A failure is logged and harms nobody: it was answered."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._flights: SingleFlight[Entry | None] = SingleFlight()
        self._answers: dict[str, LookupResult] = {}
        self._bytes = 0

    def find(self, flight: str) -> LookupResult | None:
        """The rendition of that flight, while it is being kept."""
        return self._answers.get(flight)

    def join(self, flight: str) -> None:
        """Let the end of this call wait until the rendition it answers is kept."""
        self._flights.join(flight)

    def keep(
        self, flight: str, answer: LookupResult, original: Entry, upload: RenditionUpload, store: ObjectStore
    ) -> LookupResult:
        """Begin to keep a rendition, and answer it; others that ask meanwhile `find` the same answer.

        Another process may be first: then its entry stands, and our object is discarded. One that is stale is not kept,
        for its ledger does not answer.
        """
        body = answer.body or b""
        is_stale = answer.outcome is Outcome.STALE
        keeping = self._flights.start(
            flight, _refuse if is_stale else lambda: self._keep(original, upload, body, store)
        )
        answer = self._answers[flight] = replace(answer, keeping=keeping)
        keeping.add_done_callback(lambda task: self._forget(flight, task))
        return answer

    def _forget(self, flight: str, task: asyncio.Task[Entry | None]) -> None:
        # One that was cancelled may end after the next has begun.
        if (answer := self._answers.get(flight)) is not None and answer.keeping is task:
            del self._answers[flight]

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let what `call` left behind be kept; a late one is made anew for whoever asks next."""
        await self._flights.finish(call, within_seconds=within_seconds)

    async def drain(self, *, within_seconds: float) -> None:
        """Let all be kept, and cancel the late ones."""
        await self._flights.drain(within_seconds=within_seconds)

    async def _keep(self, original: Entry, upload: RenditionUpload, body: bytes, store: ObjectStore) -> Entry | None:
        self._bytes += len(body)
        try:
            if self._bytes > MAX_BYTES:
                raise TooManyWaiters
            return await self._store(original, upload, body, store)
        except ObjectMissing:
            raise  # it is of a picture that is gone
        except CopperplateError as error:
            logger.warning("a rendition was answered and is not kept: %s key=%s", error.code, upload.key[:12])
            raise
        finally:
            self._bytes -= len(body)

    async def _store(self, original: Entry, upload: RenditionUpload, body: bytes, store: ObjectStore) -> Entry | None:
        if not await self._ledger.intend_rendition(original, upload):
            await self._require(original)
            return None
        crash_point("rendition_intended")
        await store.put(upload.path, body, media_type=PictureFormat(upload.format).media_type)
        crash_point("rendition_stored")
        if (entry := await self._ledger.record_rendition(original, upload)) is None:
            await self._require(original)
        return entry

    async def _require(self, original: Entry) -> None:
        """Raise `ObjectMissing` where the original was replaced; else there are as many renditions as may be."""
        match await self._ledger.peek(original.generation_key, original.key):
            case Hit(entry=entry) if entry.path == original.path:
                return
        raise ObjectMissing("the original was replaced while a rendition of it was kept")


async def _refuse() -> Entry | None:
    raise LedgerUnavailable("a rendition of a copy is not kept")
