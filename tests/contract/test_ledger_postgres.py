"""The ledger contract over a real Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from copperplate.adapters.ledger.postgres import PostgresLedger
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
from tests.support.postgres_fixtures import reason_of, spent_of, usage_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PostgresDesk:
    """Moves the ledger's clock by opening its connections anew with another offset."""

    def __init__(self, owner_url: str) -> None:
        self._owner_url = owner_url
        self._offset = 0.0
        self.ledger = PostgresLedger(owner_url)

    async def advance(self, seconds: float) -> None:
        self._offset += seconds
        options = f"-c copperplate.clock_offset={self._offset}s"
        await self.ledger.close()
        # The same object, so that a test may keep it in a variable.
        PostgresLedger.__init__(self.ledger, make_conninfo(self._owner_url, options=options))
        await self.ledger.open()

    async def usage(self, key: str) -> dict[str, int]:
        return usage_of(self._owner_url, key)

    async def spent(self, key: str) -> int | None:
        return spent_of(self._owner_url, key)

    async def reason(self, name: str) -> str:
        return reason_of(self._owner_url, name)


@pytest.fixture
async def desk(owner_url: str) -> AsyncIterator[PostgresDesk]:
    bench = PostgresDesk(owner_url)
    await bench.ledger.open()
    yield bench
    await bench.ledger.close()


class TestPostgresLedger(
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
    """The suites, over Postgres."""
