"""What operators and the cron ask of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from copperplate.ports.ledger import Sweeper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import Any

    from copperplate.model import Condition


class LedgerCare(Sweeper, Protocol):
    """What operators and the cron ask of the ledger. Every call is bounded by `limit` rows."""

    async def generation_stats(self) -> Mapping[str, Any]:
        """One row of `get_generation_stats()`."""

    async def cache_stats(self) -> Mapping[str, Any]:
        """One row of `get_cache_stats()`."""

    async def savings(self) -> Sequence[Mapping[str, Any]]:
        """The rows of `get_savings()`, one for each kind; money in millionths of a dollar."""

    async def cleanup_entries(self, older_than: timedelta, limit: int, after: str | None = None) -> Mapping[str, Any]:
        """Remove entries not used for `older_than`; answers counts.

        With `after`, empty at first, at most `limit` entries are looked at from that place on, and `reached` is where
        the next call goes on, None at the end: entries in use are then looked at once, not by every call.
        """

    async def cleanup_memoji(self, limit: int) -> Mapping[str, int]:
        """Archive memoji used often, remove old ones used once or never; answers `memoji`, `bytes`, `archived`."""

    async def count_old_memoji(self) -> Mapping[str, int]:
        """What `cleanup_memoji` would do in all, as the same counts; changes nothing."""

    async def memoji_stats(self) -> Mapping[str, Any]:
        """One row of `get_memoji_stats()`."""

    async def cleanup_generations(self, limit: int) -> Mapping[str, int]:
        """Remove `generation_status` rows that nothing needs; answers counts."""

    async def claim_discarded(self, limit: int) -> Sequence[tuple[int, str, str]]:
        """Objects whose grace is over, as (id, bucket, path), reserved for this caller for some minutes."""

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """The objects are removed from the store; answers how many rows went."""

    async def count_old_entries(self, older_than: timedelta) -> Mapping[str, int]:
        """What `cleanup_entries` would remove in all, as the same counts; changes nothing."""

    async def claim_audit(self, bucket: str) -> str | None:
        """Where the search for forgotten objects of a bucket goes on (empty: from the beginning).

        Reserved for this caller for a minute; None while somebody else is at it.
        """

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """Discard those of `paths` that nothing names, and note how far the search has come; answers how many.

        `paths` must be older than any upload under way. The reservation is renewed.
        """

    async def check_setup(self) -> Mapping[str, Any]:
        """What the ledger is: `schema`, `postgres`, `now` (seconds since 1970), `buckets` (is it public, by name).

        A ledger without a gateway before it adds `pooler`: `place` and `mode` of the one it found, or None.
        """

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """What is there of our schema, and of public those `names`, for `schema.Schema.compare` to read."""

    async def usage_totals(self) -> Mapping[str, Any]:
        """Sums since the beginning: `usage`, `money`, `latency`, `in_flight`, `discarded`.

        `usage` is by kind, provider, model, outcome and tier; `money`, in millionths of a dollar, by the first three.
        `latency` counts answers by `LATENCY_BOUNDS_MS`.
        """

    async def purge(self, condition: Condition, limit: int, *, is_dry_run: bool) -> Mapping[str, Any]:
        """Remove at most `limit` generations that meet `condition`, with all they have; answers what went.

        Counts are `generations`, `images` and `bytes`; `keys` of generations and `objects` as [bucket, path]. A dry
        run only counts.
        """
