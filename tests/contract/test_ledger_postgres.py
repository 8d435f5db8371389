"""The ledger contract over a real Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from copperplate.adapters.ledger.postgres import PostgresLedger
from tests.contract.ledger import LedgerContract
from tests.contract.ledger.hints import HintContract
from tests.support.postgres_fixtures import entry_faults_of, reason_of, spent_of, usage_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PostgresLedgerHarness:
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

    async def entry_faults(self) -> list[object]:
        return entry_faults_of(self._owner_url)

    async def reason(self, name: str) -> str:
        return reason_of(self._owner_url, name)


@pytest.fixture
async def harness(owner_url: str, patient_ledgers: None) -> AsyncIterator[PostgresLedgerHarness]:
    harness = PostgresLedgerHarness(owner_url)
    await harness.ledger.open()
    yield harness
    await harness.ledger.close()


class TestPostgresLedger(LedgerContract, HintContract):
    """The suites, over Postgres."""
