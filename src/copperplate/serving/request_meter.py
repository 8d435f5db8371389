"""Counts requests in memory and flushes the counts in batches that may be sent again. A hit itself writes nothing."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import math
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from copperplate.errors import CopperplateError
from copperplate.feed import Tier
from copperplate.model import LATENCY_BOUNDS_MS, Outcome, RequestCount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from copperplate.model import PictureRequest
    from copperplate.ports import Clock, Ledger, Provider

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
# After a flush that failed; the ledger is asked this often for as long as it is away.
AGAIN_SECONDS: Final = 10.0
# The ledger remembers a batch for two hours. By the wall clock, which goes on while a process is frozen.
SENT_FOR: Final = timedelta(hours=1)
# Sums that wait for the ledger; requests for further pictures are not counted.
MAX_SUMS: Final = 20_000
# Sums in one batch: a transaction of a fraction of a second, far below the time that a call may take.
BATCH_SUMS: Final = 1_000

# The tier of an outcome for which none is named. Of COALESCED it is the generation's, also where the bytes were read.
_TIERS: Final = {
    Outcome.HIT: Tier.STORAGE,
    Outcome.STALE: Tier.STORAGE,
    Outcome.COALESCED: Tier.PROVIDER,
    Outcome.GENERATED: Tier.PROVIDER,
    Outcome.FAILED: Tier.NONE,
}


def tier_of(outcome: Outcome, tier: Tier | None) -> Tier:
    """The tier that logs and statistics name for a request, of which `tier` is the one that had the picture, if any."""
    return tier if tier is not None and outcome in (Outcome.HIT, Outcome.STALE) else _TIERS[outcome]


@dataclass(slots=True)
class _Sum:
    request: PictureRequest
    outcome: Outcome
    tier: Tier
    count: int = 0
    size_bytes: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_MS) + 1))


@dataclass(frozen=True, slots=True)
class _Batch:
    """Counts sent under `id`, and sent again until the ledger confirms them."""

    id: UUID
    made_at: datetime
    counts: list[RequestCount]


class RequestMeter:
    """Sums up requests and flushes the sums to the ledger at most every two seconds, and at the end.

    Counting never fails or delays an answer. A batch without an answer is sent again for an hour, under an id by which
    the ledger tells repeats apart; then it is lost and logged. `note_due` is called where the ledger answers that work
    is due. After a flush that the ledger took, `beside_flush` may tell it more; it never raises.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        providers: Mapping[str, Provider],
        clock: Clock,
        note_due: Callable[[], None] = lambda: None,
        beside_flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._ledger = ledger
        self._providers = providers
        self._clock = clock
        self._note_due = note_due
        self._sums: dict[tuple[str, Outcome, Tier | None], _Sum] = {}
        self._beside_flush = beside_flush
        self._sent: _Batch | None = None
        self._uncounted = 0
        self._timer: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()
        self._is_closed = False

    def count(
        self, request: PictureRequest, outcome: Outcome, *, size_bytes: int, seconds: float, tier: Tier | None = None
    ) -> None:
        """Count one request that was answered with `size_bytes` after `seconds`; `tier` had it (None: the ledger)."""
        key = (request.rendition_key, outcome, tier)
        total = self._sums.get(key)
        if total is None:
            if len(self._sums) >= MAX_SUMS:
                self._uncounted += 1
                return
            # Without what it was made from, whose bytes would stay in memory.
            total = self._sums[key] = _Sum(replace(request, inputs=()), outcome, tier_of(outcome, tier))
        total.count += 1
        total.size_bytes += size_bytes
        total.latency[bisect.bisect_left(LATENCY_BOUNDS_MS, seconds * 1000)] += 1
        if self._timer is None:
            self._wake(FLUSH_SECONDS)

    async def flush(self) -> None:
        """Send the counts so far to the ledger, after a flush that is under way."""
        try:
            async with self._flushing:
                # What is counted meanwhile is left to its own timer.
                for _ in range((self._sent is not None) + math.ceil(len(self._sums) / BATCH_SUMS)):
                    if not await self._send():
                        break
        finally:
            if self._sent is not None:
                self._wake(AGAIN_SECONDS)
        if self._beside_flush is not None and self._sent is None and not self._is_closed:
            await self._beside_flush()

    async def close(self) -> None:
        """Flush for the last time; the ledger may be closed afterwards."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer
        await self.flush()
        left = sum(total.count for total in self._sums.values())
        if self._sent is not None:
            left += sum(each.count for each in self._sent.counts)
        if left:
            logger.warning("usage of %d requests lost: the process ends", left)

    def _wake(self, seconds: float) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = asyncio.create_task(self._flush_later(seconds))

    async def _flush_later(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timer = None
        await self.flush()

    async def _send(self) -> bool:
        """Send the batch under way, or a new one; False where the ledger did not confirm it."""
        is_new = self._sent is None
        batch = self._sent = self._sent or self._cut()
        if batch is None:
            return True
        count = sum(each.count for each in batch.counts)
        if self._clock.now() - batch.made_at > SENT_FOR:
            self._sent = None
            logger.warning("usage of %d requests lost: the database did not answer for an hour", count)
            return True
        try:
            is_due = await self._ledger.record_usage(batch.counts, batch=batch.id)
        except CopperplateError as error:
            if is_new:  # logged once, not with every try
                logger.warning("usage of %d requests is sent again until it is taken: %s", count, error.code)
            return False
        self._sent = None
        if is_due:
            self._note_due()
        return True

    def _cut(self) -> _Batch | None:
        """The oldest sums as a batch, at most `BATCH_SUMS`; None without any."""
        sums = {key: self._sums.pop(key) for key in list(islice(self._sums, BATCH_SUMS))}
        if self._uncounted:
            logger.warning("usage of %d requests lost: too many different pictures", self._uncounted)
            self._uncounted = 0
        if not sums:
            return None
        return _Batch(uuid4(), self._clock.now(), [self._count_of(total) for total in sums.values()])

    def _count_of(self, total: _Sum) -> RequestCount:
        request = total.request
        return RequestCount(
            generation_key=request.generation_key,
            rendition_key=request.rendition_key,
            format=request.rendition.format.value,
            kind=request.kind,
            provider=self._providers[request.kind].name,
            model=request.model,
            outcome=total.outcome,
            tier=total.tier.value,
            count=total.count,
            size_bytes=total.size_bytes,
            latency_buckets=tuple(total.latency),
        )
