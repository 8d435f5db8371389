"""What removes: expired leases, old rows, objects that nothing names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.ledger.transport import Calls
from copperplate.ports.maintenance import CleanupCounts, DiscardedObject, Purged, PurgedCopies

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import Any

    from copperplate.feed import Tier
    from copperplate.model import Condition


class MaintenanceCalls(Calls):
    """`Maintenance`."""

    async def sweep(self, limit: int) -> int:
        """See `Maintenance.sweep`."""
        return await self._transport.value("sweep_generations", {"p_limit": limit}, int)

    async def cleanup_entries(
        self, kind: str, limit: int, *, older_than: timedelta | None = None, after: str | None = None
    ) -> CleanupCounts:
        """See `Maintenance.cleanup_entries`."""
        arguments = {"p_kind": kind, "p_limit": limit, "p_after": after, "p_older_than": older_than}
        return CleanupCounts.from_row(await self._transport.value("cleanup_entries", arguments, dict))

    async def count_old_entries(self, kind: str, *, older_than: timedelta | None = None) -> CleanupCounts:
        """See `Maintenance.count_old_entries`."""
        arguments = {"p_kind": kind, "p_older_than": older_than}
        return CleanupCounts.from_row(await self._transport.value("count_old_entries", arguments, dict))

    async def cleanup_generations(self, limit: int) -> int:
        """See `Maintenance.cleanup_generations`."""
        counts = await self._transport.value("cleanup_old_generation_status", {"p_limit": limit}, dict)
        return int(counts["generations"])

    async def purge(
        self,
        condition: Condition,
        limit: int,
        *,
        is_dry_run: bool,
        with_pinned: bool = False,
        with_children: bool = False,
    ) -> Purged:
        """See `Maintenance.purge`."""
        arguments = {
            **_conditions(condition),
            "p_dry_run": is_dry_run,
            "p_limit": limit,
            "p_with_pinned": with_pinned,
            "p_with_children": with_children,
        }
        return Purged.from_row(await self._transport.value("purge_entries", arguments, dict))

    async def purge_copies(
        self, tiers: Collection[Tier], condition: Condition | None, *, is_dry_run: bool
    ) -> PurgedCopies:
        """See `Maintenance.purge_copies`."""
        arguments = {
            "p_tiers": sorted(tier.value for tier in tiers),
            **({"p_is_all": True} if condition is None else _conditions(condition)),
            "p_dry_run": is_dry_run,
        }
        return PurgedCopies.from_row(await self._transport.value("purge_copies", arguments, dict))

    async def claim_discarded(self, limit: int) -> Sequence[DiscardedObject]:
        """See `Maintenance.claim_discarded`. In pages, so that no row is claimed and not seen."""
        claimed: list[DiscardedObject] = []
        while (page := min(limit - len(claimed), self._transport.max_rows)) > 0:
            rows = await self._transport.rows("claim_discarded", {"p_limit": page})
            claimed += [DiscardedObject(row["id"], row["bucket"], row["path"]) for row in rows]
            if len(rows) < page:
                break
        return claimed

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """See `Maintenance.forget_discarded`."""
        return await self._transport.value("forget_discarded", {"p_ids": list(ids)}, int)

    async def claim_audit(self, bucket: str) -> str | None:
        """See `Maintenance.claim_audit`."""
        reached = await self._transport.value("claim_audit", {"p_bucket": bucket}, object)
        return reached if isinstance(reached, str) else None

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """See `Maintenance.audit_objects`."""
        arguments = {"p_bucket": bucket, "p_paths": list(paths), "p_reached": reached}
        return await self._transport.value("audit_objects", arguments, int)


def _conditions(condition: Condition) -> Mapping[str, Any]:
    return {
        "p_generation_key": condition.key,
        "p_prompt": condition.prompt,
        "p_key_prefix": condition.key_prefix,
        "p_model": condition.model,
        "p_older_than": condition.older_than,
    }
