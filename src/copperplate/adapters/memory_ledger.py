"""The ledger in memory: the same promises inside one process, for users' tests and simulations."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copperplate.adapters.memory_care import MemoryCare
from copperplate.hints import Hints
from copperplate.model import (
    FailureClass,
    Free,
    Hit,
    Lead,
    Negative,
    Outcome,
    Phase,
    Wait,
)
from copperplate.recipes.image import original_key

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    from copperplate.model import (
        CanonicalValue,
        Entry,
        Failure,
        Job,
        RenditionUpload,
        Sight,
        Upload,
        Use,
        Verdict,
        Want,
    )
    from copperplate.ports import Clock

DAY_SECONDS = 86_400.0
BUCKETS = {"image": "generated-images"}


@dataclass(slots=True)
class _Generation:
    """One row of `generation_status`; times are seconds of the clock."""

    kind: str
    recipe: Mapping[str, CanonicalValue]
    created: float
    fence: int
    leader: UUID | None
    lease_until: float
    window_started: float
    status: str = "pending"
    phase: Phase = Phase.CLAIMED
    attempt: int = 1
    submit_no: int = 0
    decode_no: int = 0
    provider: str = ""
    api_calls_made: int = 0
    total_requests: int = 0
    job: Job | None = None
    intent: Upload | None = None
    usage: Counter[str] = field(default_factory=Counter)
    failure_class: FailureClass | None = None
    retry_at: float = 0.0

    @property
    def is_live(self) -> bool:
        return self.status in ("pending", "generating")

    def lead(self) -> Lead:
        return Lead(
            fence=self.fence,
            phase=self.phase,
            attempt=self.attempt,
            submit_no=self.submit_no,
            decode_no=self.decode_no,
            job=self.job,
            intent=self.intent,
        )


@dataclass(slots=True)
class _Entry:
    entry: Entry
    kind: str
    last_accessed: float
    access_count: int = 0


@dataclass(slots=True)
class _Discarded:
    id: int
    bucket: str
    since: float
    claimed_until: float = 0.0


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    last_failed_at: float = 0.0
    openings: int = 0
    open_until: float | None = None
    probe_until: float | None = None

    def rest(self, now: float) -> float:
        """Seconds in which nobody may ask; zero or less where one may."""
        return max(self.open_until or now, self.probe_until or now) - now if self.open_until is not None else 0.0

    def fail(self, now: float) -> None:
        """Five in a row open it; a failed try opens it for twice as long."""
        self.failures = self.failures + 1 if self.last_failed_at >= now - 600 else 1
        self.last_failed_at, self.probe_until = now, None
        is_due = self.failures >= 5 if self.open_until is None else self.open_until <= now
        if is_due:
            self.open_until = now + min(30.0 * 2 ** min(self.openings, 10), 120.0)
            self.openings += 1


class MemoryLedger(MemoryCare):
    """`Ledger` and `LedgerCare` over dictionaries. Every method runs without yielding, so it is atomic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._generations: dict[str, _Generation] = {}
        self._entries: dict[str, _Entry] = {}
        self._discarded: dict[str, _Discarded] = {}
        self._breakers: dict[str, _Breaker] = {}
        self._uses: list[Use] = []
        self._audits: dict[str, tuple[str, float]] = {}
        self._fences = itertools.count(1)
        self._ids = itertools.count(1)
        self._totals: Counter[str] = Counter()
        self._hints = Hints()

    # --- Ledger ---------------------------------------------------------------------------------

    async def acquire(
        self, want: Want, *, leader: UUID, lease: timedelta, may_lead: bool = True, provider: str | None = None
    ) -> Verdict:
        """See `Ledger.acquire`."""
        sight = self._see(want.generation_key, want.rendition_key)
        row = self._generations.get(want.generation_key)
        now = self._clock.monotonic()
        until = now + lease.total_seconds()
        if isinstance(sight, Wait) and row is not None and row.leader == leader:
            row.lease_until = until
            return row.lead()
        if not isinstance(sight, Free) or not may_lead:
            return sight
        # What is paid for is collected whatever the breaker says; only a new submit has to wait.
        left = row.lead() if row is not None and self._resumes(row) else None
        breaker = self._breakers.get(provider or "")
        if breaker is not None and (left is None or (left.job is None and left.intent is None)):
            if (rest := breaker.rest(now)) > 0:
                return Negative(failure_class=FailureClass.TRANSIENT, retry_after=timedelta(seconds=rest))
            breaker.probe_until = until if breaker.open_until is not None else None
        if row is None:
            row = _Generation(want.kind, want.recipe, now, next(self._fences), leader, until, now)
            self._generations[want.generation_key] = row
        else:
            self._claim_again(want.generation_key, row, leader, until)
        return row.lead()

    async def peek(self, generation_key: str, rendition_key: str) -> Sight:
        """See `Ledger.peek`."""
        return self._see(generation_key, rendition_key)

    async def begin_submit(self, key: str, fence: int, *, submit_no: int, provider: str) -> bool:
        """See `Ledger.begin_submit`."""
        row = self._held(key, fence)
        if row is None or row.job is not None or submit_no not in (row.submit_no, row.submit_no + 1):
            return False
        if submit_no > row.submit_no:
            self._discard(row, row.intent)
            row.status, row.phase, row.submit_no, row.provider = "generating", Phase.SUBMITTING, submit_no, provider
            row.api_calls_made += 1
            row.intent = None
            self._totals["api_calls"] += 1
        return True

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        """See `Ledger.note_request`."""
        row = self._generations.get(key)
        if row is None or row.status != "generating" or row.fence < fence:
            return False
        if row.fence == fence or row.job is None:
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

    async def heartbeat(self, key: str, fence: int, lease: timedelta) -> bool:
        """See `Ledger.heartbeat`."""
        row = self._held(key, fence)
        if row is None:
            return False
        row.lease_until = self._clock.monotonic() + lease.total_seconds()
        return True

    async def intend_upload(
        self,
        key: str,
        fence: int,
        upload: Upload,
        *,
        usage: Mapping[str, int],
        rendition: RenditionUpload | None = None,
    ) -> bool:
        """See `Ledger.intend_upload`."""
        row = self._held(key, fence)
        if row is None or row.status != "generating":
            return False
        if row.intent is not None and row.intent.path != upload.path:
            self._discard(row, row.intent)
        if row.phase is not Phase.UPLOADING:
            row.usage.update(usage)
        row.phase, row.intent, row.decode_no = Phase.UPLOADING, upload, 0
        self._discard(row, rendition)
        return True

    async def complete(
        self, key: str, fence: int, upload: Upload, *, url: str | None, rendition: RenditionUpload | None = None
    ) -> Entry | None:
        """See `Ledger.complete`."""
        row = self._held(key, fence)
        entry_key = original_key(key)
        if row is None or row.status != "generating":
            stored = self._entries.get(entry_key)
            if stored is not None and stored.entry.path == upload.path:
                standing = self._entries.get(rendition.key) if rendition is not None else None
                if rendition is not None and (standing is None or standing.entry.path != rendition.path):
                    self._discard_refused(key, rendition.path)
                return (standing or stored).entry
            newest = self._generations.get(key)
            if newest is None or newest.intent is None or newest.intent.path != upload.path:
                self._discard_refused(key, upload.path)
            if rendition is not None:
                self._discard_refused(key, rendition.path)
            return None
        row.status, row.leader, row.intent = "completed", None, None
        self._breakers.pop(row.provider, None)
        self._totals["completed"] += 1
        entry = self._add(row, key, entry_key, upload, is_original=True)
        if rendition is not None:
            entry = self._add_rendition(row, key, rendition.key, rendition) or entry
        self._hints.announce(key)
        return entry

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        """See `Ledger.fail`."""
        row = self._held(key, fence)
        if row is None:
            newest = self._generations.get(key)
            return newest is not None and newest.fence == fence and newest.status == "failed"
        uncounted = 0 if failure.billed or not row.submit_no else 1
        row.api_calls_made -= uncounted
        self._totals.update(failures=1, api_calls=-uncounted)
        if row.submit_no:
            self._note_failure(row.provider, failure.failure_class)
        self._set_failed(row, failure.failure_class, self._clock.monotonic() + failure.retry_after.total_seconds())
        self._hints.announce(key)
        return True

    async def intend_rendition(self, original: Entry, upload: Upload) -> bool:
        """See `Ledger.intend_rendition`."""
        if not self._stands(original):
            return False
        self._discard_path(BUCKETS[self._generations[original.generation_key].kind], upload.path)
        return True

    async def record_rendition(self, original: Entry, rendition_key: str, upload: Upload) -> Entry | None:
        """See `Ledger.record_rendition`."""
        key = original.generation_key
        if self._stands(original):
            return self._add_rendition(self._generations[key], key, rendition_key, upload)
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

    async def record_usage(self, uses: Sequence[Use]) -> None:
        """See `Ledger.record_usage`."""
        self._uses += uses
        for use in uses:
            served = use.count if use.outcome is not Outcome.FAILED else 0
            if row := self._generations.get(use.generation_key):
                row.total_requests += use.count
            if stored := self._entries.get(use.rendition_key):
                stored.access_count += served
                stored.last_accessed = self._clock.monotonic()
            hits = use.count if use.outcome in (Outcome.HIT, Outcome.STALE) else 0
            self._totals.update(requests=use.count, accesses=served, hits=hits, misses=served - hits)

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """See `Ledger.hints`."""
        return self._hints.watch(key)

    # --- LedgerCare -----------------------------------------------------------------------------

    async def generation_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.generation_stats`; today is all the time since the beginning."""
        requests, calls = self._totals["requests"], self._totals["api_calls"]
        hits, misses = self._totals["hits"], self._totals["misses"]
        completed, failed, saved = (
            self._totals["completed"],
            self._totals["failures"],
            max(self._totals["hits"] + self._totals["misses"] - calls, 0),
        )
        return {
            "total_requests": requests,
            "total_api_calls_made": calls,
            "total_api_calls_saved": saved,
            "total_completed": completed,
            "total_failed": failed,
            "total_hits": hits,
            "total_misses": misses,
            "efficiency_percent": round(100 * hits / (hits + misses), 1) if hits + misses else None,
            "requests_today": requests,
            "api_calls_made_today": calls,
            "api_calls_saved_today": saved,
            "completed_today": completed,
            "failed_today": failed,
            "hits_today": hits,
            "misses_today": misses,
        }

    async def cache_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.cache_stats`."""
        images = [kept for kept in self._entries.values() if not kept.entry.is_original]
        accesses = self._totals["accesses"]
        return {
            "total_cached_images": len(images),
            "total_access_count": accesses,
            "avg_access_count": round(accesses / len(images), 2) if images else None,
            "total_size_bytes": sum(kept.entry.size_bytes for kept in images),
            "total_stored_bytes": sum(kept.entry.size_bytes for kept in self._entries.values()),
        }

    async def sweep(self, limit: int) -> int:
        """See `LedgerCare.sweep`."""
        horizon = self._clock.monotonic() - 600
        expired = [row for row in self._generations.values() if row.is_live and row.lease_until < horizon][:limit]
        for row in expired:
            self._set_failed(row, FailureClass.ABANDONED, self._clock.monotonic())
        return len(expired)

    async def cleanup_entries(self, older_than: timedelta, limit: int, after: str | None = None) -> Mapping[str, Any]:
        """See `LedgerCare.cleanup_entries`."""
        cutoff = self._clock.monotonic() - older_than.total_seconds()
        old = [key for key, kept in self._entries.items() if kept.last_accessed < cutoff]
        images = [key for key in old if not self._entries[key].entry.is_original][:limit]
        size_bytes = self._remove(images)
        alive = {kept.entry.generation_key for kept in self._entries.values() if not kept.entry.is_original}
        bare = [key for key in old if key in self._entries and self._entries[key].entry.generation_key not in alive]
        for key in bare:
            self._forget(self._entries[key].entry.generation_key)
        size_bytes += self._remove(bare)
        counts = {"images": len(images), "generations": len(bare), "bytes": size_bytes}
        if after is None:
            return counts
        # Everything was looked at: it is over once nothing was left to remove.
        return {**counts, "reached": "" if images else None}

    async def cleanup_generations(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_generations`."""
        now = self._clock.monotonic()
        kept = {stored.entry.generation_key for stored in self._entries.values()}
        done = [
            key
            for key, row in self._generations.items()
            if (row.status == "failed" and row.retry_at < now and row.window_started < now - DAY_SECONDS)
            or (row.status == "completed" and key not in kept)
        ][:limit]
        for key in done:
            self._forget(key)
        return {"generations": len(done)}

    async def claim_discarded(self, limit: int) -> Sequence[tuple[int, str, str]]:
        """See `LedgerCare.claim_discarded`."""
        now = self._clock.monotonic()
        needed = self._needed()
        due = [
            (path, gone)
            for path, gone in self._discarded.items()
            if gone.since < now - 3_600 and gone.claimed_until < now and path not in needed
        ][:limit]
        for _, gone in due:
            gone.claimed_until = now + 300
        return [(gone.id, gone.bucket, path) for path, gone in due]

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """See `LedgerCare.forget_discarded`."""
        wanted = set(ids)
        paths = [path for path, gone in self._discarded.items() if gone.id in wanted]
        for path in paths:
            del self._discarded[path]
        return len(paths)

    # --- state ----------------------------------------------------------------------------------

    def _see(self, generation_key: str, rendition_key: str) -> Sight:
        if stored := self._entries.get(rendition_key):
            return Hit(entry=stored.entry)
        row = self._generations.get(generation_key)
        if row is None:
            return Free()
        now = self._clock.monotonic()
        original = self._entries.get(original_key(generation_key))
        if row.status == "completed" and original is not None:
            return Hit(entry=original.entry)
        if row.status == "failed" and row.failure_class is not None and row.retry_at > now:
            return Negative(failure_class=row.failure_class, retry_after=timedelta(seconds=row.retry_at - now))
        if row.is_live and row.lease_until > now:
            return Wait(lease_left=timedelta(seconds=row.lease_until - now))
        return Free()

    def _claim_again(self, key: str, row: _Generation, leader: UUID, until: float) -> None:
        """A takeover keeps what the dead leader left; after a failure the next attempt begins anew."""
        now = self._clock.monotonic()
        resumes = self._resumes(row)
        if row.window_started < now - DAY_SECONDS:
            row.attempt, row.window_started = 1, now
        elif not resumes and row.failure_class is not FailureClass.RATE_LIMITED:
            row.attempt += 1
        if not resumes:
            self._discard(row, row.intent)
            row.phase, row.submit_no, row.job, row.intent = Phase.CLAIMED, 0, None, None
            row.decode_no = 0
        row.status = "pending" if row.phase is Phase.CLAIMED else "generating"
        row.fence, row.leader, row.lease_until = next(self._fences), leader, until
        row.failure_class = None
        self._generations[key] = row

    def _resumes(self, row: _Generation) -> bool:
        return row.is_live or row.failure_class is FailureClass.ABANDONED

    def _held(self, key: str, fence: int) -> _Generation | None:
        row = self._generations.get(key)
        return row if row is not None and row.fence == fence and row.is_live else None

    def _note_failure(self, provider: str, failure_class: FailureClass) -> None:
        if failure_class in (FailureClass.TRANSIENT, FailureClass.AMBIGUOUS, FailureClass.RATE_LIMITED):
            self._breakers.setdefault(provider, _Breaker()).fail(self._clock.monotonic())
        elif provider in self._breakers:
            # It speaks of the prompt or of one picture. The next caller may try.
            self._breakers[provider].probe_until = None

    def _set_failed(self, row: _Generation, failure_class: FailureClass, retry_at: float) -> None:
        row.status, row.leader, row.failure_class, row.retry_at = "failed", None, failure_class, retry_at

    def _add(self, row: _Generation, key: str, entry_key: str, upload: Upload, *, is_original: bool) -> Entry:
        entry = upload.as_entry(key=entry_key, generation_key=key, is_original=is_original)
        self._entries[entry_key] = _Entry(entry, row.kind, self._clock.monotonic())
        return entry

    def _add_rendition(self, row: _Generation, key: str, rendition_key: str, upload: Upload) -> Entry | None:
        """The entry that stands then; None where none does and the object cannot be kept."""
        standing = self._entries.get(rendition_key)
        if standing is None and self._keep(upload.path):
            return self._add(row, key, rendition_key, upload, is_original=False)
        if standing is None or standing.entry.path != upload.path:
            self._discard(row, upload)
        return standing.entry if standing is not None else None

    def _remove(self, keys: Sequence[str]) -> int:
        """Answers their bytes."""
        size_bytes = 0
        for key in keys:
            gone = self._entries.pop(key)
            size_bytes += gone.entry.size_bytes
            self._totals["accesses"] -= gone.access_count
            self._discard_path(BUCKETS[gone.kind], gone.entry.path)
        return size_bytes

    def _forget(self, key: str) -> None:
        """A generation goes; what its leader was about to store belongs to nobody."""
        row = self._generations.pop(key)
        self._discard(row, row.intent)

    def _stands(self, original: Entry) -> bool:
        stored = self._entries.get(original.key)
        return stored is not None and stored.entry.path == original.path

    def _keep(self, path: str) -> bool:
        """Take a path back that was intended; too late once its removal has begun."""
        gone = self._discarded.get(path)
        if gone is None or gone.claimed_until:
            return False
        del self._discarded[path]
        return True

    def _discard(self, row: _Generation, upload: Upload | None) -> None:
        if upload is not None:
            self._discard_path(BUCKETS[row.kind], upload.path)

    def _discard_refused(self, key: str, path: str) -> None:
        row = self._generations.get(key)
        self._discard_path(BUCKETS[row.kind if row is not None else "image"], path)

    def _discard_path(self, bucket: str, path: str) -> None:
        self._discarded.setdefault(path, _Discarded(next(self._ids), bucket, self._clock.monotonic()))
