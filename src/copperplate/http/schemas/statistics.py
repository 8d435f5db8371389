"""Statistics, as `/api/generation/stats` and `/api/cache/stats` answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copperplate.ports import statistics
    from copperplate.ports.tiers import TierSums

MICRO: Final = 1_000_000


class _Row(BaseModel):
    """A row of the ledger; later versions of the schema may add columns."""

    model_config = ConfigDict(extra="allow")


class GenerationStats(_Row):
    """One row of `get_generation_stats()`; days are UTC."""

    total_requests: int = Field(description="Requests for pictures that reached us")
    total_api_calls_made: int = Field(description="Billable calls to providers")
    total_api_calls_saved: int = Field(description="Pictures served without a call; a failed request saves none")
    total_completed: int
    total_failed: int
    total_hits: int
    total_misses: int
    efficiency_percent: float | None = Field(description="Saved calls out of pictures served; null before the first")
    requests_today: int
    api_calls_made_today: int
    api_calls_saved_today: int
    completed_today: int
    failed_today: int
    hits_today: int
    misses_today: int


class GenerationStatsAnswer(BaseModel):
    """How many calls to providers were made, and how many were saved."""

    success: bool
    stats: GenerationStats
    message: str = Field(examples=["Saved 9 API calls today!"])


class CacheStats(_Row):
    """One row of `get_cache_stats()`."""

    total_cached_images: int
    total_access_count: int = Field(description="Answers served from them, the first ones included")
    avg_access_count: float | None = Field(description="Null while there are no pictures")
    total_size_bytes: int = Field(description="Bytes of the pictures as served")
    total_stored_bytes: int = Field(description="Bytes in the object store, originals included")

    @classmethod
    def of(cls, row: statistics.KindStats) -> Self:
        """Those of the kind."""
        return cls(
            total_cached_images=row.pictures,
            total_access_count=row.accesses,
            avg_access_count=row.avg_accesses,
            total_size_bytes=row.size_bytes,
            total_stored_bytes=row.stored_bytes,
        )


class Savings(BaseModel):
    """What pictures of one kind cost and saved. Money in dollars, exact to a millionth."""

    served: int = Field(description="Pictures served")
    saved: int = Field(description="Pictures served without a call to the provider")
    efficiency_percent: float | None = Field(description="Saved out of served; null before the first picture")
    spent_usd: float = Field(description="What calls cost; estimated where there is no bill")
    estimated_calls: int = Field(description="Calls without a bill: in `spent_usd` with what they cost at most")
    estimated_savings_usd: float = Field(description="What the saved ones would have cost, each at its picture's price")
    unpriced_calls: int = Field(description="Calls whose price is not known: not in `spent_usd`")
    unpriced_saved: int = Field(description="Saved ones whose price is not known: not in `estimated_savings_usd`")

    @classmethod
    def of(cls, rows: Iterable[statistics.Savings]) -> dict[str, Self]:
        """All kinds, by name."""
        return {
            row.kind: cls(
                served=row.served,
                saved=row.saved,
                efficiency_percent=row.efficiency_percent,
                spent_usd=row.spent_micro_usd / MICRO,
                estimated_savings_usd=row.saved_micro_usd / MICRO,
                estimated_calls=row.estimated,
                unpriced_calls=row.unpriced,
                unpriced_saved=row.unpriced_saved,
            )
            for row in rows
        }


class MemojiStats(BaseModel):
    """The same of memoji, and what they saved. Money in dollars, exact to a millionth."""

    total_memoji: int
    total_usage: int = Field(description="Answers that gave a memoji's address, the first ones included")
    average_usage: float | None = Field(description="Null while there are no memoji")
    total_size_bytes: int
    efficiency_percent: float | None = Field(description="Saved calls out of memoji served; null before the first")
    estimated_savings_usd: float = Field(description="What memoji served without a call would have cost")

    @classmethod
    def of(cls, row: statistics.KindStats) -> Self:
        """Those of the kind."""
        return cls(
            total_memoji=row.pictures,
            total_usage=row.accesses,
            average_usage=row.avg_accesses,
            total_size_bytes=row.size_bytes,
            efficiency_percent=row.efficiency_percent,
            estimated_savings_usd=row.saved_micro_usd / MICRO,
        )


class TierStats(BaseModel):
    """What is in a tier, over all processes that reported in the last five minutes, and what it answered today (UTC).

    A folder or a server that processes share counts once. Of storage: pictures kept, and all bytes.
    """

    entries: int
    bytes: int
    oldest_seconds: float | None = Field(description="Age of the oldest copy; null where there is none")
    hits_today: int
    served_bytes_today: int

    @classmethod
    def of(cls, rows: Iterable[TierSums]) -> dict[str, Self]:
        """All tiers, by name."""
        return {
            row.tier.value: cls(
                entries=row.entries,
                bytes=row.bytes,
                oldest_seconds=row.oldest_seconds,
                hits_today=row.hits_today,
                served_bytes_today=row.served_bytes_today,
            )
            for row in rows
        }


class CacheStatsAnswer(BaseModel):
    """What is kept, and how often it was served."""

    success: bool
    stats: CacheStats
    memoji: MemojiStats
    savings: dict[str, Savings] = Field(description="By kind of picture: `image` and `memoji`")
    tiers: dict[str, TierStats] = Field(description="By tier: `memory`, `disk`, `redis` and `storage`")
