"""The outbox of CDN purges, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.memory.feed import MemoryFeed
from copperplate.adapters.memory.maintenance import MemoryMaintenance
from copperplate.adapters.memory.tables import CdnPurgeRow
from copperplate.adapters.memory.tier_reports import REPORTED_SECONDS, MemoryTierReports
from copperplate.feed import Tier
from copperplate.ports.cdns import CdnCopies, CdnScope
from copperplate.ports.maintenance import PurgedCopies, ReportedCopies
from copperplate.recipes.kinds import BUCKETS, KINDS

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta
    from uuid import UUID

    from copperplate.model import Condition

# As in SQL: see `settle_cdn_purges`.
LAST_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 5.0
MAX_PAUSE_SECONDS: Final = 300.0
# Of more generations all copies are dropped.
MOST_NAMED: Final = 1_000


class MemoryCdnPurges(MemoryMaintenance, MemoryFeed, MemoryTierReports):
    """`CdnOutbox` over the table in memory, and what declares copies wrong."""

    async def take_cdn_purges(
        self, scopes: Collection[CdnScope], claim: UUID, *, limit: int, held_for: timedelta, lifetime: timedelta
    ) -> CdnCopies:
        """See `CdnOutbox.take_cdn_purges`."""
        now = self._clock.monotonic()
        dropped = self._drop_ended(scopes, now, lifetime.total_seconds())
        for scope in scopes:
            for row in self._merge(scope, limit, now):
                row.claim, row.due_at, row.tried_at = claim, now + held_for.total_seconds(), now
                row.seen_at = now if row.seen_at is None else row.seen_at
                row.tries += 1
        return self._claimed(claim, dropped=dropped)

    async def settle_cdn_purges(self, claim: UUID, scope: CdnScope, *, is_done: bool) -> int:
        """See `CdnOutbox.settle_cdn_purges`."""
        now = self._clock.monotonic()
        settled = [row for row in self._cdn_purges if row.claim == claim and row.scope is scope]
        left = [row for row in settled if not is_done or row.tried_at < (row.seen_at or 0.0) + LAST_SECONDS]
        self._cdn_purges = [row for row in self._cdn_purges if row not in settled or row in left]
        for row in left:
            row.claim = None
            if is_done:
                row.due_at, row.tries = (row.seen_at or 0.0) + LAST_SECONDS, 0
            else:
                row.due_at = now + min(FIRST_PAUSE_SECONDS * 2 ** (row.tries - 1), MAX_PAUSE_SECONDS)
        return len(left)

    async def purge_copies(
        self, tiers: Collection[Tier], condition: Condition | None, *, is_dry_run: bool
    ) -> PurgedCopies:
        """See `Maintenance.purge_copies`."""
        found: set[str] | None = None
        if condition is not None:
            found = {key for key, row in self._generations.items() if self._meets(key, row, condition)}
            if not found and condition.key is not None:
                found = {condition.key}
        keys = found if found is not None and len(found) <= MOST_NAMED else None
        if not is_dry_run and keys != set():
            await self.invalidate({tier for tier in tiers if tier is not Tier.CDN}, keys)
            if Tier.CDN in tiers:
                self._add_cdn_purges([None] if keys is None else self._without_private(keys), self._objects_of(keys))
        kept = [row for row in self._entries.values() if found is None or row.entry.generation_key in found]
        public = [row.entry for row in kept if KINDS[row.kind].is_public]
        return PurgedCopies(
            generations=len({entry.generation_key for entry in public}),
            entries=len(public),
            size_bytes=sum(entry.size_bytes for entry in public),
            objects=len(kept),
            generation_keys=None if keys is None else tuple(sorted(keys)),
            reported={tier: known for tier in Tier if (known := self._reported(tier)) is not None},
        )

    def _reported(self, tier: Tier) -> ReportedCopies | None:
        since = self._clock.monotonic() - REPORTED_SECONDS
        reports = [(at, row) for (of, _), (at, row) in self._reports.items() if of is tier and at > since]
        if not reports:
            return None
        return ReportedCopies(
            places=len(reports),
            entries=sum(row.entries for _, row in reports),
            bytes=sum(row.bytes for _, row in reports),
            seconds_ago=self._clock.monotonic() - min(at for at, _ in reports),
        )

    def _objects_of(self, keys: set[str] | None) -> list[tuple[str, str | None]]:
        if keys is None:
            return [(bucket, None) for bucket in BUCKETS]
        rows = [row for row in self._entries.values() if row.entry.generation_key in keys]
        return [(KINDS[row.kind].bucket, row.entry.path) for row in rows]

    def _drop_ended(self, scopes: Collection[CdnScope], now: float, lifetime_seconds: float) -> int:
        ended = [
            row
            for row in self._cdn_purges
            if row.scope in scopes
            and row.due_at <= now
            and row.seen_at is not None
            and row.seen_at < now - lifetime_seconds
        ]
        self._cdn_purges = [row for row in self._cdn_purges if row not in ended]
        return len(ended)

    def _merge(self, scope: CdnScope, limit: int, now: float) -> list[CdnPurgeRow]:
        """What is due of a scope: everything, or whole buckets, in the place of more than `limit`."""
        due = [row for row in self._cdn_purges if row.scope is scope and row.due_at <= now]
        whole = [row for row in due if row.generation_key is None and row.path is None]
        is_everything = scope is CdnScope.TAG and bool(whole) and len(due) > 1
        if len(due) <= max(limit, len(whole)) and not is_everything:
            return due
        self._cdn_purges = [row for row in self._cdn_purges if row not in due]
        declared_at, tries = max(row.declared_at for row in due), max(row.tries for row in due)
        merged = [
            CdnPurgeRow(scope, None, bucket, None, declared_at, due_at=now, seen_at=now, tries=tries)
            for bucket in {row.bucket for row in due}
        ]
        self._cdn_purges += merged
        return merged

    def _claimed(self, claim: UUID, *, dropped: int) -> CdnCopies:
        rows = [row for row in self._cdn_purges if row.claim == claim]
        tags = {row.generation_key for row in rows if row.scope is CdnScope.TAG}
        objects = {(row.bucket or "", row.path) for row in rows if row.scope is CdnScope.OBJECT}
        named = [(bucket, path) for bucket, path in objects if path is not None]
        needed = self._needed()
        return CdnCopies(
            generation_keys=tuple(sorted(key for key in tags if key is not None)),
            is_everything=None in tags,
            objects=tuple(sorted(objects, key=lambda each: (each[0], each[1] or ""))),
            discarded=tuple(sorted(each for each in named if each[1] in self._discarded and each[1] not in needed)),
            dropped=dropped,
        )
