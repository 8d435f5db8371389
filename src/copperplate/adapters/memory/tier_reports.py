"""What is in the tiers of all processes, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.statistics import MemoryStatistics
from copperplate.feed import Tier
from copperplate.model import Outcome
from copperplate.ports.tiers import TierSums
from copperplate.recipes.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from copperplate.ports import Clock
    from copperplate.ports.tiers import TierFigures

REPORTED_SECONDS: Final = 300


class MemoryTierReports(MemoryStatistics):
    """`TierReports`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        # By tier and holder: when it was reported.
        self._reports: dict[tuple[Tier, str], tuple[float, TierFigures]] = {}

    async def report_tiers(self, process: UUID, figures: Sequence[TierFigures]) -> None:
        """See `TierReports.report_tiers`."""
        now = self._clock.monotonic()
        for each in figures:
            self._reports[each.tier, each.place or str(process)] = now, each
        self._reports = {key: row for key, row in self._reports.items() if row[0] > now - REPORTED_SECONDS}

    async def read_tiers(self) -> Sequence[TierSums]:
        """See `TierReports.read_tiers`; today is all the time since the beginning."""
        return [await self._sums(tier) for tier in (Tier.MEMORY, Tier.DISK, Tier.REDIS, Tier.STORAGE)]

    async def _sums(self, tier: Tier) -> TierSums:
        now = self._clock.monotonic()
        reports = [
            (at, row) for (of, _), (at, row) in self._reports.items() if of is tier and at > now - REPORTED_SECONDS
        ]
        entries, size_bytes = sum(row.entries for _, row in reports), sum(row.bytes for _, row in reports)
        if tier is Tier.STORAGE:
            kept = [await self.kind_stats(kind) for kind in KINDS]
            entries, size_bytes = sum(each.pictures for each in kept), sum(each.stored_bytes for each in kept)
        ages = [now - at + row.oldest_seconds for at, row in reports if row.oldest_seconds is not None]
        hits = [use for use in self._uses if use.tier == tier and use.outcome in (Outcome.HIT, Outcome.STALE)]
        return TierSums(
            tier=tier,
            places=len(reports),
            entries=entries,
            bytes=size_bytes,
            oldest_seconds=max(ages, default=None),
            hits_today=sum(use.count for use in hits),
            served_bytes_today=sum(use.size_bytes for use in hits),
        )
