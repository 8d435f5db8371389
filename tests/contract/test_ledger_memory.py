"""The ledger contract over memory."""

from __future__ import annotations

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from tests.contract.ledger import (
    BreakerContract,
    CareContract,
    HintContract,
    LedgerContract,
    NegativeEntryContract,
    RefusalContract,
)
from tests.contract.ledger_credits import CreditContract, SpendContract
from tests.contract.ledger_jobs import JobContract
from tests.contract.ledger_misses import MissContract


class MemoryDesk:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def usage(self, key: str) -> dict[str, int]:
        return dict(self.ledger._generations[key].usage)

    async def spent(self, key: str) -> int | None:
        return self.ledger._spent(key)

    async def reason(self, name: str) -> str:
        return self.ledger._breakers[name].reason


@pytest.fixture
def desk() -> MemoryDesk:
    return MemoryDesk()


class TestMemoryLedger(
    LedgerContract,
    MissContract,
    JobContract,
    CreditContract,
    SpendContract,
    NegativeEntryContract,
    BreakerContract,
    RefusalContract,
    CareContract,
    HintContract,
):
    """The suites, over memory."""
