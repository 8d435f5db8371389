"""Usage: counted in the process, flushed in batches. Hits write nothing by themselves."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from copperplate import prices
from copperplate.errors import CopperplateError
from copperplate.model import LATENCY_BOUNDS_MS, Outcome, Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from copperplate.model import Want
    from copperplate.ports import Clock, Ledger, Provider

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0

# How an answer came about, besides its outcome: which tier the bytes were taken from.
TIERS = {
    Outcome.HIT: "storage",
    Outcome.STALE: "storage",
    Outcome.COALESCED: "provider",
    Outcome.GENERATED: "provider",
    Outcome.FAILED: "none",
}


def unpriced(usage: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Provider, model and number of pictures generated at no known price; `usage` is `usage_totals`' of that name."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in usage:
        if row["outcome"] == Outcome.GENERATED and not prices.is_known(row["provider"], row["model"]):
            counts[row["provider"], row["model"]] += int(row["requests"])
    return [(*named, count) for named, count in sorted(counts.items())]


@dataclass(slots=True)
class _Sum:
    want: Want
    outcome: Outcome
    count: int = 0
    size_bytes: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_MS) + 1))


class Usage:
    """Adds up what was served and hands it to the ledger at most every two seconds, and at the end.

    Counting never fails or delays an answer. A batch that the ledger does not take is lost and
    said so in the log; it is never sent twice.
    """

    def __init__(self, *, ledger: Ledger, providers: Mapping[str, Provider], clock: Clock) -> None:
        self._ledger = ledger
        self._providers = providers
        self._clock = clock
        self._sums: dict[tuple[str, Outcome], _Sum] = {}
        self._timer: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()

    def count(self, want: Want, outcome: Outcome, *, size_bytes: int, seconds: float) -> None:
        """Count one request that was answered with `size_bytes` after `seconds`."""
        key = (want.rendition_key, outcome)
        total = self._sums.get(key)
        if total is None:
            total = self._sums[key] = _Sum(want, outcome)
        total.count += 1
        total.size_bytes += size_bytes
        total.latency[bisect.bisect_left(LATENCY_BOUNDS_MS, seconds * 1000)] += 1
        if self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())

    async def flush(self) -> None:
        """Hand over what has been counted so far; a flush under way is waited for first."""
        async with self._flushing:
            sums, self._sums = self._sums, {}
            if not sums:
                return
            try:
                await self._ledger.record_usage([self._use(total) for total in sums.values()])
            except CopperplateError as error:
                lost = sum(total.count for total in sums.values())
                logger.warning("usage of %d requests lost: %s", lost, error.code)

    async def close(self) -> None:
        """Flush for the last time; the ledger may be closed afterwards."""
        if self._timer is not None:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer
        await self.flush()

    async def _flush_later(self) -> None:
        await self._clock.sleep(FLUSH_SECONDS)
        self._timer = None
        await self.flush()

    def _use(self, total: _Sum) -> Use:
        want, provider = total.want, self._providers[total.want.kind]
        price = provider.price_micro_usd(want.recipe)
        saving = prices.FALLBACK_SAVING_MICRO_USD if price is None else price
        saves = total.outcome in (Outcome.HIT, Outcome.STALE, Outcome.COALESCED)
        return Use(
            generation_key=want.generation_key,
            rendition_key=want.rendition_key,
            kind=want.kind,
            provider=provider.name,
            model=want.model,
            outcome=total.outcome,
            tier=TIERS[total.outcome],
            count=total.count,
            size_bytes=total.size_bytes,
            latency_buckets=tuple(total.latency),
            cost_micro_usd=(price or 0) * total.count if total.outcome is Outcome.GENERATED else 0,
            saved_micro_usd=saving * total.count if saves else 0,
        )
