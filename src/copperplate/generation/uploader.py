"""From pending uploads to a recorded entry: stored, adopted, or kept until the store takes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.errors import LeaseLost, ObjectMissing, StoreMisconfigured, StoreUnavailable
from copperplate.generation.crash_points import crash_point
from copperplate.generation.digests import digest_of
from copperplate.generation.failed_attempts import record_withdrawal, report_store
from copperplate.generation.pending_uploads import PendingUploads
from copperplate.generation.unstored_pictures import UnstoredPicture, UnstoredPictures
from copperplate.model import PictureFormat
from copperplate.repeats import repeat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.errors import CopperplateError
    from copperplate.generation.attempt import Attempt
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Upload
    from copperplate.ports import Clock, Ledger, ObjectStore

# Between two tries to store an object, in seconds.
UPLOAD_PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2)
# Callers wait meanwhile. What is not stored then is kept, and tried again without them.
UPLOAD_SECONDS = 10.0


class Uploader:
    """Stores what attempts have made, and keeps in this process what is paid for and not stored."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._unstored: UnstoredPictures = UnstoredPictures(clock)

    async def check_store(self, attempt: Attempt) -> None:
        """Before money is spent. A picture of so many pixels is hardly ever smaller than a tenth of a byte for each.

        Raises `StoreUnavailable`, `StoreMisconfigured`.
        """
        kind, size = attempt.kind, attempt.request.size
        await kind.store.check(replace(kind.needs, min_bytes=size.width * size.height // 10))

    async def resume(self, attempt: Attempt) -> PendingUploads | None:
        """What was about to be stored before this attempt, stored: of this process, or of a dead predecessor."""
        if (intent := attempt.lead.intent) is None:
            return None
        unstored = self._unstored.find(attempt.lease.key)
        if unstored is not None and unstored.original.path == intent.path:
            attempt.unstored = unstored
            return await self.store(attempt, unstored)
        if (body := await self._adopt(attempt.kind.store, intent)) is not None:
            return PendingUploads(original=intent, original_body=body)
        return None

    async def store(
        self, attempt: Attempt, pending: PendingUploads, *, pauses: Sequence[float] = UPLOAD_PAUSES
    ) -> PendingUploads:
        """Store both at once; without the rendition if that alone fails.

        Answers what is stored. Raises `StoreUnavailable`, `StoreMisconfigured`, `ObjectConflict`.
        """
        store = attempt.kind.store
        if pending.rendition is None or pending.rendition_body is None:
            await self._put(store, pending.original, pending.original_body, pauses)
            return pending
        original_error, rendition_error = await asyncio.gather(
            self._put(store, pending.original, pending.original_body, pauses),
            self._put(store, pending.rendition, pending.rendition_body, pauses),
            return_exceptions=True,
        )
        if original_error is not None:
            raise original_error
        return pending if rendition_error is None else pending.without_rendition()

    async def complete(self, attempt: Attempt, stored: PendingUploads) -> LookupResult:
        """Record what is stored; raises `LeaseLost`, `LedgerUnavailable`, `LedgerMisconfigured`."""
        lease = attempt.lease
        url = attempt.kind.store.public_url(stored.original.path)
        crash_point("completing")
        entry = await self._ledger.complete(
            lease.key, lease.fence, stored.original, url=url, rendition=stored.rendition
        )
        if entry is None:
            raise LeaseLost
        crash_point("completed")
        return stored.recorded(entry, lease.key)

    async def handle_store_failure(self, attempt: Attempt, error: CopperplateError) -> None:
        """The store failed with `error`: it rests, and what is paid for is kept until the store takes it.

        Where nothing is kept, the next caller may lead at once.
        """
        await report_store(self._ledger, attempt, error)
        if attempt.unstored is not None:
            if not self._keep_unstored(attempt, attempt.unstored):
                await attempt.lease.release()
        elif attempt.lead.submit_no == 0:
            await record_withdrawal(self._ledger, attempt)
        else:
            await attempt.lease.release()

    def forget(self, key: str) -> None:
        """Another attempt stored the picture of that generation."""
        self._unstored.forget(key)

    async def finish_unstored(self, key: str) -> LookupResult | None:
        """Store what this process keeps of that generation, if anything: it is paid for and has no need of a lead.

        Raises `StoreUnavailable`, `StoreMisconfigured`, `LedgerUnavailable`, `LedgerMisconfigured`.
        """
        return await self._unstored.finish(key)

    async def shut_down(self) -> None:
        """The process ends: give up the leases of what is kept."""
        await self._unstored.shut_down()

    def _keep_unstored(self, attempt: Attempt, pending: PendingUploads) -> bool:
        unstored = UnstoredPicture(
            pending=pending,
            finish=lambda: self._finish(attempt, pending),
            hold=attempt.lease.renewing,
            release=attempt.lease.release,
        )
        return self._unstored.add(attempt.lease.key, unstored)

    async def _finish(self, attempt: Attempt, pending: PendingUploads) -> LookupResult:
        """One more try to store what is kept; it renews the store's rest, or ends it."""
        attempt.lease.check()
        try:
            stored = await self.store(attempt, pending, pauses=())
        except (StoreUnavailable, StoreMisconfigured) as error:
            await report_store(self._ledger, attempt, error)
            raise
        return await self.complete(attempt, stored)

    async def _adopt(self, store: ObjectStore, intent: Upload) -> bytes | None:
        """The object a dead predecessor stored, if it is whole."""
        try:
            body = await store.get(intent.path)
        except ObjectMissing:
            return None
        return body if await digest_of(body) == intent.digest else None

    async def _put(self, store: ObjectStore, upload: Upload, body: bytes, pauses: Sequence[float]) -> None:
        """Store an object; the picture is paid for, so a failing store is asked several times, one that hangs once."""
        media_type = PictureFormat(upload.format).media_type
        await repeat(
            lambda: store.put(upload.path, body, media_type=media_type),
            errors=(StoreUnavailable,),
            pauses=pauses,
            within_seconds=UPLOAD_SECONDS,
            clock=self._clock,
        )
