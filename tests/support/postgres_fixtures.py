"""A real Postgres for tests: one cluster a session, one database a test, cloned from a migrated template."""

from __future__ import annotations

import itertools
import os
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.local.binaries import ENVIRONMENT_VARIABLE, find_binaries
from copperplate.local.bootstrap import bootstrap, connect, create_database, drop_database
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.migrations import migrate
from tests.support.clusters import find_quick_folder, open_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

TEMPLATE = "migrated"
PATIENT_SECONDS = 120.0
OLDER_MAJORS = (15, 16, 17)
STORAGE = Path(__file__).parents[1] / "standin" / "storage.sql"
FEED_ANEW = """
update copperplate.feed_states
set forgotten = '1:1:', marked = pg_current_snapshot(), marked_at = now()
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """An embedded cluster of this test process alone, in a folder that Postgres' own user can enter."""
    # Durability is what the cluster's own tests are about; everywhere else it only costs time.
    with open_folder(find_quick_folder()) as folder, Cluster.start(folder, is_durable=False) as running:
        bootstrap(running.superuser_url, passwords=running.passwords)
        create_database(running.superuser_url, TEMPLATE, template="postgres")
        migrate(running.url(database=TEMPLATE), announce=ignore)
        yield running


@contextmanager
def start_older(folder: Path) -> Iterator[Cluster]:
    """A cluster in `folder` of the oldest supported major that is installed here."""
    folders = [Path(f"/usr/lib/postgresql/{major}/bin") for major in OLDER_MAJORS]
    binaries = next((each for each in folders if (each / "postgres").exists()), None)
    if binaries is None:
        pytest.skip("no PostgreSQL 15, 16 or 17 is installed (Debian and Ubuntu: apt-get install postgresql)")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(ENVIRONMENT_VARIABLE, str(binaries))
        assert find_binaries().major in OLDER_MAJORS
        running = Cluster.start(folder, is_durable=False)
    with running:
        yield running


@pytest.fixture(scope="session")
def older_cluster() -> Iterator[Cluster]:
    """That cluster, bootstrapped."""
    with open_folder(find_quick_folder()) as folder, start_older(folder) as running:
        bootstrap(running.superuser_url, passwords=running.passwords)
        yield running


@pytest.fixture(scope="session")
def cron_cluster() -> Iterator[Cluster]:
    """A migrated cluster with the real pg_cron, which has to be there when Postgres starts."""
    with open_folder(find_quick_folder()) as folder:
        with start_older(folder) as running, connect(running.superuser_url, autocommit=True) as superuser:
            if not superuser.execute("select from pg_available_extensions where name = 'pg_cron'").rowcount:
                pytest.skip("pg_cron is not installed (Debian: apt-get install postgresql-15-cron)")
            superuser.execute("alter system set shared_preload_libraries = 'pg_cron'")
        with start_older(folder) as running:
            bootstrap(running.superuser_url, passwords=running.passwords)
            with connect(running.superuser_url) as superuser:
                # What Supabase does when a person switches it on.
                superuser.execute("create extension pg_cron with schema pg_catalog")
                superuser.execute("grant usage on schema cron to postgres")
            migrate(running.owner_url, announce=ignore)
            yield running


@pytest.fixture
def make_database(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes migrated, empty databases; each call answers a new name."""
    with making_databases(cluster) as make:
        yield make


@contextmanager
def making_databases(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """What `make_database` gives a test, for fixtures of another scope."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        create_database(cluster.superuser_url, name, template=TEMPLATE)
        made.append(name)
        return name

    try:
        yield make
    finally:
        for name in made:
            drop_database(cluster.superuser_url, name)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PostgresLedger]:
    """A ledger of its own."""
    ledger = PostgresLedger(url, **options)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
async def ledger(owner_url: str) -> AsyncIterator[PostgresLedger]:
    """A ledger over an empty database."""
    async with opened(owner_url) as ledger:
        yield ledger


@pytest.fixture
def editor(owner_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """What a person has in the SQL editor."""
    with psycopg.connect(owner_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def patient_ledgers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers whose calls do not give up after 2.5 s: of hundreds at once on a busy machine the last waits longer."""
    monkeypatch.setattr("copperplate.adapters.ledger.postgres.CALL_SECONDS", PATIENT_SECONDS)
    monkeypatch.setattr("copperplate.adapters.ledger.postgrest.CALL_SECONDS", PATIENT_SECONDS)


@pytest.fixture
def database(make_database: Callable[[], str]) -> str:
    """The name of a migrated, empty database."""
    return make_database()


@pytest.fixture
def owner_url(cluster: Cluster, database: str) -> str:
    """A libpq URL of that database for the owner of the schema."""
    return cluster.url(database=database)


@pytest.fixture(params=["cluster", "older_cluster"], ids=["postgres 18", "postgres 15"])
def server(request: pytest.FixtureRequest) -> Cluster:
    """The newest and the oldest Postgres, one after the other."""
    found: Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def make_project(server: Cluster) -> Iterator[Callable[..., str]]:
    """Makes databases of `server` like new Supabase projects, without migrations; each call answers a new name."""
    made: list[str] = []

    def make(*, expose_new_tables: bool = True) -> str:
        name = f"project_{os.getpid()}_{next(_numbers)}"
        made.append(name)
        make_supabase_database(server, name, expose_new_tables=expose_new_tables)
        return name

    yield make
    for name in made:
        drop_database(server.superuser_url, name)


def make_supabase_database(server: Cluster, name: str, *, expose_new_tables: bool = True) -> None:
    """A database as Supabase hands it out, the tables of Storage (a stand-in) included."""
    create_database(server.superuser_url, name)
    url = server.url("supabase_admin", name)
    bootstrap(url, passwords=server.passwords, expose_new_tables=expose_new_tables)
    with connect(url) as superuser:
        superuser.execute(STORAGE.read_bytes())


def empty(url: str) -> None:
    """Remove every row of a migrated database but the kinds and the feed's id; `url` is its superuser's."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('public', 'copperplate')"
            " and tablename not in ('kinds', 'feed_states')"
        ).fetchall()
        # Neither triggers nor foreign keys are to notice. To truncate would write every file of every index anew.
        connection.execute("set session_replication_role = replica")
        connection.execute("; ".join(f"delete from {name}" for (name,) in tables).encode())
        connection.execute(FEED_ANEW)


def usage_of(url: str, key: str) -> dict[str, int]:
    """What the provider reported for a generation, read past every adapter."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select provider_usage from public.generation_status where prompt_hash = %s", (key,)
        ).fetchone()
    assert row is not None
    return dict(row[0])


def entry_faults_of(url: str) -> list[object]:
    """What is wrong with entries and totals, read past every adapter."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select public.audit_entries() -> 'faults'").fetchone()
    assert row is not None
    return list(row[0])


def reason_of(url: str, name: str) -> str:
    """Why a breaker is open, by its row."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select reason from copperplate.breakers where name = %s", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def spent_of(url: str, key: str) -> int | None:
    """What a generation's submits cost, in millionths of a dollar, read past every adapter."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select copperplate.spent_micro_usd(%s)", (key,)).fetchone()
    assert row is not None
    spent: int | None = row[0]
    return spent
