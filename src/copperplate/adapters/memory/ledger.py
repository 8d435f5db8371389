"""The ledger in memory: the same promises inside one process, for users' tests and simulations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.adapters.memory.api_keys import MemoryApiKeys
from copperplate.adapters.memory.batches import MemoryBatches
from copperplate.adapters.memory.budget_operations import MemoryBudgetOperations
from copperplate.adapters.memory.cdn_purges import MemoryCdnPurges
from copperplate.adapters.memory.credits import DAY_SECONDS, Submit
from copperplate.adapters.memory.kept_pictures import MemoryKeptPictures
from copperplate.adapters.memory.lineage import digest_of_source
from copperplate.adapters.memory.source_pictures import MemorySourcePictures
from copperplate.adapters.memory.tables import BreakerRow, GenerationRow
from copperplate.adapters.memory.takedowns import MemoryTakedowns
from copperplate.budgets import Refused, SubmitGranted
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Gone, InsufficientCredits, Miss, Negative, Wait
from copperplate.model import Outcome, Phase
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    from copperplate.budgets import Charge, Spending, SubmitResult
    from copperplate.ledger_answers import AcquireResult, PeekResult
    from copperplate.model import Entry, Failure, Job, OriginalUpload, PictureRequest, RenditionUpload, RequestCount


class MemoryLedger(
    MemoryApiKeys,
    MemoryBudgetOperations,
    MemorySourcePictures,
    MemoryCdnPurges,
    MemoryTakedowns,
    MemoryKeptPictures,
    MemoryBatches,
):
    """Every port of the ledger over dictionaries. Each method runs without yielding, so it is atomic."""

    async def acquire(
        self,
        request: PictureRequest,
        *,
        leader: UUID,
        lease_duration: timedelta,
        charges: Sequence[Charge] = (),
        breakers: Sequence[str] = (),
        spending: Spending | None = None,
    ) -> AcquireResult:
        """See `Ledger.acquire`."""
        result = self._see(request.generation_key, request.rendition_key)
        if isinstance(result, Miss) and self._is_source_taken_down(digest_of_source(request)):
            result = Gone()
        row = self._generations.get(request.generation_key)
        now = self._clock.monotonic()
        until = now + lease_duration.total_seconds()
        if isinstance(result, Wait) and row is not None and row.leader == leader:
            row.lease_until = until
            return row.lead(now)
        if not isinstance(result, Miss):
            self._enforce_takedown(request.generation_key, request.rendition_key)
            return result
        # What is paid for is collected whatever the breakers say; only a new submit has to wait.
        left = row.lead(now) if row is not None and self._resumes(row) else None
        submits = left is None or (left.job is None and left.intent is None)
        is_open = self._open_breakers(breakers if submits else ())
        resting = max(is_open, key=lambda breaker: breaker.pause(now), default=None)
        if resting is not None and (pause := resting.pause(now)) > 0:
            return Negative(failure_class=resting.public_class, retry_after=timedelta(seconds=pause))
        if not self._can_pay(request.generation_key, charges):
            return InsufficientCredits()
        spending = spending if submits else None
        if (refusal := self._find_refusal(request.generation_key, spending)) is not None:
            return Refused(refusal=refusal)
        self._reserve(request.generation_key, charges)
        self._reserve_spending(request.generation_key, spending)
        for breaker in is_open:
            breaker.probe_until = until
        if row is None:
            row = GenerationRow(request.kind, request.recipe, now, next(self._fences), leader, until, now)
            self._generations[request.generation_key] = row
            self._kinds[request.generation_key] = request.kind
        else:
            self._claim_again(request.generation_key, row, leader, until)
        return row.lead(now)

    async def peek(self, generation_key: str, rendition_key: str) -> PeekResult:
        """See `Ledger.peek`."""
        return self._see(generation_key, rendition_key)

    async def begin_submit(
        self,
        key: str,
        fence: int,
        *,
        submit_no: int,
        provider: str,
        estimate_micro_usd: int | None = None,
        spending: Spending | None = None,
    ) -> SubmitResult:
        """See `Ledger.begin_submit`."""
        self._enforce_takedown(key)
        row = self._held(key, fence)
        if row is None or row.job is not None or submit_no not in (row.submit_no, row.submit_no + 1):
            return None
        if submit_no == row.submit_no:
            return SubmitGranted()
        if (refusal := self._find_refusal(key, spending, is_lead=False)) is not None:
            self._give_lead_back(key, row, provider)
            return Refused(refusal=refusal)
        row.asked_at = row.asked_at if row.submit_no else self._clock.monotonic()
        self._discard(row, row.intent)
        row.status, row.phase, row.submit_no, row.provider = "generating", Phase.SUBMITTING, submit_no, provider
        row.api_calls_made += 1
        row.intent = None
        submit = Submit(key, row.kind, provider, str(row.recipe["model"]), estimate_micro_usd)
        submit.day, submit.sent = self._clock.now().date(), self._clock.monotonic()
        near_caps = self._book_submit(key, submit, spending)
        self._submits.append(submit)
        self._totals["api_calls"] += 1
        return SubmitGranted(near_caps=near_caps)

    def _give_lead_back(self, key: str, row: GenerationRow, provider: str) -> None:
        """A budget refuses a submit: nothing failed, nothing is held, and whoever asks next goes on from here."""
        self._release_probes(replace(row, provider=provider).breakers)
        self._give_back_all([key])
        self._release_spending(key)
        self._set_failed(row, FailureClass.ABANDONED, self._clock.monotonic())
        self._hints.announce(key)

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        """See `Ledger.note_request`."""
        row = self._generations.get(key)
        if row is None or row.status != "generating" or row.fence < fence:
            return False
        if row.fence == fence or row.job is None:
            if row.job is None or row.job.request_id != job.request_id:
                row.noted_at = self._clock.monotonic()
            row.job = job
            row.phase = Phase.SUBMITTED if row.phase is Phase.SUBMITTING else row.phase
        return row.fence == fence

    async def begin_decode(self, key: str, fence: int, *, decode_no: int) -> bool:
        """See `Ledger.begin_decode`."""
        row = self._held(key, fence)
        if row is None or row.status != "generating" or decode_no not in (row.decode_no, row.decode_no + 1):
            return False
        row.decode_no = decode_no
        return True

    async def heartbeat(self, key: str, fence: int, lease_duration: timedelta) -> bool:
        """See `Ledger.heartbeat`."""
        row = self._held(key, fence)
        if row is None:
            return False
        row.lease_until = self._clock.monotonic() + lease_duration.total_seconds()
        return True

    async def intend_upload(
        self,
        key: str,
        fence: int,
        upload: OriginalUpload,
        *,
        usage: Mapping[str, int],
        cost_micro_usd: int | None = None,
        rendition_paths: Sequence[str] = (),
    ) -> bool:
        """See `Ledger.intend_upload`."""
        row = self._held(key, fence)
        if row is None:
            return False
        row.status = "generating"
        if row.intent is not None and row.intent.path != upload.path:
            self._discard(row, row.intent)
        if row.phase is not Phase.UPLOADING:
            row.usage.update(usage)
        self._note_cost(key, cost_micro_usd)
        row.phase, row.intent, row.decode_no = Phase.UPLOADING, upload, 0
        for path in rendition_paths:
            self._discard_path(KINDS[row.kind].bucket, path)
        return True

    async def complete(
        self,
        key: str,
        fence: int,
        upload: OriginalUpload,
        *,
        url: str | None,
        renditions: Sequence[RenditionUpload] = (),
    ) -> Entry | None:
        """See `Ledger.complete`."""
        for rendition in renditions:
            self._enforce_takedown(key, rendition.key)
        self._enforce_takedown(key, None)
        row = self._held(key, fence)
        if row is None or row.status != "generating":
            return self._complete_again(key, upload, renditions)
        row.status, row.leader, row.intent = "completed", None, None
        # A picture that was given says nothing of a provider.
        self._note_success(row.breakers if row.submit_no else row.breakers[-1:], row.asked_at)
        self._settle(key)
        self._release_spending(key)
        self._totals["completed"] += 1
        entry = self._add_original(row, key, upload)
        kept = [self._add_rendition(row, key, rendition) for rendition in renditions]
        self._hints.announce(key)
        return (kept[0] if kept else None) or entry

    def _complete_again(self, key: str, upload: OriginalUpload, renditions: Sequence[RenditionUpload]) -> Entry | None:
        """The answer to a completion whose lease is over: the entry where it was recorded before."""
        stored = self._entries.get(original_key(key))
        is_ours = stored is not None and stored.entry.path == upload.path
        for rendition in renditions:
            standing = self._entries.get(rendition.key)
            if not is_ours or standing is None or standing.entry.path != rendition.path:
                self._discard_refused(key, rendition.path)
        if is_ours and stored is not None:
            asked = self._entries.get(renditions[0].key) if renditions else None
            return (asked or stored).entry
        newest = self._generations.get(key)
        if newest is None or newest.intent is None or newest.intent.path != upload.path:
            self._discard_refused(key, upload.path)
        return None

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        """See `Ledger.fail`."""
        row = self._held(key, fence)
        if row is None:
            newest = self._generations.get(key)
            return newest is not None and newest.fence == fence and newest.status == "failed"
        uncounted = 0 if failure.billed or not row.submit_no or row.phase is Phase.UPLOADING else 1
        row.api_calls_made -= uncounted
        if row.phase is not Phase.UPLOADING:
            row.usage.update(failure.usage)
        self._give_back_all([key])
        self._note_cost(key, 0 if uncounted else failure.cost_micro_usd, is_free=uncounted > 0)
        self._release_spending(key)
        self._totals.update(failures=failure.failure_class is not FailureClass.UNCOLLECTED, api_calls=-uncounted)
        self._release_probes(row.breakers)
        if row.submit_no:
            self._note_failure(row.provider, failure.failure_class, key)
        self._set_failed(row, failure.failure_class, self._clock.monotonic() + failure.retry_after.total_seconds())
        self._hints.announce(key)
        return True

    async def report_refusal(self, name: str, failure_class: FailureClass, reason: str, pause: timedelta) -> bool:
        """See `Ledger.report_refusal`."""
        breaker = self._breakers.setdefault(name, BreakerRow())
        return breaker.refuse(self._clock.monotonic(), failure_class, reason, pause.total_seconds())

    async def intend_rendition(self, original: Entry, upload: RenditionUpload) -> bool:
        """See `Ledger.intend_rendition`."""
        key = original.generation_key
        if not self._stands(original) or not (upload.key in self._entries or self._may_keep(key, upload)):
            return False
        self._discard_path(KINDS[self._generations[original.generation_key].kind].bucket, upload.path)
        return True

    async def record_rendition(self, original: Entry, upload: RenditionUpload) -> Entry | None:
        """See `Ledger.record_rendition`."""
        key = original.generation_key
        self._enforce_takedown(key, upload.key)
        if self._stands(original):
            return self._add_rendition(self._generations[key], key, upload)
        self._discard_refused(key, upload.path)
        return None

    async def report_missing(self, entry: Entry) -> bool:
        """See `Ledger.report_missing`."""
        stored = self._entries.get(entry.key)
        if stored is None or stored.entry.path != entry.path:
            return False
        if not entry.is_original:
            self._remove([entry.key])
            return True
        row = self._generations[entry.generation_key]
        now = self._clock.monotonic()
        retry_at = now if row.attempt < 2 else row.window_started + DAY_SECONDS
        self._set_failed(row, FailureClass.MISSING_OBJECT, retry_at)
        self._remove([key for key, kept in self._entries.items() if kept.entry.generation_key == entry.generation_key])
        return True

    async def record_usage(self, counts: Sequence[RequestCount], *, batch: UUID | None = None) -> bool:
        """See `Ledger.record_usage`."""
        if batch in self._batches:
            return await self.is_work_due()
        self._batches.add(batch or uuid4())
        self._uses += counts
        self._forget_invalidations()
        for use in counts:
            self._note_saved(use)
            served = use.count if use.outcome is not Outcome.FAILED else 0
            if row := self._generations.get(use.generation_key):
                row.total_requests += use.count
            if served and (used := self._used(use)):
                used.access_count += served
                used.last_accessed = self._clock.monotonic()
                self._accesses[used.kind] += served
            hits = use.count if use.outcome in (Outcome.HIT, Outcome.STALE) else 0
            saved = served if use.outcome is not Outcome.GENERATED else 0
            self._totals.update(requests=use.count, hits=hits, misses=served - hits, saved=saved)
        return await self.is_work_due()

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """See `Ledger.hints`."""
        return self._hints.watch(key)
