"""The ledger contract over memory."""

from __future__ import annotations

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from tests.contract.ledger import LedgerContract
from tests.contract.ledger.hints import HintContract
from tests.support.memory_services import spent_of


class MemoryLedgerHarness:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def usage(self, key: str) -> dict[str, int]:
        return dict(self.ledger._generations[key].usage)

    async def spent(self, key: str) -> int | None:
        return spent_of(self.ledger, key)

    async def entry_faults(self) -> list[object]:
        # Totals are counted from the entries each time they are asked for.
        return []

    async def reason(self, name: str) -> str:
        return self.ledger._breakers[name].reason


@pytest.fixture
def harness() -> MemoryLedgerHarness:
    return MemoryLedgerHarness()


class TestMemoryLedger(LedgerContract, HintContract):
    """The suites, over memory."""
