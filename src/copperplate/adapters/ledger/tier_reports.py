"""What is in the tiers of all processes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from copperplate.adapters.ledger.transport import Calls, Json
from copperplate.ports.tiers import TierSums

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from copperplate.ports.tiers import TierFigures


class TierReportCalls(Calls):
    """`TierReports`."""

    async def report_tiers(self, process: UUID, figures: Sequence[TierFigures]) -> None:
        """See `TierReports.report_tiers`."""
        arguments = {"p_process": str(process), "p_tiers": Json([asdict(each) for each in figures])}
        await self._transport.value("report_tiers", arguments, int)

    async def read_tiers(self) -> Sequence[TierSums]:
        """See `TierReports.read_tiers`."""
        return [TierSums.from_row(row) for row in await self._transport.rows("read_tiers", {})]
