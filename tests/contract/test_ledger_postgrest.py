"""The ledger contract over a real PostgREST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.adapters.ledger.postgrest import PostgrestLedger
from copperplate.adapters.supabase.http import make_client
from tests.contract.ledger import LedgerContract
from tests.support.postgres_fixtures import empty, entry_faults_of, making_databases, reason_of, spent_of, usage_of
from tests.support.postgrest_server import PostgrestServer, make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from copperplate.local.cluster import Cluster


# PostgREST calls the function at the start of every transaction: the clock moves without a new connection.
MOVABLE_CLOCK = """
create schema moved;
create table moved.clock (seconds double precision not null);
insert into moved.clock values (0);
create function moved.set_clock() returns void language plpgsql as $$
begin
    perform set_config('copperplate.clock_offset', seconds || 's', true) from moved.clock;
end;
$$;
grant usage on schema moved to public;
grant select on moved.clock to public;
"""


class PostgrestLedgerHarness:
    """Moves the ledger's clock by a row of the database, which PostgREST reads for every request."""

    def __init__(self, ledger: PostgrestLedger, superuser_url: str) -> None:
        self.ledger = ledger
        self._superuser_url = superuser_url

    async def advance(self, seconds: float) -> None:
        with psycopg.connect(self._superuser_url) as connection:
            connection.execute("update moved.clock set seconds = seconds + %s", (seconds,))

    def clear(self) -> None:
        """Leave an empty database behind, whose clock is right."""
        empty(self._superuser_url)
        with psycopg.connect(self._superuser_url) as connection:
            connection.execute("update moved.clock set seconds = 0")

    async def usage(self, key: str) -> dict[str, int]:
        return usage_of(self._superuser_url, key)

    async def spent(self, key: str) -> int | None:
        return spent_of(self._superuser_url, key)

    async def entry_faults(self) -> list[object]:
        return entry_faults_of(self._superuser_url)

    async def reason(self, name: str) -> str:
        return reason_of(self._superuser_url, name)


@pytest.fixture(scope="module")
def shared(cluster: Cluster, postgrest_binary: Path) -> Iterator[tuple[PostgrestServer, str]]:
    """One PostgREST for all tests of this file, and a URL of its database for the superuser."""
    with making_databases(cluster) as make:
        name = make()
        superuser_url = cluster.url(role="supabase_admin", database=name)
        with psycopg.connect(superuser_url) as connection:
            connection.execute(MOVABLE_CLOCK)
        url = cluster.url(role="authenticator", database=name)
        with PostgrestServer(postgrest_binary, url, db_pre_request="moved.set_clock") as server:
            yield server, superuser_url


@pytest.fixture
async def harness(shared: tuple[PostgrestServer, str], patient_ledgers: None) -> AsyncIterator[PostgrestLedgerHarness]:
    server, superuser_url = shared
    async with make_client() as client:
        harness = PostgrestLedgerHarness(PostgrestLedger(client, server.url, make_jwt()), superuser_url)
        yield harness
        harness.clear()


class TestPostgrestLedger(LedgerContract):
    """The suites, over PostgREST."""
