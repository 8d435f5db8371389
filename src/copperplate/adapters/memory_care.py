"""The part of the ledger in memory that operators need: audits and purges."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from copperplate.model import SCHEMA
from copperplate.recipes.text import fold_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from copperplate.adapters.memory_ledger import _Discarded, _Entry, _Generation
    from copperplate.model import Condition, Use
    from copperplate.ports import Clock


class MemoryCare:
    """A part of `MemoryLedger`, over its dictionaries."""

    _clock: Clock
    _generations: dict[str, _Generation]
    _entries: dict[str, _Entry]
    _discarded: dict[str, _Discarded]
    _audits: dict[str, tuple[str, float]]
    _uses: list[Use]

    async def count_old_entries(self, older_than: timedelta) -> Mapping[str, int]:
        """See `LedgerCare.count_old_entries`."""
        cutoff = self._clock.monotonic() - older_than.total_seconds()
        used = {kept.entry.generation_key for kept in self._entries.values() if kept.last_accessed >= cutoff}
        old = [
            kept.entry
            for kept in self._entries.values()
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

    async def usage_totals(self) -> Mapping[str, Any]:
        """See `LedgerCare.usage_totals`."""
        sums, histograms = dict[tuple[str, ...], Counter[str]](), dict[tuple[str, str], list[int]]()
        for use in self._uses:
            names = (use.kind, use.provider, use.model, use.outcome.value, use.tier)
            sums.setdefault(names, Counter()).update(
                requests=use.count,
                bytes=use.size_bytes,
                cost_micro_usd=use.cost_micro_usd,
                saved_micro_usd=use.saved_micro_usd,
            )
            counts = histograms.setdefault((use.kind, use.outcome.value), [0] * len(use.latency_buckets))
            counts[:] = map(sum, zip(counts, use.latency_buckets, strict=True))
        labels = ("kind", "provider", "model", "outcome", "tier")
        return {
            "usage": [{**dict(zip(labels, names, strict=True)), **counts} for names, counts in sums.items()],
            "latency": [
                {"kind": kind, "outcome": outcome, "buckets": counts} for (kind, outcome), counts in histograms.items()
            ],
            "in_flight": sum(row.is_live for row in self._generations.values()),
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
        self._remove(entries)
        for key in keys:
            self._forget(key)
        return {**counts, "keys": keys}

    def _meets(self, key: str, row: _Generation, condition: Condition) -> bool:
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

    def _needed(self) -> set[str]:
        """The paths of objects that a row names."""
        needed = {kept.entry.path for kept in self._entries.values()}
        return needed | {row.intent.path for row in self._generations.values() if row.intent is not None}

    # What `MemoryLedger` has.

    def _remove(self, keys: Sequence[str]) -> int:
        raise NotImplementedError

    def _forget(self, key: str) -> None:
        raise NotImplementedError

    def _discard_path(self, bucket: str, path: str) -> None:
        raise NotImplementedError
