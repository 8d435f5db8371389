"""The ledger contract over memory."""

from __future__ import annotations

import pytest
from ledger import BreakerContract, CareContract, HintContract, LedgerContract, NegativeEntryContract

from copperplate.adapters.fake_clock import FakeClock
from copperplate.adapters.memory_ledger import MemoryLedger


class MemoryDesk:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)


@pytest.fixture
def desk() -> MemoryDesk:
    return MemoryDesk()


class TestMemoryLedger(LedgerContract, NegativeEntryContract, BreakerContract, CareContract, HintContract):
    """The suites, over memory."""
