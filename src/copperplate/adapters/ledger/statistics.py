"""What operators read of the ledger: counts, money, and whether its database is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.transport import Calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class StatisticsCalls(Calls):
    """Those methods of `LedgerCare` that change nothing."""

    async def generation_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.generation_stats`."""
        return (await self._transport.rows("get_generation_stats", {}))[0]

    async def cache_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.cache_stats`."""
        return (await self._transport.rows("get_cache_stats", {}))[0]

    async def memoji_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.memoji_stats`."""
        return (await self._transport.rows("get_memoji_stats", {}))[0]

    async def savings(self) -> Sequence[Mapping[str, Any]]:
        """See `LedgerCare.savings`."""
        return await self._transport.rows("get_savings", {})

    async def usage_totals(self) -> Mapping[str, Any]:
        """See `LedgerCare.usage_totals`."""
        return await self._transport.value("get_usage_totals", {}, dict)

    async def check_setup(self) -> Mapping[str, Any]:
        """See `LedgerCare.check_setup`."""
        setup = await self._transport.value("check_setup", {}, dict)
        return {**setup, **self._transport.describe()}

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `LedgerCare.describe_schema`."""
        return await self._transport.value("describe_schema", {"p_names": list(names)}, dict)
