"""From pending uploads to a recorded entry: stored, adopted, or held in memory until the store takes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.errors import LeaseLost, ObjectMissing, StoreMisconfigured, StoreUnavailable
from copperplate.generation.crash_points import crash_point
from copperplate.generation.digests import digest_of
from copperplate.generation.failed_attempts import record_withdrawal, report_store
from copperplate.generation.pending_uploads import StoredUploads
from copperplate.generation.rendition_uploads import RenditionUploads
from copperplate.generation.state_log import log_completion
from copperplate.generation.unstored_pictures import UnstoredPicture, UnstoredPictures
from copperplate.model import PictureFormat
from copperplate.repeats import repeat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.errors import CopperplateError
    from copperplate.generation.attempt import Attempt
    from copperplate.generation.lookup import LookupResult
    from copperplate.generation.pending_uploads import PendingUploads, StoredRendition
    from copperplate.model import Upload
    from copperplate.ports import Clock, Images, Ledger, ObjectStore

# Between two tries to store an object, in seconds.
UPLOAD_PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2)
# Callers wait this long. After that the picture is held in memory and retried in the background.
UPLOAD_SECONDS = 10.0


class Uploader:
    """Stores the pictures of attempts, and holds those that are paid for and not stored yet."""

    def __init__(self, *, ledger: Ledger, images: Images, clock: Clock, ahead: Sequence[PictureFormat]) -> None:
        self.ahead = tuple(ahead)
        self._ledger = ledger
        self._images = images
        self._clock = clock
        self._unstored: UnstoredPictures = UnstoredPictures(clock)

    async def check_store(self, attempt: Attempt) -> None:
        """Check that the store will take the picture, before money is spent on it.

        Raises `StoreUnavailable`, `StoreMisconfigured`.
        """
        kind, size = attempt.kind, attempt.request.canvas
        # Few pictures have less than a tenth of a byte per pixel.
        await kind.store.check(replace(kind.needs, min_bytes=size.width * size.height // 10))

    async def resume(self, attempt: Attempt) -> StoredUploads | None:
        """Store what an earlier attempt was about to store: held here, or adopted from a dead predecessor.

        An adopted original is completed alone: its predecessor may have died of encoding it.
        """
        if (intent := attempt.lead.intent) is None:
            return None
        unstored = self._unstored.find(attempt.lease.key)
        if unstored is not None and unstored.original.path == intent.path:
            attempt.unstored = unstored
            return await self.store(attempt, unstored)
        if (body := await self._adopt(attempt.kind.store, intent)) is not None:
            return StoredUploads(original=intent, original_body=body)
        return None

    async def store(self, attempt: Attempt, pending: PendingUploads) -> StoredUploads:
        """Store the original, and at the same time encode and store the renditions planned; answers what is stored.

        The original alone decides: raises `StoreUnavailable`, `StoreMisconfigured`, `ObjectConflict` where it fails.
        """
        storing = asyncio.create_task(self._store_renditions(attempt, pending, UPLOAD_PAUSES))
        try:
            await self._put(attempt.kind.store, pending.original, pending.original_body, UPLOAD_PAUSES)
            crash_point("original_uploaded")
            return _stored(pending, await storing)
        finally:
            storing.cancel()
            # `wait` instead of `await`: the task's cancellation must not hide our own.
            await asyncio.wait((storing,))

    async def complete(self, attempt: Attempt, stored: StoredUploads) -> LookupResult:
        """Record what is stored; raises `LeaseLost`, `LedgerUnavailable`, `LedgerMisconfigured`."""
        lease = attempt.lease
        url = attempt.kind.store.public_url(stored.original.path)
        crash_point("completing")
        entry = await self._ledger.complete(
            lease.key, lease.fence, stored.original, url=url, renditions=[each.upload for each in stored.renditions]
        )
        if entry is None:
            raise LeaseLost
        crash_point("completed")
        log_completion(attempt, self._clock)
        return stored.recorded(entry)

    async def handle_store_failure(self, attempt: Attempt, error: CopperplateError) -> None:
        """Open the store's breaker after `error`, and hold the unstored picture until the store takes it.

        Without a picture to hold, the lease is released: the next caller may lead at once.
        """
        # The picture first: whoever cancels the report must not lose it.
        is_held = self._hold(attempt)
        await report_store(self._ledger, attempt, error)
        if not is_held:
            await self.withdraw(attempt, "the store takes no pictures")

    async def withdraw(self, attempt: Attempt, reason: str) -> None:
        """End an attempt that made nothing; of one that was submitted before, the next caller goes on."""
        if attempt.unstored is None and attempt.lead.submit_no == 0:
            await record_withdrawal(self._ledger, attempt, reason)
        else:
            await attempt.lease.release()

    async def hold_or_release(self, attempt: Attempt) -> None:
        """Hold the unstored picture of an attempt that is cut off, with its lease; without one, release the lease."""
        if not self._hold(attempt):
            await attempt.lease.release()

    def forget(self, key: str) -> None:
        """Drop what is held of that generation: another attempt stored its picture."""
        self._unstored.forget(key)

    async def finish_unstored(self, key: str) -> LookupResult | None:
        """Store the picture that this process holds of that generation; None where it holds none.

        Raises `StoreUnavailable`, `StoreMisconfigured`, `LedgerUnavailable`, `LedgerMisconfigured`.
        """
        return await self._unstored.finish(key)

    async def shut_down(self) -> None:
        """Release the leases of the pictures held, at the end of the process."""
        await self._unstored.shut_down()

    def _hold(self, attempt: Attempt) -> bool:
        """Hold the attempt's unstored picture; False where there is none, or no room for it."""
        pending = attempt.unstored
        if pending is None:
            return False
        unstored = UnstoredPicture(
            pending=pending,
            finish=lambda: self._finish(attempt, pending),
            hold=attempt.lease.renewing,
            release=attempt.lease.release,
        )
        return self._unstored.add(attempt.lease.key, unstored)

    async def _finish(self, attempt: Attempt, pending: PendingUploads) -> LookupResult:
        """Try once more to store a held picture. Failure keeps the store's breaker open; success closes it."""
        attempt.lease.check()
        try:
            await self._put(attempt.kind.store, pending.original, pending.original_body, ())
        except (StoreUnavailable, StoreMisconfigured) as error:
            await report_store(self._ledger, attempt, error)
            raise
        # Encoded only now: tries that fail follow each other every few seconds.
        return await self.complete(attempt, _stored(pending, await self._store_renditions(attempt, pending, ())))

    async def _store_renditions(
        self, attempt: Attempt, pending: PendingUploads, pauses: Sequence[float]
    ) -> tuple[StoredRendition, ...]:
        async def put(upload: Upload, body: bytes) -> None:
            await self._put(attempt.kind.store, upload, body, pauses)

        uploads = RenditionUploads(images=self._images, request=attempt.request, pending=pending, put=put)
        return await uploads.store()

    async def _adopt(self, store: ObjectStore, intent: Upload) -> bytes | None:
        """The body of the object that a dead predecessor stored, if its digest is right."""
        try:
            body = await store.get(intent.path)
        except ObjectMissing:
            return None
        return body if await digest_of(body) == intent.digest else None

    async def _put(self, store: ObjectStore, upload: Upload, body: bytes, pauses: Sequence[float]) -> None:
        """Store an object, which is paid for: retry while the store fails, but not for longer than `UPLOAD_SECONDS`."""
        media_type = PictureFormat(upload.format).media_type
        await repeat(
            lambda: store.put(upload.path, body, media_type=media_type),
            errors=(StoreUnavailable,),
            pauses=pauses,
            within_seconds=UPLOAD_SECONDS,
            clock=self._clock,
        )


def _stored(pending: PendingUploads, renditions: tuple[StoredRendition, ...]) -> StoredUploads:
    return StoredUploads(original=pending.original, original_body=pending.original_body, renditions=renditions)
