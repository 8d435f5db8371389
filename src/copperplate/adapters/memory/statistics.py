"""The part of the ledger in memory that counts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from copperplate.adapters.memory.entries import MemoryEntries
from copperplate.model import SCHEMA, Outcome
from copperplate.ports.cdns import CdnScope
from copperplate.ports.statistics import GenerationStats, KindStats, Savings, UsageTotals
from copperplate.recipes.kinds import KINDS
from copperplate.schema_check import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MemoryStatistics(MemoryEntries):
    """`Statistics` over the tables in memory."""

    async def generation_stats(self) -> GenerationStats:
        """See `Statistics.generation_stats`; today is all the time since the beginning."""
        requests, calls = self._totals["requests"], self._totals["api_calls"]
        hits, misses = self._totals["hits"], self._totals["misses"]
        completed, failed, saved = self._totals["completed"], self._totals["failures"], self._totals["saved"]
        return GenerationStats(
            total_requests=requests,
            total_api_calls_made=calls,
            total_api_calls_saved=saved,
            total_completed=completed,
            total_failed=failed,
            total_hits=hits,
            total_misses=misses,
            efficiency_percent=_percent(saved, hits + misses),
            requests_today=requests,
            api_calls_made_today=calls,
            api_calls_saved_today=saved,
            completed_today=completed,
            failed_today=failed,
            hits_today=hits,
            misses_today=misses,
        )

    async def kind_stats(self, kind: str) -> KindStats:
        """See `Statistics.kind_stats`."""
        savings = self._savings(kind)
        rows = [row for row in self._entries.values() if row.kind == kind]
        kept, shown = [row.entry for row in rows], [row.entry for row in rows if self._is_shown(row)]
        accesses = self._accesses[kind]
        uses = [use for use in self._uses if use.kind == kind and use.outcome in (Outcome.HIT, Outcome.STALE)]
        hits = sum(use.count for use in uses)
        return KindStats(
            pictures=len(shown),
            accesses=accesses,
            avg_accesses=round(accesses / len(shown), 2) if shown else None,
            size_bytes=sum(entry.size_bytes for entry in shown),
            stored_bytes=sum(entry.size_bytes for entry in kept),
            hits=hits,
            misses=savings.served - hits,
            efficiency_percent=savings.efficiency_percent,
            spent_micro_usd=savings.spent_micro_usd,
            saved_micro_usd=savings.saved_micro_usd,
        )

    async def savings(self) -> Sequence[Savings]:
        """See `Statistics.savings`."""
        return [self._savings(kind) for kind in sorted(KINDS)]

    def _savings(self, kind: str) -> Savings:
        served = [use for use in self._uses if use.kind == kind and use.outcome is not Outcome.FAILED]
        count = sum(use.count for use in served)
        saved = sum(use.count for use in served if use.outcome is not Outcome.GENERATED)
        money = self._money(kind)
        return Savings(
            kind=kind,
            served=count,
            saved=saved,
            efficiency_percent=_percent(saved, count),
            spent_micro_usd=money["spent_micro_usd"],
            saved_micro_usd=money["saved_micro_usd"],
            estimated=money["estimated"],
            unpriced=money["unpriced"],
            unpriced_saved=money["unpriced_saved"],
        )

    async def check_setup(self) -> Mapping[str, Any]:
        """See `Statistics.check_setup`."""
        return {"schema": SCHEMA, "postgres": "none", "now": self._clock.now().timestamp(), "buckets": None}

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `Statistics.describe_schema`. It is always as this program makes it."""
        made = Schema.shipped()
        objects = {name: [each.digest, each.rights] for name, each in made.objects.items()}
        return {"migrations": list(made.migrations), "objects": objects}

    async def usage_totals(self) -> UsageTotals:
        """See `Statistics.usage_totals`."""
        sums, histograms = dict[tuple[str, ...], Counter[str]](), dict[tuple[str, str], list[int]]()
        for use in self._uses:
            names = (use.kind, use.provider, use.model, use.outcome.value, use.tier)
            sums.setdefault(names, Counter()).update(
                requests=use.count,
                bytes=use.size_bytes,
            )
            counts = histograms.setdefault((use.kind, use.outcome.value), [0] * len(use.latency_buckets))
            counts[:] = map(sum, zip(counts, use.latency_buckets, strict=True))
        money = dict[tuple[str, ...], Counter[str]]()
        for each in self._submits:
            money.setdefault((each.kind, each.provider, each.model), Counter()).update(each.money())
        labels = ("kind", "provider", "model", "outcome", "tier")
        return UsageTotals.from_row(
            {
                "usage": [{**dict(zip(labels, names, strict=True)), **counts} for names, counts in sums.items()],
                "money": [{**dict(zip(labels[:3], names, strict=True)), **sums} for names, sums in money.items()],
                "latency": [
                    {"kind": kind, "outcome": outcome, "buckets": counts}
                    for (kind, outcome), counts in histograms.items()
                ],
                "in_flight": sum(self._is_led(key) for key in self._generations),
                "discarded": len(self._discarded),
                "cdn_purges": [
                    {"scope": scope.value, "purges": len(rows), "since": self._epoch_of(min(rows))}
                    for scope in sorted(CdnScope)
                    if (rows := [row.declared_at for row in self._cdn_purges if row.scope is scope])
                ],
            }
        )

    def _epoch_of(self, at: float) -> float:
        """Seconds of the epoch, of seconds of the clock."""
        return self._clock.now().timestamp() - self._clock.monotonic() + at


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None
