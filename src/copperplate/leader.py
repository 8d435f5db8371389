"""The leader: from a lease to a stored, verified picture. Every step is written ahead, so any can be the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.collecting import Collecting, NotedJob, Verified
from copperplate.crash import crash_point
from copperplate.errors import (
    GenerationFailed,
    LeaseLost,
    LedgerUnavailable,
    Misconfigured,
    ObjectMissing,
    ProviderFailed,
    StillGenerating,
    StoreMisconfigured,
    StoreUnavailable,
    reporting,
)
from copperplate.failures import REFUSAL_REST, refusal_rest, retry_after
from copperplate.hashing import digest_of
from copperplate.keeping import Keeping, Kept
from copperplate.lease import INSIST_SECONDS, Lease, keep
from copperplate.model import Failure, FailureClass, Job, Made, Needs, PictureFormat, Upload
from copperplate.recipes.image import original_key
from copperplate.recipes.objects import object_path, rendition_upload
from copperplate.recipes.request import request_of
from copperplate.refusals import without_prompt
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from copperplate.errors import CopperplateError
    from copperplate.model import Entry, Lead, RenditionUpload, Want
    from copperplate.ports import Clock, Images, Ledger, ObjectStore, Provider

logger = logging.getLogger(__name__)

MAX_BILLED_SUBMITS = 2
# A picture that two successors died of, after its first leader, is not decoded again.
MAX_DECODES = 2
UPLOAD_TRIES = 6
# Callers wait meanwhile. What is not stored then is kept, and tried again without them.
UPLOAD_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """How long things may take. A lease is trusted for `lease` minus `margin` of our own clock."""

    lease: timedelta = timedelta(seconds=20)
    heartbeat: timedelta = timedelta(seconds=5)
    margin: timedelta = timedelta(seconds=2)
    wait: timedelta = timedelta(seconds=30)
    poll_first_seconds: float = 0.25
    poll_factor: float = 1.5
    poll_max_seconds: float = 2.0
    # How long a provider keeps a job's result, and the first pause between two collections.
    job_retention: timedelta = timedelta(days=1)
    collect_rest: timedelta = timedelta(seconds=5)

    @property
    def trusted_seconds(self) -> float:
        """How long a lease is trusted, from before it was asked for."""
        return (self.lease - self.margin).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of picture: who makes it, where its objects live, and how large they may be."""

    provider: Provider
    store: ObjectStore
    # What `store` has to do for a picture of this kind, whatever its size.
    needs: Needs = field(default_factory=Needs)
    # How long callers wait; None: as long as for any picture.
    wait: timedelta | None = None
    # Of a finished picture; what cannot be made smaller fails. None: as many as the store takes.
    max_bytes: int | None = None

    @property
    def services(self) -> tuple[str, str]:
        """What a submit needs, by the names of their breakers."""
        return (self.provider.name, f"storage:{self.store.bucket}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What a leader made: the original, and the entry its caller asked for.

    Without a rendition, `entry` is the original's. `body` is None where somebody else's bytes stand.
    """

    entry: Entry
    body: bytes | None = field(repr=False)
    original: Entry
    original_body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prints:
    """The original and the rendition that is to be stored with it."""

    original: Upload
    original_body: bytes
    rendition: RenditionUpload | None = None
    rendition_body: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes to keep them."""
        return len(self.original_body) + len(self.rendition_body or b"")

    def recorded(self, entry: Entry, key: str) -> Generated:
        """As the ledger recorded them under the generation's `key`."""
        original = self.original.as_entry(key=original_key(key), generation_key=key, is_original=True)
        if entry.is_original:
            return Generated(entry=entry, body=self.original_body, original=original, original_body=self.original_body)
        is_ours = self.rendition is not None and self.rendition.path == entry.path
        body = self.rendition_body if is_ours else None
        return Generated(entry=entry, body=body, original=original, original_body=self.original_body)


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
            ledger=ledger, clock=clock, retention=timings.job_retention, rest=timings.collect_rest
        )
        self._keeping: Keeping[_Prints, Generated] = Keeping(clock)

    async def generate(self, want: Want, lead: Lead, asked_at: float) -> Generated:
        """The picture of `want`, resumed from the recovery point in `lead`.

        `asked_at` is our clock from before the lease was asked for. Raises `LeaseLost` once somebody
        else holds it, `GenerationFailed` after writing the negative entry, `LedgerUnavailable`,
        `StoreUnavailable`, `StoreMisconfigured` and `StillGenerating` where whoever takes the lease over can resume.
        Cancelled, it gives the lease up for somebody else to resume at once.
        """
        lease = Lease(want.generation_key, lead.fence, asked_at + self._timings.trusted_seconds, self._clock)
        crash_point("acquired")
        try:
            async with keep(lease, self._ledger, self._timings):
                prints = await self._obtain(want, lead, lease, asked_at)
                made = await self._complete(want, lease, prints)
        except (StoreUnavailable, StoreMisconfigured) as error:
            await self._report_store(want, error)
            await self._keep(want, lead, lease)
            raise
        except (LeaseLost, LedgerUnavailable, StillGenerating):
            # Nothing is lost: whoever takes the lease over resumes from the phase we wrote down.
            raise
        except asyncio.CancelledError:
            await self._hand_over(lease)
            raise
        except Exception as error:
            raise await self._give_up(want, lead, error) from error
        self._keeping.forget(lease.key)
        return made

    async def finish_kept(self, key: str) -> Generated | None:
        """Store what this process keeps of that generation, if anything: it is paid for and has no need of a lead.

        Raises `StoreUnavailable`, `StoreMisconfigured`, `LedgerUnavailable`.
        """
        return await self._keeping.finish(key)

    async def drain(self) -> None:
        """Give up the leases of what is kept."""
        await self._keeping.drain()

    async def _complete(self, want: Want, lease: Lease, prints: _Prints) -> Generated:
        url = self._kinds[want.kind].store.public_url(prints.original.path)
        crash_point("completing")
        entry = await self._ledger.complete(
            lease.key, lease.fence, prints.original, url=url, rendition=prints.rendition
        )
        if entry is None:
            raise LeaseLost
        crash_point("completed")
        return prints.recorded(entry, lease.key)

    async def _keep(self, want: Want, lead: Lead, lease: Lease) -> None:
        """Hold on to what is paid for until the store takes it; without such, the next caller may lead at once."""
        prints = lease.unstored
        if prints is None and lead.submit_no == 0:
            await self._withdraw(lease)
            return
        if prints is None:
            await self._hand_over(lease)
            return
        kept = Kept(
            prints=prints,
            size_bytes=prints.size_bytes,
            finish=lambda: self._finish(want, lease, prints),
            hold=lambda: keep(lease, self._ledger, self._timings),
            release=lambda: self._hand_over(lease),
        )
        self._keeping.keep(lease.key, kept)

    async def _withdraw(self, lease: Lease) -> None:
        """Nothing was asked of a provider: nothing is remembered, and nobody's credit is held for it."""
        failure = Failure(
            failure_class=FailureClass.ABANDONED,
            message="the store takes no pictures",
            retry_after=timedelta(0),
            billed=False,
        )
        with contextlib.suppress(LedgerUnavailable):
            await self._ledger.fail(lease.key, lease.fence, failure)

    async def _finish(self, want: Want, lease: Lease, prints: _Prints) -> Generated:
        """One more try to store what is kept; it renews the store's rest, or ends it."""
        lease.check()
        try:
            stored = await self._store_all(self._kinds[want.kind].store, prints, tries=1)
        except (StoreUnavailable, StoreMisconfigured) as error:
            await self._report_store(want, error)
            raise
        return await self._complete(want, lease, stored)

    async def _report_store(self, want: Want, error: CopperplateError) -> None:
        """Let the store rest for all processes, so that no money is spent on what it would refuse."""
        name = self._kinds[want.kind].services[1]
        with contextlib.suppress(LedgerUnavailable):
            if await self._ledger.report_refusal(name, FailureClass.STORE, str(error), REFUSAL_REST):
                logger.error("%s takes no pictures, none is asked for: %s: %s", name, error.code, error)

    async def _check_store(self, want: Want) -> None:
        """Before money is spent. A picture of so many pixels is hardly ever smaller than a tenth of a byte for each."""
        kind = self._kinds[want.kind]
        await kind.store.check(replace(kind.needs, min_bytes=want.size.width * want.size.height // 10))

    async def _obtain(self, want: Want, lead: Lead, lease: Lease, asked_at: float) -> _Prints:
        """The original, stored: adopted, collected or submitted, whatever the recovery point allows."""
        kind = self._kinds[want.kind]
        if lead.intent is not None:
            kept = self._keeping.find(lease.key)
            if kept is not None and kept.original.path == lead.intent.path:
                lease.unstored = kept
                return await self._store_all(kind.store, kept)
            if (body := await self._adopt(kind.store, lead.intent)) is not None:
                return _Prints(original=lead.intent, original_body=body)
        made = await self._make(want, lead, lease, asked_at)
        crash_point("made")
        with reporting(made.usage):
            prints = await self._prepare(want, lease, made)
        # Not by our clock: a process that stood still keeps what it paid for, unless a successor has a higher fence.
        if lease.is_refused or not await self._insist(
            lambda: self._ledger.intend_upload(
                lease.key,
                lease.fence,
                prints.original,
                usage=made.usage,
                cost_micro_usd=kind.provider.cost_micro_usd(want.recipe, made.usage),
                rendition=prints.rendition,
            )
        ):
            raise LeaseLost
        crash_point("intended")
        lease.unstored = prints
        prints = await self._store_all(kind.store, prints)
        crash_point("uploaded")
        return prints

    async def _make(self, want: Want, lead: Lead, lease: Lease, asked_at: float) -> Verified:
        """The picture, verified: of the job a predecessor noted, or of a submit of our own."""

        async def verify(made: Made) -> Verified:
            with reporting(made.usage):
                original_format, size = await self._images.verify(
                    made.body, covers=want.size, begin=lambda: self._begin_decode(lead, lease)
                )
            return Verified(body=made.body, usage=made.usage, format=original_format, size=size)

        if lead.job is not None:
            job = NotedJob(lead.job, asked_at - lead.job_age.total_seconds())
        else:
            answer = await self._submit(want, lead, lease)
            if isinstance(answer, Made):
                return await verify(answer)
            job = NotedJob(answer, self._clock.monotonic())
        return await self._collecting.collect(want, lead, job, self._kinds[want.kind].provider, verify)

    async def _prepare(self, want: Want, lease: Lease, made: Verified) -> _Prints:
        """What is to be stored: the original and a rendition of it, or the finished picture alone."""
        body, original_format, size = made.body, made.format, made.size
        is_finished = want.rendition_key == original_key(want.generation_key)
        if is_finished:
            at_most_bytes = self._kinds[want.kind].max_bytes
            body = await self._images.encode(body, want, at_most_bytes=at_most_bytes)
            original_format, size = want.rendition.format.value, want.size
        digest = await digest_of(body)
        upload = Upload(
            path=object_path(self._clock.now(), digest, lease.key, str(lease.fence), original_format),
            digest=digest,
            size_bytes=len(body),
            format=original_format,
            width=size.width,
            height=size.height,
        )
        prints = _Prints(original=upload, original_body=body)
        return prints if is_finished else await self._encode(want, lease, prints)

    async def _encode(self, want: Want, lease: Lease, prints: _Prints) -> _Prints:
        """With the rendition its caller asked for. The picture is paid for: whatever fails here, the original stays."""
        # The serving tries again, from the stored original, and says what is wrong.
        with contextlib.suppress(Exception):
            body = await self._images.encode(prints.original_body, want)
            rendition = rendition_upload(want, body, now=self._clock.now(), nonce=str(lease.fence))
            return replace(prints, rendition=rendition, rendition_body=body)
        return prints

    async def _store_all(self, store: ObjectStore, prints: _Prints, *, tries: int = UPLOAD_TRIES) -> _Prints:
        """Store both at once; without the rendition if that alone fails."""
        if prints.rendition is None or prints.rendition_body is None:
            await self._store(store, prints.original, prints.original_body, tries)
            return prints
        failed, unrendered = await asyncio.gather(
            self._store(store, prints.original, prints.original_body, tries),
            self._store(store, prints.rendition, prints.rendition_body, tries),
            return_exceptions=True,
        )
        if failed is not None:
            raise failed
        return prints if unrendered is None else replace(prints, rendition=None, rendition_body=None)

    async def _submit(self, want: Want, lead: Lead, lease: Lease) -> Job | Made:
        """The answer to a submit of our own; one that got no answer is sent once more, under the next number."""
        provider = self._kinds[want.kind].provider
        if provider.is_billable and lead.submit_no >= MAX_BILLED_SUBMITS:
            raise ProviderFailed(FailureClass.AMBIGUOUS, "no picture of two submits of this attempt was stored")
        await self._check_store(want)
        submit_no = lead.submit_no + 1
        try:
            return await self._submit_once(want, lease, submit_no)
        except ProviderFailed as failed:
            if failed.failure_class is not FailureClass.AMBIGUOUS or submit_no >= MAX_BILLED_SUBMITS:
                raise
            self._log_failure(want, lead, failed, failed)
            return await self._submit_once(want, lease, submit_no + 1)

    async def _submit_once(self, want: Want, lease: Lease, submit_no: int) -> Job | Made:
        """One billable request, written ahead; its id is noted before anything is awaited."""
        provider = self._kinds[want.kind].provider
        if not await self._ledger.begin_submit(
            lease.key,
            lease.fence,
            submit_no=submit_no,
            provider=provider.name,
            estimate_micro_usd=provider.price_micro_usd(want.recipe),
        ):
            raise LeaseLost
        crash_point("announced")
        lease.check()
        answer = await provider.submit(want.recipe)
        crash_point("answered")
        if isinstance(answer, Job):
            if not await self._insist(lambda: self._ledger.note_request(lease.key, lease.fence, answer)):
                raise LeaseLost
            crash_point("noted")
        return answer

    async def _begin_decode(self, lead: Lead, lease: Lease) -> None:
        """Decoding can take the process with it: a successor writes it ahead, so that it is not tried for ever.

        The first leader does not: a miss that goes well costs no call for it.
        """
        if lead.submit_no > 0:
            if lead.decode_no >= MAX_DECODES:
                raise ProviderFailed(FailureClass.BAD_OUTPUT, "leader after leader died while decoding the picture")
            lease.check()
            if not await self._ledger.begin_decode(lease.key, lease.fence, decode_no=lead.decode_no + 1):
                raise LeaseLost
        crash_point("decoding")

    async def _insist(self, note: Callable[[], Awaitable[bool]]) -> bool:
        """The ledger's answer to `note`, asked again for as long as callers wait.

        What was paid for is known to this process alone until it is noted. A lease that ran out meanwhile does
        no harm: while the ledger is away nobody takes it over, and afterwards the fence decides.
        """
        give_up_at = self._clock.monotonic() + self._timings.wait.total_seconds()
        while True:
            try:
                return await note()
            except LedgerUnavailable:
                if self._clock.monotonic() >= give_up_at:
                    raise
            await self._clock.sleep(INSIST_SECONDS)

    async def _adopt(self, store: ObjectStore, intent: Upload) -> bytes | None:
        """The object a dead predecessor stored, if it is whole."""
        try:
            body = await store.get(intent.path)
        except ObjectMissing:
            return None
        return body if await digest_of(body) == intent.digest else None

    async def _store(self, store: ObjectStore, upload: Upload, body: bytes, tries: int) -> None:
        """Store an object; the picture is paid for, so a failing store is asked several times, one that hangs once."""
        media_type = PictureFormat(upload.format).media_type
        give_up_at = self._clock.monotonic() + UPLOAD_SECONDS
        for number in range(tries):
            try:
                await store.put(upload.path, body, media_type=media_type)
            except StoreUnavailable:
                if number == tries - 1 or self._clock.monotonic() >= give_up_at:
                    raise
            else:
                return
            await self._clock.sleep(0.2 * 2**number)

    async def _give_up(self, want: Want, lead: Lead, error: Exception) -> GenerationFailed | LeaseLost:
        """Write the negative entry; what we did not expect counts as transient, and as billed.

        What our account or a setting is at fault for concerns every prompt: the provider rests before this one does.
        """
        cause = _failure_of(error)
        self._log_failure(want, lead, cause, error)
        rest = retry_after(
            cause.failure_class,
            attempt=lead.attempt,
            hint=cause.retry_after,
            jitter=random.random(),  # noqa: S311 - jitter, not a secret
        )
        if cause.failure_class is FailureClass.ACCOUNT:
            rest = refusal_rest(billed=cause.billed)
            await self._report_refusal(want, cause, rest)
        provider = self._kinds[want.kind].provider
        failure = Failure(
            failure_class=cause.failure_class,
            message=str(cause),
            retry_after=rest,
            billed=cause.billed,
            usage=cause.usage,
            cost_micro_usd=provider.cost_micro_usd(want.recipe, cause.usage) if cause.usage else None,
        )
        if not await self._ledger.fail(want.generation_key, lead.fence, failure):
            return LeaseLost()  # a successor is at it; what it makes of the attempt is what counts
        return GenerationFailed(cause.failure_class, rest)

    async def _report_refusal(self, want: Want, cause: ProviderFailed, rest: timedelta) -> None:
        """Let the provider rest for all processes; the one that begins the rest tells the operator."""
        name = self._kinds[want.kind].provider.name
        reason = without_prompt(str(cause), request_of(want.recipe).prompt)
        if await self._ledger.report_refusal(name, cause.failure_class, reason, rest):
            seconds = rest.total_seconds()
            logger.error("%s refuses us, whatever the prompt: %s; the next try is in %d s", name, reason, seconds)

    def _log_failure(self, want: Want, lead: Lead, failed: ProviderFailed, error: Exception) -> None:
        """A line for each call that failed, since callers see only its class; without messages, which may quote."""
        logger.warning(
            "attempt failed: provider=%s class=%s cause=%s billed=%s attempt=%d key=%s",
            self._kinds[want.kind].provider.name,
            failed.failure_class,
            type(error.__cause__ or error).__name__,
            str(failed.billed).lower(),
            lead.attempt,
            want.generation_key[:12],
        )

    async def _hand_over(self, lease: Lease) -> None:
        """Give up the lease, so that a successor need not wait until it runs out: this process stops."""
        with contextlib.suppress(LedgerUnavailable):
            await self._ledger.heartbeat(lease.key, lease.fence, timedelta(0))


def _failure_of(error: Exception) -> ProviderFailed:
    """What an attempt ended with, as a provider's failure; what nobody planned is logged with the way it took."""
    if isinstance(error, ProviderFailed):
        return error
    if isinstance(error, Misconfigured):
        return ProviderFailed(FailureClass.ACCOUNT, str(error), billed=False)
    log_unexpected(error, "a generation")
    return ProviderFailed(FailureClass.TRANSIENT, f"unexpected {type(error).__name__}")
