"""The log lines of budgets that are nearly or wholly used up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from copperplate.budgets import RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from copperplate.budgets import NearCap, Refusal
    from copperplate.ports import Clock

# docs/access.md names this logger.
logger = logging.getLogger(__name__)

NEAR_PERMILLE: Final = 800
FULL_PERMILLE: Final = 1_000


class CapWatch:
    """Logs a line at 80 % and at 100 % of a budget: once a day, budget and process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._day: date | None = None
        self._logged: set[tuple[str, int]] = set()

    def near(self, near_caps: Iterable[NearCap]) -> None:
        """A submit left these budgets nearly used up."""
        for near in near_caps:
            self._log(near.budget, FULL_PERMILLE if near.permille >= FULL_PERMILLE else NEAR_PERMILLE)

    def refused(self, refusal: Refusal) -> None:
        """A budget refused a miss."""
        # Of addresses and users there are many, and their names say who they are.
        if refusal.reason is RefusalReason.USED_UP and not refusal.budget.startswith(("address", "user:")):
            self._log(refusal.budget, FULL_PERMILLE)

    def _log(self, budget: str, permille: int) -> None:
        if (today := self._clock.now().date()) != self._day:
            self._day = today
            self._logged.clear()
        if (budget, permille) not in self._logged:
            self._logged.add((budget, permille))
            logger.warning("budget %s: %d %% of its cap is used", budget, permille // 10)
