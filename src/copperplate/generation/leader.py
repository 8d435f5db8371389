"""The leader: from a lease to a stored, verified picture.

Each step is recorded before it is taken; a successor can resume after a crash at any of them. Read `generate`,
`_obtain`, `_make`, `_submit`. Storing is in `uploader.py`, collecting a paid job in `job_collector.py`, recording
failures in `failed_attempts.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from copperplate.budgets import Refused
from copperplate.denials import SpendingRefused, TakenDown, error_of
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
from copperplate.generation.crash_points import crash_point
from copperplate.generation.digests import digest_of
from copperplate.generation.failed_attempts import log_failure, record_failure
from copperplate.generation.pending_uploads import PendingUploads
from copperplate.generation.rendition_plan import plan_renditions
from copperplate.generation.state_log import log_begin, log_submit
from copperplate.generation.verified import Verified
from copperplate.model import Job, OriginalUpload, PictureFormat, ProviderResult, Rendition
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import object_path
from copperplate.source_errors import InputUnavailable

if TYPE_CHECKING:
    from datetime import datetime

    from copperplate.generation.attempt import Attempt
    from copperplate.generation.cap_watch import CapWatch
    from copperplate.generation.job_collector import JobCollector
    from copperplate.generation.lookup import LookupResult
    from copperplate.generation.pending_uploads import StoredUploads
    from copperplate.generation.rendition_plan import PlannedRendition
    from copperplate.generation.uploader import Uploader
    from copperplate.ports import Clock, Images, Ledger, ProcessingProvider

MAX_BILLED_SUBMITS = 2
# Give up after two successors crashed while decoding.
MAX_DECODES = 2
# What stands for the original of a kind that is its own.
FINISHED: Final = Rendition(format=PictureFormat.PNG, quality=None)


@dataclass(slots=True, kw_only=True, eq=False)
class Leader:
    """Generates one picture, under one lease."""

    attempt: Attempt
    ledger: Ledger = field(repr=False)
    images: Images = field(repr=False)
    clock: Clock = field(repr=False)
    collector: JobCollector = field(repr=False)
    uploader: Uploader = field(repr=False)
    cap_watch: CapWatch = field(repr=False)

    async def generate(self) -> LookupResult:
        """The picture, resumed from the recovery point of the lead.

        Raises `LeaseLost` once another process holds the lease, `GenerationFailed` after writing the negative entry,
        `SpendingRefused` where the ledger gave the lease back because a budget has no room, `LedgerUnavailable`,
        `LedgerMisconfigured`, `StoreUnavailable`, `StoreMisconfigured` and `StillGenerating` where the next holder of
        the lease can resume, and what reading an input raises. Cancelled, it holds a paid picture that is not stored
        yet; without one it releases the lease for a successor to resume at once.
        """
        lease = self.attempt.lease
        crash_point("acquired")
        log_begin(self.attempt)
        try:
            async with lease.renewing():
                stored = await self._obtain()
                generated = await self.uploader.complete(self.attempt, stored)
        except (StoreUnavailable, StoreMisconfigured) as error:
            await self.uploader.handle_store_failure(self.attempt, error)
            raise
        except (LeaseLost, LedgerUnavailable, LedgerMisconfigured, StillGenerating, SpendingRefused):
            # Nothing is lost: the next holder of the lease resumes from what is recorded.
            raise
        except asyncio.CancelledError:
            await self.uploader.hold_or_release(self.attempt)
            raise
        except Exception as error:
            if self.attempt.request.inputs and isinstance(error, InputUnavailable | TakenDown):
                # No fault of the provider's, and nothing to remember.
                await self.uploader.withdraw(self.attempt, "an input is not to be had")
                raise
            raise await record_failure(self.ledger, self.attempt, error, self.clock) from error
        self.uploader.forget(lease.key)
        return generated

    async def _obtain(self) -> StoredUploads:
        """The original, stored: adopted, collected or submitted, as the recovery point requires."""
        if (resumed := await self.uploader.resume(self.attempt)) is not None:
            return resumed
        verified = await self._make()
        crash_point("made")
        with reporting(verified.usage):
            pending = await self._prepare(verified)
        # Ignore local lease expiry here; only the fence decides. A process that was frozen may still store its picture.
        if self.attempt.lease.is_refused or not await self._intend(verified, pending):
            raise LeaseLost
        crash_point("intended")
        self.attempt.unstored = pending
        stored = await self.uploader.store(self.attempt, pending)
        crash_point("uploaded")
        return stored

    async def _make(self) -> Verified:
        """The verified picture: the one that was given, of the job that a predecessor noted, or of a new submit."""
        if (given := self.attempt.given) is not None:
            return given
        answer = self.attempt.lead.job or await self._submit()
        if isinstance(answer, ProviderResult):
            return await self._verify(answer)
        return await self.collector.collect(self.attempt, answer, self._verify)

    async def _verify(self, made: ProviderResult) -> Verified:
        with reporting(made.usage):
            facts = await self.images.verify(made.body, covers=self.attempt.request.canvas, begin=self._begin_decode)
        return Verified(body=made.body, usage=made.usage, facts=facts)

    async def _submit(self) -> Job | ProviderResult:
        """The answer to our submit. A submit without an answer is repeated once, with the next number."""
        lead = self.attempt.lead
        if self.attempt.kind.provider.is_billable and lead.submit_no >= MAX_BILLED_SUBMITS:
            raise ProviderFailed(FailureClass.AMBIGUOUS, "no picture of two submits of this attempt was stored")
        await self.uploader.check_store(self.attempt)
        await self._prepare_inputs()
        submit_no = lead.submit_no + 1
        try:
            return await self._submit_once(submit_no)
        except ProviderFailed as failed:
            if failed.failure_class is not FailureClass.AMBIGUOUS or submit_no >= MAX_BILLED_SUBMITS:
                raise
            log_failure(self.attempt, failed, failed)
            return await self._submit_once(submit_no + 1)

    async def _prepare_inputs(self) -> None:
        """Have the provider take the pictures it is to work on, before anything that may be billed is recorded."""
        request = self.attempt.request
        if request.inputs:
            await cast("ProcessingProvider", self.attempt.kind.provider).prepare(request.recipe, request.inputs)

    async def _submit_once(self, submit_no: int) -> Job | ProviderResult:
        """Submit once: recorded before it is sent, and the job's id recorded before anything else."""
        attempt = self.attempt
        lease, provider = attempt.lease, attempt.kind.provider
        recipe, inputs = attempt.request.recipe, attempt.request.inputs
        # One who was frozen books nothing for a lease that ran out.
        lease.check()
        granted = await self.ledger.begin_submit(
            lease.key,
            lease.fence,
            submit_no=submit_no,
            provider=provider.name,
            estimate_micro_usd=provider.price_micro_usd(recipe, inputs),
            spending=attempt.spending,
        )
        if isinstance(granted, Refused):
            self.cap_watch.refused(granted.refusal)
            raise error_of(granted.refusal, attempt.spending.payer if attempt.spending else None)
        if granted is None:
            raise LeaseLost
        self.cap_watch.near(granted.near_caps)
        log_submit(attempt)
        crash_point("announced")
        lease.check()
        answer = await provider.submit(recipe, inputs)
        crash_point("answered")
        if isinstance(answer, Job):
            if not await lease.retry_until_recorded(lambda: self.ledger.note_request(lease.key, lease.fence, answer)):
                raise LeaseLost
            crash_point("noted")
            attempt.noted_at = self.clock.monotonic()
        return answer

    async def _begin_decode(self) -> None:
        """Record the decoding before it begins: it can crash the process, and must not be tried for ever.

        Only successors record it, so that a miss without a crash needs no call for it.
        """
        lead, lease = self.attempt.lead, self.attempt.lease
        if lead.submit_no > 0:
            if lead.decode_no >= MAX_DECODES:
                raise ProviderFailed(FailureClass.BAD_OUTPUT, "leader after leader died while decoding the picture")
            lease.check()
            if not await self.ledger.begin_decode(lease.key, lease.fence, decode_no=lead.decode_no + 1):
                raise LeaseLost
        crash_point("decoding")

    async def _prepare(self, verified: Verified) -> PendingUploads:
        """What is to be stored: the original, or the finished picture that stands for it, and renditions of it."""
        attempt, facts = self.attempt, verified.facts
        request, lease = attempt.request, attempt.lease
        body, original_format, size, has_c2pa = verified.body, facts.format, facts.size, facts.has_c2pa
        spec = KINDS[request.kind]
        if spec.is_own_original and not spec.is_kept_as_made and not self._is_finished(verified):
            body = await self._finish(verified)
            original_format, size, has_c2pa = FINISHED.format, request.canvas, False
        digest, now = await digest_of(body), self.clock.now()
        upload = OriginalUpload(
            path=object_path(now, digest, lease.key, str(lease.fence), original_format),
            digest=digest,
            size_bytes=len(body),
            format=original_format,
            width=size.width,
            height=size.height,
            placeholder=facts.placeholder,
            has_c2pa=has_c2pa,
            is_ai_made=verified.is_ai_made,
        )
        return PendingUploads(original=upload, original_body=body, plan=self._plan(digest, now))

    def _plan(self, original_digest: str, now: datetime) -> tuple[PlannedRendition, ...]:
        """The renditions beside the original; none where a predecessor may have died of encoding them.

        Of a picture that is kept as it was made nobody is shown another form.
        """
        attempt = self.attempt
        if attempt.lead.intent is not None or KINDS[attempt.request.kind].is_kept_as_made:
            return ()
        return plan_renditions(
            attempt.request, self.uploader.ahead, original_digest=original_digest, now=now, fence=attempt.lease.fence
        )

    def _is_finished(self, verified: Verified) -> bool:
        """Whether people can be shown the very bytes that the provider made."""
        facts, max_bytes = verified.facts, self.attempt.kind.max_bytes
        return (
            facts.format == FINISHED.format
            and facts.size == self.attempt.request.canvas
            and facts.is_upright
            and (max_bytes is None or len(verified.body) <= max_bytes)
        )

    async def _finish(self, verified: Verified) -> bytes:
        request = self.attempt.request
        model = request.model if verified.is_ai_made else None
        async with self.images.open(verified.body, model=model) as picture:
            return await picture.encode(FINISHED, canvas=request.canvas, at_most_bytes=self.attempt.kind.max_bytes)

    async def _intend(self, verified: Verified, pending: PendingUploads) -> bool:
        """Record where the picture is about to be stored, and what it cost."""
        attempt, usage = self.attempt, verified.usage
        lease, provider = attempt.lease, attempt.kind.provider
        cost = provider.cost_micro_usd(attempt.request.recipe, usage) if attempt.given is None else None
        return await lease.retry_until_recorded(
            lambda: self.ledger.intend_upload(
                lease.key,
                lease.fence,
                pending.original,
                usage=usage,
                cost_micro_usd=cost,
                rendition_paths=[planned.path for planned in pending.plan],
            )
        )
