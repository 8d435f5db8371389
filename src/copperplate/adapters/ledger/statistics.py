"""What operators read of the ledger: counts, money, and whether its database is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.transport import Calls
from copperplate.ports.statistics import GenerationStats, KindStats, Savings, UsageTotals, WarmingStats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class StatisticsCalls(Calls):
    """`Statistics`."""

    async def generation_stats(self) -> GenerationStats:
        """See `Statistics.generation_stats`."""
        [row] = await self._transport.rows("get_generation_stats", {})
        return GenerationStats.from_row(row)

    async def kind_stats(self, kind: str) -> KindStats:
        """See `Statistics.kind_stats`."""
        [row] = await self._transport.rows("get_kind_stats", {"p_kind": kind})
        return KindStats.from_row(row)

    async def savings(self) -> Sequence[Savings]:
        """See `Statistics.savings`."""
        return [Savings.from_row(row) for row in await self._transport.rows("get_savings", {})]

    async def warming_stats(self) -> WarmingStats:
        """See `Statistics.warming_stats`."""
        [row] = await self._transport.rows("get_warming_stats", {})
        return WarmingStats.from_row(row)

    async def usage_totals(self) -> UsageTotals:
        """See `Statistics.usage_totals`."""
        return UsageTotals.from_row(await self._transport.value("get_usage_totals", {}, dict))

    async def check_setup(self) -> Mapping[str, Any]:
        """See `Statistics.check_setup`."""
        setup = await self._transport.value("check_setup", {}, dict)
        return {**setup, **self._transport.describe()}

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `Statistics.describe_schema`."""
        return await self._transport.value("describe_schema", {"p_names": list(names)}, dict)
