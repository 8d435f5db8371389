"""Time, as the core needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """Time, as an argument. The ledger's leases never depend on it."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC; for names, reports, and to notice that the process stood still."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` (at least one turn of the event loop)."""
