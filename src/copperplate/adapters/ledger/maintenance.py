"""What removes: expired leases, old rows, objects that nothing names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.transport import Calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from copperplate.model import Condition


class MaintenanceCalls(Calls):
    """Those methods of `LedgerCare` that remove, and what counts beforehand."""

    async def sweep(self, limit: int) -> int:
        """See `LedgerCare.sweep`."""
        return await self._transport.value("sweep_generations", {"p_limit": limit}, int)

    async def cleanup_entries(self, older_than: timedelta, limit: int, after: str | None = None) -> Mapping[str, Any]:
        """See `LedgerCare.cleanup_entries`."""
        arguments = {"p_older_than": older_than, "p_limit": limit, "p_after": after}
        return await self._transport.value("cleanup_old_cache_entries", arguments, dict)

    async def count_old_entries(self, older_than: timedelta) -> Mapping[str, int]:
        """See `LedgerCare.count_old_entries`."""
        return await self._transport.value("count_old_cache_entries", {"p_older_than": older_than}, dict)

    async def cleanup_memoji(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_memoji`."""
        return await self._transport.value("cleanup_old_memoji", {"p_limit": limit}, dict)

    async def count_old_memoji(self) -> Mapping[str, int]:
        """See `LedgerCare.count_old_memoji`."""
        return await self._transport.value("count_old_memoji", {}, dict)

    async def cleanup_generations(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_generations`."""
        return await self._transport.value("cleanup_old_generation_status", {"p_limit": limit}, dict)

    async def purge(self, condition: Condition, limit: int, *, is_dry_run: bool) -> Mapping[str, Any]:
        """See `LedgerCare.purge`."""
        arguments = {
            "p_generation_key": condition.key,
            "p_prompt": condition.prompt,
            "p_key_prefix": condition.key_prefix,
            "p_model": condition.model,
            "p_older_than": condition.older_than,
            "p_dry_run": is_dry_run,
            "p_limit": limit,
        }
        return await self._transport.value("purge_entries", arguments, dict)

    async def claim_discarded(self, limit: int) -> Sequence[tuple[int, str, str]]:
        """See `LedgerCare.claim_discarded`. In pages, so that no row is claimed and not seen."""
        claimed: list[tuple[int, str, str]] = []
        while (page := min(limit - len(claimed), self._transport.max_rows)) > 0:
            rows = await self._transport.rows("claim_discarded", {"p_limit": page})
            claimed += [(row["id"], row["bucket"], row["path"]) for row in rows]
            if len(rows) < page:
                break
        return claimed

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """See `LedgerCare.forget_discarded`."""
        return await self._transport.value("forget_discarded", {"p_ids": list(ids)}, int)

    async def claim_audit(self, bucket: str) -> str | None:
        """See `LedgerCare.claim_audit`."""
        reached = await self._transport.value("claim_audit", {"p_bucket": bucket}, object)
        return reached if isinstance(reached, str) else None

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """See `LedgerCare.audit_objects`."""
        arguments = {"p_bucket": bucket, "p_paths": list(paths), "p_reached": reached}
        return await self._transport.value("audit_objects", arguments, int)
