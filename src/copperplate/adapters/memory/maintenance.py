"""The part of the ledger in memory that operators and the cron need."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from copperplate.adapters.memory.credits import DAY_SECONDS
from copperplate.adapters.memory.tables import BUCKETS, GenerationRow, MemoryTables
from copperplate.failure_classes import FailureClass
from copperplate.model import SCHEMA, Outcome
from copperplate.recipes.text import fold_text
from copperplate.schema_check import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from copperplate.model import Condition


class MemoryCare(MemoryTables):
    """`LedgerCare` over the tables in memory."""

    async def generation_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.generation_stats`; today is all the time since the beginning."""
        requests, calls = self._totals["requests"], self._totals["api_calls"]
        hits, misses = self._totals["hits"], self._totals["misses"]
        completed, failed, saved = self._totals["completed"], self._totals["failures"], self._totals["saved"]
        return {
            "total_requests": requests,
            "total_api_calls_made": calls,
            "total_api_calls_saved": saved,
            "total_completed": completed,
            "total_failed": failed,
            "total_hits": hits,
            "total_misses": misses,
            "efficiency_percent": round(100 * saved / (hits + misses), 1) if hits + misses else None,
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
        every = [kept for kept in self._entries.values() if kept.kind == "image"]
        images = [kept for kept in every if not kept.entry.is_original]
        accesses = self._totals["accesses"]
        return {
            "total_cached_images": len(images),
            "total_access_count": accesses,
            "avg_access_count": round(accesses / len(images), 2) if images else None,
            "total_size_bytes": sum(kept.entry.size_bytes for kept in images),
            "total_stored_bytes": sum(kept.entry.size_bytes for kept in every),
        }

    async def savings(self) -> Sequence[Mapping[str, Any]]:
        """See `LedgerCare.savings`."""
        return [self._savings(kind) for kind in ("image", "memoji")]

    def _savings(self, kind: str) -> dict[str, Any]:
        served = [use for use in self._uses if use.kind == kind and use.outcome is not Outcome.FAILED]
        count = sum(use.count for use in served)
        saved = sum(use.count for use in served if use.outcome is not Outcome.GENERATED)
        money = self._money(kind)
        names = ("spent_micro_usd", "saved_micro_usd", "estimated", "unpriced", "unpriced_saved")
        efficiency = round(100 * saved / count, 1) if count else None
        counts = {"kind": kind, "served": count, "saved": saved, "efficiency_percent": efficiency}
        return {**counts, **{name: money[name] for name in names}}

    async def sweep(self, limit: int) -> int:
        """See `LedgerCare.sweep`."""
        horizon = self._clock.monotonic() - 600
        expired = [row for row in self._generations.values() if row.is_live and row.lease_until < horizon][:limit]
        for row in expired:
            self._set_failed(row, FailureClass.ABANDONED, self._clock.monotonic())
        self._release_expired()
        return len(expired)

    async def cleanup_entries(self, older_than: timedelta, limit: int, after: str | None = None) -> Mapping[str, Any]:
        """See `LedgerCare.cleanup_entries`."""
        cutoff = self._clock.monotonic() - older_than.total_seconds()
        old = [key for key, kept in self._entries.items() if kept.kind == "image" and kept.last_accessed < cutoff]
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

    async def cleanup_memoji(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_memoji`."""
        much_used, old = self._aged_memoji()
        for key in much_used[:limit]:
            self._entries[key].is_archived = True
        generations = [self._entries[key].entry.generation_key for key in old[:limit]]
        size_bytes = self._remove(old[:limit])
        for key in generations:
            self._forget(key)
        return {"memoji": len(generations), "bytes": size_bytes, "archived": len(much_used[:limit])}

    async def count_old_memoji(self) -> Mapping[str, int]:
        """See `LedgerCare.count_old_memoji`."""
        much_used, old = self._aged_memoji()
        size_bytes = sum(self._entries[key].entry.size_bytes for key in old)
        return {"memoji": len(old), "bytes": size_bytes, "archived": len(much_used)}

    def _aged_memoji(self) -> tuple[list[str], list[str]]:
        """The keys of those to archive, and of those to remove."""
        kept = {key: row for key, row in self._entries.items() if row.kind == "memoji" and not row.is_archived}
        cutoff = self._clock.monotonic() - 90 * DAY_SECONDS
        much_used = [key for key, row in kept.items() if row.access_count > 100]
        return much_used, [key for key, row in kept.items() if row.created < cutoff and row.access_count < 2]

    async def memoji_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.memoji_stats`."""
        memoji = [kept for kept in self._entries.values() if kept.kind == "memoji"]
        usage = sum(kept.access_count for kept in memoji)
        counts = [use for use in self._uses if use.kind == "memoji"]
        served = sum(use.count for use in counts if use.outcome is not Outcome.FAILED)
        hits = sum(use.count for use in counts if use.outcome in (Outcome.HIT, Outcome.STALE))
        savings = self._savings("memoji")
        return {
            "total_memoji": len(memoji),
            "total_usage": usage,
            "avg_usage": round(usage / len(memoji), 2) if memoji else None,
            "total_size_bytes": sum(kept.entry.size_bytes for kept in memoji),
            "hits": hits,
            "misses": served - hits,
            **{name: savings[name] for name in ("efficiency_percent", "spent_micro_usd", "saved_micro_usd")},
        }

    async def cleanup_generations(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_generations`."""
        now = self._clock.monotonic()
        kept = {stored.entry.generation_key for stored in self._entries.values()}
        done = [
            key
            for key, row in self._generations.items()
            if (
                row.status == "failed"
                and row.retry_at < now
                and max(row.window_started, row.noted_at or row.window_started) < now - DAY_SECONDS
            )
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

    async def count_old_entries(self, older_than: timedelta) -> Mapping[str, int]:
        """See `LedgerCare.count_old_entries`."""
        cutoff = self._clock.monotonic() - older_than.total_seconds()
        images = [kept for kept in self._entries.values() if kept.kind == "image"]
        used = {kept.entry.generation_key for kept in images if kept.last_accessed >= cutoff}
        old = [
            kept.entry
            for kept in images
            if kept.last_accessed < cutoff and not (kept.entry.is_original and kept.entry.generation_key in used)
        ]
        originals = sum(entry.is_original for entry in old)
        size_bytes = sum(entry.size_bytes for entry in old)
        return {"images": len(old) - originals, "generations": originals, "bytes": size_bytes}

    async def claim_audit(self, bucket: str) -> str | None:
        """See `LedgerCare.claim_audit`."""
        reached, claimed_until = self._audits.get(bucket, ("", -1.0))
        now = self._clock.monotonic()
        if claimed_until >= now:
            return None
        self._audits[bucket] = (reached, now + 60)
        return reached

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """See `LedgerCare.audit_objects`."""
        unknown = set(paths) - self._needed() - self._discarded.keys()
        for path in unknown:
            self._discard_path(bucket, path)
        self._audits[bucket] = (reached, self._clock.monotonic() + 60)
        return len(unknown)

    async def check_setup(self) -> Mapping[str, Any]:
        """See `LedgerCare.check_setup`."""
        return {"schema": SCHEMA, "postgres": "none", "now": self._clock.now().timestamp(), "buckets": None}

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `LedgerCare.describe_schema`. It is always as this program makes it."""
        made = Schema.shipped()
        objects = {name: [each.digest, each.rights] for name, each in made.objects.items()}
        return {"migrations": list(made.migrations), "objects": objects}

    async def usage_totals(self) -> Mapping[str, Any]:
        """See `LedgerCare.usage_totals`."""
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
        return {
            "usage": [{**dict(zip(labels, names, strict=True)), **counts} for names, counts in sums.items()],
            "money": [{**dict(zip(labels[:3], names, strict=True)), **sums} for names, sums in money.items()],
            "latency": [
                {"kind": kind, "outcome": outcome, "buckets": counts} for (kind, outcome), counts in histograms.items()
            ],
            "in_flight": sum(self._is_led(key) for key in self._generations),
            "discarded": len(self._discarded),
        }

    async def purge(self, condition: Condition, limit: int, *, is_dry_run: bool) -> Mapping[str, Any]:
        """See `LedgerCare.purge`."""
        keys = [key for key, row in self._generations.items() if self._meets(key, row, condition)][:limit]
        entries = [key for key, kept in self._entries.items() if kept.entry.generation_key in keys]
        kept = [self._entries[key].entry for key in entries]
        counts = {
            "dry_run": is_dry_run,
            "generations": len(keys),
            "images": sum(not entry.is_original for entry in kept),
            "bytes": sum(entry.size_bytes for entry in kept),
        }
        if is_dry_run:
            return counts
        objects = [[BUCKETS[self._entries[key].kind], self._entries[key].entry.path] for key in entries]
        self._remove(entries)
        for key in keys:
            self._forget(key)
        return {**counts, "keys": keys, "objects": objects}

    def _meets(self, key: str, row: GenerationRow, condition: Condition) -> bool:
        prompt = fold_text(condition.prompt) if condition.prompt is not None else None
        age = condition.older_than
        return (
            (condition.key is None or key == condition.key or self._is_rendition(key, condition.key))
            and (prompt is None or row.recipe["prompt"] == prompt)
            and (condition.key_prefix is None or key.startswith(condition.key_prefix))
            and (condition.model is None or row.recipe["model"] == condition.model)
            and (age is None or row.created < self._clock.monotonic() - age.total_seconds())
        )

    def _is_rendition(self, key: str, of: str) -> bool:
        stored = self._entries.get(of)
        return stored is not None and stored.entry.generation_key == key
