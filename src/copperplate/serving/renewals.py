"""Renditions of older encoders are made again, a few at a time, behind the hits that find them (docs/adr/0053)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from copperplate.errors import StillGenerating, TooManyWaiters
from copperplate.serving.recent_failures import RecentFailures
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from copperplate.generation.lookup import LookupResult
    from copperplate.ports import Clock
    from copperplate.single_flight import Call

logger = logging.getLogger(__name__)

# At once: they stand in one line with the first renditions that people wait for.
MOST: Final = 8
# For so long a hit waits for its bytes to be made again, and after a failure that is not tried.
WAIT_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 600.0


class Renewals:
    """Makes renditions again, each once at a time. A hit never fails for that: the old bytes are good."""

    def __init__(self, clock: Clock) -> None:
        self._flights: SingleFlight[LookupResult | None] = SingleFlight()
        self._late: set[str] = set()
        self._failed = RecentFailures(clock, seconds=PAUSE_SECONDS)

    async def renew(self, key: str, make: Callable[[], Awaitable[LookupResult]]) -> LookupResult | None:
        """What `make` answers for the rendition of that key; None where the old bytes are to be served.

        Those are where it failed lately, where it takes longer than a hit waits, and where enough are made again.
        """
        is_under_way = key in self._flights
        if key in self._failed or (key in self._late if is_under_way else len(self._flights) >= MOST):
            return None
        try:
            renewed, _ = await self._flights.run(key, lambda: self._make(key, make), within_seconds=WAIT_SECONDS)
        except StillGenerating:
            self._late.add(key)  # it goes on behind this hit, and the next ones do not wait for it
            return None
        return renewed

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let what `call` began be made, and cancel what is late."""
        await self._flights.finish(call, within_seconds=within_seconds)

    async def drain(self, *, within_seconds: float) -> None:
        """Let all be made, and cancel what is late."""
        await self._flights.drain(within_seconds=within_seconds)

    async def _make(self, key: str, make: Callable[[], Awaitable[LookupResult]]) -> LookupResult | None:
        self._late.discard(key)
        try:
            return await make()
        except TooManyWaiters:
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the old bytes are good
            self._failed.add(key)
            logger.warning("a rendition of older encoders is served: %s key=%s", type(error).__name__, key[:12])
            return None
        finally:
            self._late.discard(key)
