"""The leader: from a lease to a stored, verified picture. Every step is written ahead, so any can be the last.

Read `generate`, `_obtain`, `_make`, `_submit`. What follows the picture is in `uploads.py`, a paid job's collection
in `collecting.py`, what goes wrong in `failed_attempts.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.errors import (
    LeaseLost,
    LedgerMisconfigured,
    LedgerUnavailable,
    ProviderFailed,
    StillGenerating,
    StoreMisconfigured,
    StoreUnavailable,
    reporting,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.attempt import Attempt
from copperplate.generation.collecting import Collecting, NotedJob, Verified
from copperplate.generation.crash_points import crash_point
from copperplate.generation.digests import digest_of
from copperplate.generation.failed_attempts import log_failure, record_failure
from copperplate.generation.lease import Lease
from copperplate.generation.pending_uploads import PendingUploads
from copperplate.generation.uploads import Uploads
from copperplate.model import Job, ProviderResult, Upload
from copperplate.recipes.image import original_key
from copperplate.recipes.objects import object_path, rendition_upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.generation.kinds import Kind
    from copperplate.generation.lookup import LookupResult
    from copperplate.generation.timings import Timings
    from copperplate.model import Lead, PictureRequest
    from copperplate.ports import Clock, Images, Ledger

MAX_BILLED_SUBMITS = 2
# A picture that two successors died of, after its first leader, is not decoded again.
MAX_DECODES = 2


class Leader:
    """Generates a picture under a lease."""

    def __init__(
        self, *, ledger: Ledger, kinds: Mapping[str, Kind], images: Images, clock: Clock, timings: Timings
    ) -> None:
        self._ledger = ledger
        self._kinds = kinds
        self._images = images
        self._clock = clock
        self._timings = timings
        self._collecting = Collecting(
            ledger=ledger,
            clock=clock,
            retention=timings.job_retention,
            rest=timings.collect_rest,
            look=timings.look,
        )
        self._uploads = Uploads(ledger=ledger, clock=clock)

    async def generate(self, request: PictureRequest, lead: Lead, asked_at: float) -> LookupResult:
        """The picture of `request`, resumed from the recovery point in `lead`.

        `asked_at` is our clock from before the lease was asked for. Raises `LeaseLost` once another process
        holds it, `GenerationFailed` after writing the negative entry, `LedgerUnavailable`, `LedgerMisconfigured`,
        `StoreUnavailable`, `StoreMisconfigured` and `StillGenerating` where the next holder of the lease can resume.
        Cancelled, it releases the lease for a successor to resume at once.
        """
        attempt = self._begin(request, lead, asked_at)
        crash_point("acquired")
        try:
            async with attempt.lease.keep():
                stored = await self._obtain(attempt)
                generated = await self._uploads.complete(attempt, stored)
        except (StoreUnavailable, StoreMisconfigured) as error:
            await self._uploads.put_off(attempt, error)
            raise
        except (LeaseLost, LedgerUnavailable, LedgerMisconfigured, StillGenerating):
            # Nothing is lost: the next holder of the lease resumes from the phase we wrote down.
            raise
        except asyncio.CancelledError:
            await attempt.lease.release()
            raise
        except Exception as error:
            raise await record_failure(self._ledger, attempt, error) from error
        self._uploads.forget(attempt.lease.key)
        return generated

    async def finish_kept(self, key: str) -> LookupResult | None:
        """Store what this process keeps of that generation, if anything: it is paid for and has no need of a lead.

        Raises `StoreUnavailable`, `StoreMisconfigured`, `LedgerUnavailable`, `LedgerMisconfigured`.
        """
        return await self._uploads.finish_kept(key)

    async def drain(self) -> None:
        """Give up the leases of what is kept."""
        await self._uploads.drain()

    def _begin(self, request: PictureRequest, lead: Lead, asked_at: float) -> Attempt:
        lease = Lease(
            key=request.generation_key,
            fence=lead.fence,
            trusted_until=asked_at + self._timings.trusted_seconds,
            ledger=self._ledger,
            clock=self._clock,
            timings=self._timings,
        )
        return Attempt(
            request=request,
            kind=self._kinds[request.kind],
            lead=lead,
            lease=lease,
            asked_at=asked_at,
        )

    async def _obtain(self, attempt: Attempt) -> PendingUploads:
        """The original, stored: adopted, collected or submitted, whatever the recovery point allows."""
        if (resumed := await self._uploads.resume(attempt)) is not None:
            return resumed
        verified = await self._make(attempt)
        crash_point("made")
        with reporting(verified.usage):
            pending = await self._prepare(attempt, verified)
        # Not by our clock: a process that stood still keeps what it paid for, unless a successor has a higher fence.
        if attempt.lease.is_refused or not await self._intend(attempt, verified, pending):
            raise LeaseLost
        crash_point("intended")
        attempt.unstored = pending
        stored = await self._uploads.store(attempt, pending)
        crash_point("uploaded")
        return stored

    async def _make(self, attempt: Attempt) -> Verified:
        """The picture, verified: of the job a predecessor noted, or of a submit of our own."""

        async def verify(made: ProviderResult) -> Verified:
            with reporting(made.usage):
                original_format, size = await self._images.verify(
                    made.body, covers=attempt.request.size, begin=lambda: self._begin_decode(attempt)
                )
            return Verified(body=made.body, usage=made.usage, format=original_format, size=size)

        lead = attempt.lead
        if lead.job is not None:
            job = NotedJob(lead.job, attempt.asked_at - lead.job_age.total_seconds())
        else:
            answer = await self._submit(attempt)
            if isinstance(answer, ProviderResult):
                return await verify(answer)
            job = NotedJob(answer, self._clock.monotonic())
        return await self._collecting.collect(attempt, job, verify)

    async def _submit(self, attempt: Attempt) -> Job | ProviderResult:
        """The answer to a submit of our own; one that got no answer is sent once more, under the next number."""
        lead = attempt.lead
        if attempt.kind.provider.is_billable and lead.submit_no >= MAX_BILLED_SUBMITS:
            raise ProviderFailed(FailureClass.AMBIGUOUS, "no picture of two submits of this attempt was stored")
        await self._uploads.check_store(attempt)
        submit_no = lead.submit_no + 1
        try:
            return await self._submit_once(attempt, submit_no)
        except ProviderFailed as failed:
            if failed.failure_class is not FailureClass.AMBIGUOUS or submit_no >= MAX_BILLED_SUBMITS:
                raise
            log_failure(attempt, failed, failed)
            return await self._submit_once(attempt, submit_no + 1)

    async def _submit_once(self, attempt: Attempt, submit_no: int) -> Job | ProviderResult:
        """One billable request, written ahead; its id is noted before anything is awaited."""
        lease, provider, recipe = attempt.lease, attempt.kind.provider, attempt.request.recipe
        if not await self._ledger.begin_submit(
            lease.key,
            lease.fence,
            submit_no=submit_no,
            provider=provider.name,
            estimate_micro_usd=provider.price_micro_usd(recipe),
        ):
            raise LeaseLost
        crash_point("announced")
        lease.check()
        answer = await provider.submit(recipe)
        crash_point("answered")
        if isinstance(answer, Job):
            if not await lease.retry_until_recorded(lambda: self._ledger.note_request(lease.key, lease.fence, answer)):
                raise LeaseLost
            crash_point("noted")
        return answer

    async def _begin_decode(self, attempt: Attempt) -> None:
        """Decoding can take the process with it: a successor writes it ahead, so that it is not tried for ever.

        The first leader does not: a miss that goes well costs no call for it.
        """
        lead, lease = attempt.lead, attempt.lease
        if lead.submit_no > 0:
            if lead.decode_no >= MAX_DECODES:
                raise ProviderFailed(FailureClass.BAD_OUTPUT, "leader after leader died while decoding the picture")
            lease.check()
            if not await self._ledger.begin_decode(lease.key, lease.fence, decode_no=lead.decode_no + 1):
                raise LeaseLost
        crash_point("decoding")

    async def _prepare(self, attempt: Attempt, verified: Verified) -> PendingUploads:
        """What is to be stored: the original and a rendition of it, or the finished picture alone."""
        request, lease = attempt.request, attempt.lease
        body, original_format, size = verified.body, verified.format, verified.size
        is_finished = request.rendition_key == original_key(request.generation_key)
        if is_finished:
            body = await self._images.encode(body, request, at_most_bytes=attempt.kind.max_bytes)
            original_format, size = request.rendition.format.value, request.size
        digest = await digest_of(body)
        upload = Upload(
            path=object_path(self._clock.now(), digest, lease.key, str(lease.fence), original_format),
            digest=digest,
            size_bytes=len(body),
            format=original_format,
            width=size.width,
            height=size.height,
        )
        pending = PendingUploads(original=upload, original_body=body)
        return pending if is_finished else await self._encode(attempt, pending)

    async def _encode(self, attempt: Attempt, pending: PendingUploads) -> PendingUploads:
        """With the rendition its caller asked for. The picture is paid for: whatever fails here, the original stays."""
        # The serving tries again, from the stored original, and says what is wrong.
        with contextlib.suppress(Exception):
            body = await self._images.encode(pending.original_body, attempt.request)
            rendition = rendition_upload(
                attempt.request,
                digest=await digest_of(body),
                size_bytes=len(body),
                now=self._clock.now(),
                nonce=str(attempt.lease.fence),
            )
            return replace(pending, rendition=rendition, rendition_body=body)
        return pending

    async def _intend(self, attempt: Attempt, verified: Verified, pending: PendingUploads) -> bool:
        """Write ahead where the picture is about to be stored, and what it was billed."""
        lease, usage = attempt.lease, verified.usage
        return await lease.retry_until_recorded(
            lambda: self._ledger.intend_upload(
                lease.key,
                lease.fence,
                pending.original,
                usage=usage,
                cost_micro_usd=attempt.kind.provider.cost_micro_usd(attempt.request.recipe, usage),
                rendition=pending.rendition,
            )
        )
