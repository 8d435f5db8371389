"""What operators read of the ledger: counts, money, and whether its database is set up."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self


class _Row:
    """A row whose columns are the fields, by name; what a newer database adds is left out."""

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The value of a row."""
        return cls(**{column.name: _plain(row[column.name]) for column in fields(cls)})  # type: ignore[arg-type]


def _plain(value: object) -> object:
    """Percentages and averages: the same over any transport."""
    return float(value) if isinstance(value, Decimal) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStats(_Row):
    """One row of `get_generation_stats()`; days are UTC, and efficiency is None before the first picture."""

    total_requests: int
    total_api_calls_made: int
    total_api_calls_saved: int
    total_completed: int
    total_failed: int
    total_hits: int
    total_misses: int
    efficiency_percent: float | None
    requests_today: int
    api_calls_made_today: int
    api_calls_saved_today: int
    completed_today: int
    failed_today: int
    hits_today: int
    misses_today: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KindStats(_Row):
    """One row of `get_kind_stats()`: pictures of a kind that are kept, and what they saved.

    `stored_bytes` include originals that are not shown. Money is in millionths of a dollar. An average, and
    efficiency, is None where there is nothing to divide by.
    """

    pictures: int
    accesses: int
    avg_accesses: float | None
    size_bytes: int
    stored_bytes: int
    hits: int
    misses: int
    efficiency_percent: float | None
    spent_micro_usd: int
    saved_micro_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings(_Row):
    """One row of `get_savings()`; money in millionths of a dollar."""

    kind: str
    served: int
    saved: int
    efficiency_percent: float | None
    spent_micro_usd: int
    saved_micro_usd: int
    estimated: int
    unpriced: int
    unpriced_saved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmingStats(_Row):
    """One row of `get_warming_stats()`: pictures that warming made in the last 90 days.

    `asked_for` counts those that were asked for since, `requests` how often. Money is what they were estimated to cost,
    in millionths of a dollar; `unused_micro_usd` that of those nobody asked for.
    """

    pictures: int
    asked_for: int
    requests: int
    estimated_micro_usd: int
    unused_micro_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum(_Row):
    """Requests and bytes since the beginning."""

    kind: str
    provider: str
    model: str
    outcome: str
    tier: str
    requests: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneySum(_Row):
    """Money since the beginning, in millionths of a dollar."""

    kind: str
    provider: str
    model: str
    submits: int
    estimated: int
    unpriced: int
    spent_micro_usd: int
    saved: int
    unpriced_saved: int
    saved_micro_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySum(_Row):
    """Answers since the beginning, by `LATENCY_BOUNDS_MS`."""

    kind: str
    outcome: str
    buckets: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCdnPurges(_Row):
    """CDN purges of a scope that wait in the outbox, and when the oldest was declared, in seconds of the epoch."""

    scope: str
    purges: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """Sums since the beginning; generations that are led now; objects that wait to be removed, and CDN purges."""

    usage: Sequence[UsageSum]
    money: Sequence[MoneySum]
    latency: Sequence[LatencySum]
    in_flight: int
    discarded: int
    cdn_purges: Sequence[WaitingCdnPurges]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> UsageTotals:
        """The answer of `get_usage_totals()`."""
        return cls(
            usage=[UsageSum.from_row(each) for each in row["usage"]],
            money=[MoneySum.from_row(each) for each in row["money"]],
            latency=[LatencySum.from_row(each) for each in row["latency"]],
            in_flight=row["in_flight"],
            discarded=row["discarded"],
            cdn_purges=[WaitingCdnPurges.from_row(each) for each in row["cdn_purges"]],
        )


class Statistics(Protocol):
    """What operators read of the ledger. No call changes anything."""

    async def generation_stats(self) -> GenerationStats:
        """Requests, calls and what they saved, since the beginning and today."""

    async def kind_stats(self, kind: str) -> KindStats:
        """What is kept of a kind, and what it saved."""

    async def savings(self) -> Sequence[Savings]:
        """What was spent and saved, a row for each kind, by name."""

    async def warming_stats(self) -> WarmingStats:
        """What warming was good for, over the last 90 days."""

    async def usage_totals(self) -> UsageTotals:
        """Everything that `/metrics` shows."""

    async def check_setup(self) -> Mapping[str, Any]:
        """What the ledger is: `schema`, `postgres`, `now` (seconds since 1970), `buckets` (is it public, by name).

        A ledger without a gateway before it adds `pooler`: `place` and `mode` of the one it found, or None.
        """

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """What is there of our schema, and of public those `names`, for `schema_check.Schema.compare` to read."""
