"""The ledger contract behind a real PgBouncer in transaction mode, whose few sessions many callers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from copperplate.adapters.ledger.postgres import PostgresLedger
from tests.contract.ledger import GenerationContract
from tests.contract.ledger.feed import FeedContract
from tests.support.postgres_fixtures import reason_of, spent_of, usage_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.local.cluster import Cluster
    from tests.support.pgbouncer_server import PgBouncer


class PgBouncerLedgerHarness:
    """Moves the ledger's clock in the database itself: PgBouncer refuses the options of a connection."""

    def __init__(self, pgbouncer: PgBouncer, cluster: Cluster, database: str) -> None:
        self._pgbouncer = pgbouncer
        self._database = database
        self._superuser_url = cluster.url("supabase_admin", database)
        self._owner_url = cluster.url(database=database)
        self._offset = 0.0
        self.ledger = PostgresLedger(pgbouncer.url(database))

    async def advance(self, seconds: float) -> None:
        self._offset += seconds
        statement = sql.SQL("alter database {} set copperplate.clock_offset = {}")
        with psycopg.connect(self._superuser_url, autocommit=True) as superuser:
            superuser.execute(statement.format(sql.Identifier(self._database), f"{self._offset}s"))
        self._pgbouncer.command(f"reconnect {self._database}")

    async def usage(self, key: str) -> dict[str, int]:
        return usage_of(self._owner_url, key)

    async def spent(self, key: str) -> int | None:
        return spent_of(self._owner_url, key)

    async def reason(self, name: str) -> str:
        return reason_of(self._owner_url, name)


@pytest.fixture
async def harness(
    pgbouncer: PgBouncer, cluster: Cluster, database: str, patient_ledgers: None
) -> AsyncIterator[PgBouncerLedgerHarness]:
    harness = PgBouncerLedgerHarness(pgbouncer, cluster, database)
    await harness.ledger.open()
    yield harness
    await harness.ledger.close()


class TestPgBouncerLedger(GenerationContract, FeedContract):
    """The suites, over PgBouncer."""
