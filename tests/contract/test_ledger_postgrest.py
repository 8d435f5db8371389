"""The ledger contract over a real PostgREST."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledger import BreakerContract, CareContract, LedgerContract, NegativeEntryContract
from ledger_credits import CreditContract, SpendContract
from ledger_jobs import JobContract
from ledger_misses import MissContract
from psycopg import sql

from copperplate.adapters.postgrest import PostgrestLedger
from copperplate.adapters.supabase_http import make_client
from postgres_fixtures import spent_of, usage_of
from postgrest_server import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.local.cluster import Cluster
    from postgrest_server import PostgrestServer


class PostgrestDesk:
    """Moves the ledger's clock by a setting of the database, which PostgREST's connections get when it starts anew."""

    def __init__(self, ledger: PostgrestLedger, postgrest: PostgrestServer, superuser_url: str) -> None:
        self.ledger = ledger
        self._postgrest = postgrest
        self._superuser_url = superuser_url
        self._offset = 0.0

    async def advance(self, seconds: float) -> None:
        self._offset += seconds
        with psycopg.connect(self._superuser_url, autocommit=True) as connection:
            name = sql.Identifier(connection.info.dbname)
            setting = sql.Literal(f"{self._offset}s")
            connection.execute(sql.SQL("alter database {} set copperplate.clock_offset = {}").format(name, setting))
        await asyncio.to_thread(self._postgrest.restart)  # meanwhile the client sees its connections end

    async def usage(self, key: str) -> dict[str, int]:
        return usage_of(self._superuser_url, key)

    async def spent(self, key: str) -> int | None:
        return spent_of(self._superuser_url, key)


@pytest.fixture
async def desk(postgrest: PostgrestServer, cluster: Cluster, database: str) -> AsyncIterator[PostgrestDesk]:
    async with make_client() as client:
        ledger = PostgrestLedger(client, postgrest.url, make_jwt())
        yield PostgrestDesk(ledger, postgrest, cluster.url(role="supabase_admin", database=database))


class TestPostgrestLedger(
    LedgerContract,
    MissContract,
    JobContract,
    CreditContract,
    SpendContract,
    NegativeEntryContract,
    BreakerContract,
    CareContract,
):
    """The suites, over PostgREST."""
