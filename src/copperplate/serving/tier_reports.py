"""Tells the ledger what is in this process's tiers, beside what it counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.errors import CopperplateError

if TYPE_CHECKING:
    from copperplate.ports import Clock
    from copperplate.ports.tiers import TierReports
    from copperplate.tiers.tiers import Tiers

logger = logging.getLogger(__name__)

REPORT_SECONDS: Final = 60.0
# Of a process. One that lives for less, as many a function does, costs no call.
FIRST_SECONDS: Final = 10.0


class TierReporter:
    """Reports at most once a minute, and only while it is told that requests are counted."""

    def __init__(self, ledger: TierReports, tiers: Tiers, clock: Clock) -> None:
        self._ledger = ledger
        self._tiers = tiers
        self._clock = clock
        self._process = uuid4()
        self._due_at = clock.monotonic() + FIRST_SECONDS

    async def report_when_due(self) -> None:
        """Report, where the last one was a minute ago. Never raises: the next one says it all again."""
        if self._tiers.is_off or self._clock.monotonic() < self._due_at:
            return
        self._due_at = self._clock.monotonic() + REPORT_SECONDS
        try:
            await self._ledger.report_tiers(self._process, await self._tiers.figures())
        except CopperplateError as error:
            logger.debug("what is in the tiers was not reported: %s", error.code)
