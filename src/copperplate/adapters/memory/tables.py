"""The tables of the ledger in memory: its rows, and the changes of them that more than one call makes."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.adapters.memory.budgets import MemoryBudgets
from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.notifier import Notifier
from copperplate.failure_classes import FailureClass
from copperplate.feed import Invalidation
from copperplate.ledger_answers import Gone, Hit, Lead, Miss, Negative, Wait
from copperplate.model import Phase
from copperplate.ports.cdns import CdnScope
from copperplate.recipes.kinds import KINDS
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from copperplate.ledger_answers import PeekResult
    from copperplate.model import CanonicalValue, Entry, Job, OriginalUpload, RequestCount, Upload
    from copperplate.ports import Clock
    from copperplate.source_pictures import KeptInput, SourcePicture

STANDARD_QUALITY = 85

# One picture that cannot be had says nothing of the service, however often it is asked for.
MAY_BE_PROMPT = (FailureClass.BAD_OUTPUT, FailureClass.INVALID)


# What those are told whom an open breaker refuses: they had no answer, and no prompt of theirs is at fault.
PUBLIC_CLASSES = {
    FailureClass.INVALID: FailureClass.ACCOUNT,
    FailureClass.AMBIGUOUS: FailureClass.TRANSIENT,
    FailureClass.BAD_OUTPUT: FailureClass.TRANSIENT,
    FailureClass.UNCOLLECTED: FailureClass.TRANSIENT,
}


@dataclass(slots=True)
class GenerationRow:
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
    asked_at: float = 0.0
    decode_no: int = 0
    provider: str = ""
    api_calls_made: int = 0
    total_requests: int = 0
    job: Job | None = None
    noted_at: float | None = None
    intent: OriginalUpload | None = None
    usage: Counter[str] = field(default_factory=Counter)
    failure_class: FailureClass | None = None
    retry_at: float = 0.0
    is_pinned: bool = False

    @property
    def breakers(self) -> tuple[str, str, str]:
        """What its submit needs, by the names of their breakers."""
        return (self.provider, f"{self.provider}/{self.recipe['model']}", f"storage:{KINDS[self.kind].bucket}")

    @property
    def is_live(self) -> bool:
        """Somebody leads it, or did until its lease ran out."""
        return self.status in ("pending", "generating")

    def lead(self, now: float) -> Lead:
        """What whoever holds it is told."""
        return Lead(
            fence=self.fence,
            phase=self.phase,
            attempt=self.attempt,
            submit_no=self.submit_no,
            decode_no=self.decode_no,
            job=self.job,
            job_age=timedelta(seconds=0.0 if self.noted_at is None else now - self.noted_at),
            intent=self.intent,
        )


@dataclass(slots=True)
class EntryRow:
    """One row of `copperplate.cache_entries`."""

    entry: Entry
    kind: str
    created: float
    last_accessed: float
    access_count: int = 0
    is_archived: bool = False
    quality: int | None = None
    is_sized: bool = False
    # None can be made of it.
    has_no_placeholder: bool = False
    # Of an original.
    has_c2pa: bool = False
    generation_ms: int | None = None

    @property
    def is_standard(self) -> bool:
        """Whole, and of the quality that nobody has to ask for."""
        return not self.is_sized and self.quality in (None, STANDARD_QUALITY)


@dataclass(slots=True)
class DiscardedRow:
    """One row of `copperplate.discarded_objects`."""

    id: int
    bucket: str
    since: float
    claimed_until: float = 0.0


@dataclass(slots=True)
class TakedownRow:
    """One row of `copperplate.takedowns`, and the paths of what was removed with it."""

    asked_key: str
    # The tombstone that took this one with it.
    follows: str | None = None
    paths: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class CdnPurgeRow:
    """One row of `copperplate.cdn_purges`; times are seconds of the clock."""

    scope: CdnScope
    generation_key: str | None
    bucket: str | None
    path: str | None
    declared_at: float
    due_at: float
    seen_at: float | None = None
    tried_at: float = 0.0
    tries: int = 0
    claim: UUID | None = None


@dataclass(slots=True)
class SourceRow:
    """One row of `copperplate.source_pictures`, with its owners. `parent_source`: what its parent was made from."""

    picture: SourcePicture
    last_used: float
    parent_source: str | None = None
    kept: KeptInput | None = None
    kept_at: float = 0.0
    owners: set[str] = field(default_factory=set)

    @property
    def parent_key(self) -> str | None:
        """The generation whose picture it comes from."""
        return None if self.picture.parent is None else self.picture.parent.generation_key


@dataclass(slots=True)
class BreakerRow:
    """What is known of a service that fails."""

    failures: int = 0
    keys: set[str] = field(default_factory=set)
    last_failed_at: float = -math.inf
    openings: int = 0
    open_until: float | None = None
    probe_until: float | None = None
    failure_class: FailureClass = FailureClass.TRANSIENT
    reason: str = ""

    @property
    def public_class(self) -> FailureClass:
        """What those it refuses are told; see `longest_rest` in SQL."""
        return PUBLIC_CLASSES.get(self.failure_class, self.failure_class)

    def pause(self, now: float) -> float:
        """Seconds in which nobody may ask; zero or less where one may."""
        return max(self.open_until or now, self.probe_until or now) - now if self.open_until is not None else 0.0

    def fail(self, now: float, failure_class: FailureClass, key: str) -> None:
        """Five in a row open it; a failed try, too, for twice as long. A prompt's own failure is no failed try."""
        if failure_class is FailureClass.UNCOLLECTED and key in self.keys:
            return  # the job was put off before: that says nothing new of the service
        if self.last_failed_at < now - 600:
            self.failures, self.keys = 0, set()
        self.last_failed_at = now
        is_resting = self.open_until is not None and self.open_until > now
        may_be_prompt = failure_class in MAY_BE_PROMPT
        if not is_resting and not (may_be_prompt and key in self.keys):
            self.failures += 1
        if not is_resting or failure_class is FailureClass.UNCOLLECTED:
            self.keys.add(key)
        speaks = not may_be_prompt or self.failure_class is failure_class
        if not is_resting and (self.failures >= 5 or (self.open_until is not None and speaks)):
            self.open_until = now + min(30.0 * 2 ** min(self.openings, 10), 120.0)
            self.reason = self.reason if self.failure_class is failure_class else ""
            self.failures, self.openings, self.failure_class = 0, self.openings + 1, failure_class

    def refuse(self, now: float, failure_class: FailureClass, reason: str, seconds: float) -> bool:
        """Open it for that long; True where it did not rest already for this."""
        is_known = self.open_until is not None and self.open_until > now and self.failure_class is failure_class
        self.failures, self.keys, self.last_failed_at = 0, set(), now
        self.openings, self.open_until, self.probe_until = 1, now + seconds, None
        self.failure_class, self.reason = failure_class, reason[:500]
        return not is_known


class MemoryTables(MemoryBudgets):
    """The dictionaries, and what may be done to them without yielding."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._kinds: dict[str, str] = {}  # of every generation there ever was
        self._generations: dict[str, GenerationRow] = {}
        self._entries: dict[str, EntryRow] = {}
        self._discarded: dict[str, DiscardedRow] = {}
        self._takedowns: dict[str, TakedownRow] = {}
        self._cdn_purges: list[CdnPurgeRow] = []
        self._sources: dict[str, SourceRow] = {}
        self._breakers: dict[str, BreakerRow] = {}
        self._uses: list[RequestCount] = []
        self._batches: set[UUID] = set()
        self._invalidations: list[Invalidation] = []
        self._next_transaction = 1
        # Invalidations by transactions below the first are forgotten, by those below the second a day after it was set.
        self._feed_forgotten, self._feed_marked, self._feed_marked_at = 1, 1, clock.monotonic()
        self._audits: dict[str, tuple[str, float]] = {}
        self._fences = itertools.count(1)
        self._ids = itertools.count(1)
        self._totals: Counter[str] = Counter()
        self._accesses: Counter[str] = Counter()  # by kind
        self._hints = Notifier()

    def _see(self, generation_key: str, rendition_key: str) -> PeekResult:
        if stored := self._entries.get(rendition_key):
            return Hit(entry=stored.entry)
        if generation_key in self._takedowns or rendition_key in self._takedowns:
            return Gone()
        row = self._generations.get(generation_key)
        return Miss() if row is None else self._see_generation(generation_key, row)

    def _see_generation(self, generation_key: str, row: GenerationRow) -> PeekResult:
        now = self._clock.monotonic()
        original = self._entries.get(original_key(generation_key))
        if row.status == "completed" and original is not None:
            return Hit(entry=original.entry)
        if row.status == "failed" and row.failure_class is not None and row.retry_at > now:
            return Negative(failure_class=row.failure_class, retry_after=timedelta(seconds=row.retry_at - now))
        if row.is_live and row.lease_until > now:
            return Wait(lease_left=timedelta(seconds=row.lease_until - now))
        return Miss()

    def _claim_again(self, key: str, row: GenerationRow, leader: UUID, until: float) -> None:
        """A takeover keeps what the dead leader left; after a failure the next attempt begins anew."""
        now = self._clock.monotonic()
        resumes = self._resumes(row)
        if row.window_started < now - DAY_SECONDS:
            row.attempt, row.window_started = 1, now
        elif not resumes and (row.failure_class is None or row.failure_class.counts_as_attempt):
            row.attempt += 1
        if not resumes:
            self._discard(row, row.intent)
            row.phase, row.submit_no, row.job, row.intent = Phase.CLAIMED, 0, None, None
            row.noted_at = None
        if not resumes or row.failure_class is FailureClass.UNCOLLECTED:
            row.decode_no = 0  # who wrote the latter came back alive from decoding
        row.status = "pending" if row.phase is Phase.CLAIMED else "generating"
        row.fence, row.leader, row.lease_until = next(self._fences), leader, until
        row.failure_class = None
        self._generations[key] = row

    def _resumes(self, row: GenerationRow) -> bool:
        return row.is_live or row.failure_class in (FailureClass.ABANDONED, FailureClass.UNCOLLECTED)

    def _is_led(self, key: str) -> bool:
        row = self._generations.get(key)
        return row is not None and row.is_live and row.lease_until > self._clock.monotonic()

    def _is_submitted(self, key: str) -> bool:
        row = self._generations.get(key)
        return row is not None and row.submit_no > 0 and self._resumes(row)

    def _held(self, key: str, fence: int) -> GenerationRow | None:
        row = self._generations.get(key)
        return row if row is not None and row.fence == fence and row.is_live else None

    def _open_breakers(self, breakers: Sequence[str]) -> list[BreakerRow]:
        known = (self._breakers.get(name) for name in breakers)
        return [breaker for breaker in known if breaker is not None and breaker.open_until is not None]

    def _release_probes(self, breakers: Sequence[str]) -> None:
        for breaker in self._open_breakers(breakers):
            breaker.probe_until = None

    def _note_failure(self, name: str, failure_class: FailureClass, key: str) -> None:
        if failure_class not in (FailureClass.MODERATED, FailureClass.ACCOUNT, FailureClass.LOST):
            self._breakers.setdefault(name, BreakerRow()).fail(self._clock.monotonic(), failure_class, key)

    def _note_success(self, breakers: Sequence[str], asked_at: float) -> None:
        for name in breakers:
            breaker = self._breakers.get(name)
            if breaker and (breaker.failure_class is not FailureClass.ACCOUNT or breaker.last_failed_at < asked_at):
                del self._breakers[name]

    def _set_failed(self, row: GenerationRow, failure_class: FailureClass, retry_at: float) -> None:
        row.status, row.leader, row.failure_class, row.retry_at = "failed", None, failure_class, retry_at

    def _discard(self, row: GenerationRow, upload: Upload | None) -> None:
        if upload is not None:
            self._discard_path(KINDS[row.kind].bucket, upload.path)

    def _discard_refused(self, key: str, path: str) -> None:
        # In SQL the object of an unknown key is noted in every bucket; paths are noted once here.
        self._discard_path(KINDS[self._kinds.get(key, next(iter(KINDS)))].bucket, path)

    def _declare_wrong(self, generation_keys: Iterable[str]) -> None:
        """Tell the feed that copies of these generations are wrong; a transaction of its own."""
        self._invalidations += [
            Invalidation(transaction=self._next_transaction, generation_key=key)
            for key in dict.fromkeys(generation_keys)
        ]
        self._next_transaction += 1

    def _forget_invalidations(self) -> None:
        """Forget those that are a day old at least; a cursor from before them is not continued."""
        now = self._clock.monotonic()
        if self._feed_marked_at < now - DAY_SECONDS:
            self._feed_forgotten, self._feed_marked, self._feed_marked_at = (
                self._feed_marked,
                self._next_transaction,
                now,
            )
            self._invalidations = [row for row in self._invalidations if row.transaction >= self._feed_forgotten]

    def _without_private(self, generation_keys: Collection[str]) -> list[str]:
        """Of these generations those that may be in a CDN by their tag."""
        kinds = {key: row.kind for key in generation_keys if (row := self._generations.get(key)) is not None}
        return [key for key in generation_keys if key not in kinds or KINDS[kinds[key]].is_public]

    def _add_cdn_purges(self, generation_keys: Iterable[str | None], objects: Iterable[tuple[str, str | None]]) -> None:
        """Have CDNs forget these generations (None: everything), and objects (a path of None: the bucket)."""
        now = self._clock.monotonic()
        self._cdn_purges += [CdnPurgeRow(CdnScope.TAG, key, None, None, now, due_at=now) for key in generation_keys]
        self._cdn_purges += [CdnPurgeRow(CdnScope.OBJECT, None, *each, now, due_at=now) for each in objects]

    def _discard_path(self, bucket: str, path: str) -> None:
        self._discarded.setdefault(path, DiscardedRow(next(self._ids), bucket, self._clock.monotonic()))

    def _needed(self) -> set[str]:
        """The paths of objects that a row names."""
        needed = {kept.entry.path for kept in self._entries.values()}
        return needed | {row.intent.path for row in self._generations.values() if row.intent is not None}
