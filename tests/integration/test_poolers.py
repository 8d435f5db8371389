"""The ledger and the migrations behind a real PgBouncer: what is found at connect, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from copperplate.adapters.ledger.libpq import read_url
from copperplate.adapters.ledger.poolers import Pooler, find_pooler
from copperplate.adapters.ledger.postgres_errors import translate
from copperplate.errors import LedgerMisconfigured, LedgerUnavailable, Misconfigured, PoolerExhausted
from copperplate.local.bootstrap import create_database, drop_database
from copperplate.local.cluster import ignore
from copperplate.local.errors import MigrationFailed
from copperplate.local.migrations import migrate
from copperplate.model import SCHEMA
from copperplate.settings import Settings
from tests.contract.ledger.harness import complete
from tests.support.pgbouncer_server import start_pgbouncer
from tests.support.pictures import picture_request
from tests.support.postgres_fixtures import opened
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.local.cluster import Cluster
    from tests.support.pgbouncer_server import PgBouncer

OURS = {"role": "service_role", "statement_timeout": "5s", "lock_timeout": "2s"}
SHOWN = (
    "select current_user::text as role, current_setting('statement_timeout') as statement_timeout,"
    " current_setting('lock_timeout') as lock_timeout"
)


async def found_at(url: str) -> Pooler | None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await find_pooler(connection, None)


async def call_at_once(ledger: PostgresLedger, times: int) -> list[dict[str, Any]]:
    """Role and limits as so many calls saw them, each repeated on its connection so that it would be prepared."""
    return [rows[0] for rows in await asyncio.gather(*(ledger._transport._rows(SHOWN, ()) for _ in range(times)))]


def sessions(cluster: Cluster, database: str) -> list[tuple[str, ...]]:
    """What the sessions of a database last ran, and how they are named."""
    with psycopg.connect(cluster.superuser_url, autocommit=True) as superuser:
        return superuser.execute(
            "select application_name, query from pg_stat_activity where datname = %s", (database,)
        ).fetchall()


def left_in_sessions(url: str) -> set[tuple[Any, ...]]:
    """Role, limits and prepared statements of the sessions that a stranger gets from the pooler."""
    query = f"select s.*, (select count(*) from pg_prepared_statements) from ({SHOWN}) as s".encode()
    with contextlib.ExitStack() as opened_here:
        strangers = [
            opened_here.enter_context(psycopg.connect(url, autocommit=True, prepare_threshold=None)) for _ in range(4)
        ]
        found = set()
        for stranger in strangers:
            stranger.execute("begin")  # which keeps the session, so that the next stranger gets another
            found |= set(stranger.execute(query).fetchall())
        return found


# --- what is at the other end --------------------------------------------------------------------


async def test_postgres_itself_is_taken_for_no_pooler(cluster: Cluster, database: str) -> None:
    assert await found_at(cluster.url(database=database)) is None
    assert await found_at(cluster.tcp_url(database=database)) is None
    # What only passes bytes on, such as a tunnel or a load balancer, is none either.
    async with Wire(cluster.tcp_url(database=database)) as wire:
        assert await found_at(wire.url) is None


@pytest.mark.parametrize("mode", ["pgbouncer", "session_pgbouncer"])
async def test_pooler_is_found_whatever_its_port_and_its_way(
    mode: str, database: str, request: pytest.FixtureRequest
) -> None:
    bouncer: PgBouncer = request.getfixturevalue(mode)
    assert bouncer.port != 6543
    over_tcp = await found_at(bouncer.url(database))
    assert over_tcp == Pooler(place=f"127.0.0.1:{bouncer.port}", mode="transaction")
    over_socket = await found_at(bouncer.socket_url(database))
    assert over_socket == Pooler(place=f"{bouncer.folder}:{bouncer.port}", mode="transaction")


# --- behind one ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["pgbouncer", "session_pgbouncer"])
async def test_calls_have_role_and_limits_and_leave_nothing_in_a_session(
    mode: str, database: str, request: pytest.FixtureRequest
) -> None:
    bouncer: PgBouncer = request.getfixturevalue(mode)
    async with opened(bouncer.url(database)) as ledger:
        assert await call_at_once(ledger, 40) == [OURS] * 40
        with pytest.raises(LedgerUnavailable):
            await ledger._transport._rows("select 1 / 0", ())
        assert await call_at_once(ledger, 40) == [OURS] * 40
        assert (await ledger.check_setup())["pooler"] == {"place": f"127.0.0.1:{bouncer.port}", "mode": "transaction"}
        assert left_in_sessions(bouncer.url(database)) == {("postgres", "0", "0", 0)}


async def test_behind_a_pooler_nobody_listens_and_followers_poll(
    pgbouncer: PgBouncer, cluster: Cluster, database: str
) -> None:
    async with opened(pgbouncer.url(database)) as ledger:
        assert ledger._transport._listening is not None
        async with asyncio.timeout(60):
            await ledger._transport._listening
        with ledger.hints(picture_request().generation_key):
            entry = await complete(ledger, picture_request())
        assert (await ledger.peek(picture_request().generation_key, picture_request().rendition_key)).entry == entry  # type: ignore[union-attr]
        assert not [query for _, query in sessions(cluster, database) if query.startswith("listen")]


async def test_pooler_that_is_found_is_said_once(
    pgbouncer: PgBouncer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="copperplate.adapters.ledger.postgres")
    async with opened(pgbouncer.url(database)) as ledger:
        await call_at_once(ledger, 40)
    told = [record.getMessage() for record in caplog.records if "pooler" in record.getMessage()]
    assert told == [
        f"a pooler answers at 127.0.0.1:{pgbouncer.port}; it is taken to be in transaction mode; see docs/settings.md"
    ]


# --- what a setting says -------------------------------------------------------------------------


async def test_pooler_that_is_said_to_lend_whole_sessions_keeps_everything(
    session_pgbouncer: PgBouncer, cluster: Cluster, database: str
) -> None:
    url = session_pgbouncer.url(database)
    async with opened(url, pooler="session", max_connections=1) as ledger, opened(url, pooler="session") as leading:
        assert await call_at_once(ledger, 40) == [OURS] * 40
        assert (await ledger.check_setup())["pooler"]["mode"] == "session"
        prepared = await ledger._transport._rows("select count(*) from pg_prepared_statements", ())
        assert prepared[0]["count"] > 0
        with ledger.hints(picture_request().generation_key) as hint:
            async with asyncio.timeout(60):
                while sum(query.startswith("listen") for _, query in sessions(cluster, database)) < 2:
                    await asyncio.sleep(0.05)
                hint.clear()
                await complete(leading, picture_request())
                await hint.wait()


async def test_connection_that_is_said_to_lead_to_a_pooler_keeps_nothing(cluster: Cluster, database: str) -> None:
    async with opened(cluster.url(database=database), pooler="transaction", max_connections=1) as ledger:
        assert await call_at_once(ledger, 20) == [OURS] * 20
        async with ledger._transport._pool.connection() as connection:
            row = await (await connection.execute(SHOWN)).fetchone()
            prepared = await (await connection.execute("select count(*) from pg_prepared_statements")).fetchone()
    assert (row, prepared) == ({"role": "postgres", "statement_timeout": "0", "lock_timeout": "0"}, {"count": 0})


async def test_direct_connection_keeps_role_limits_and_prepared_statements(cluster: Cluster, database: str) -> None:
    url = f"{cluster.url(database=database)}&options=-c%20timezone%3DAsia/Tokyo"
    async with opened(url, max_connections=1) as ledger:
        assert await call_at_once(ledger, 20) == [OURS] * 20
        row = (
            await ledger._transport._rows(
                "select current_setting('timezone') as zone, count(*) from pg_prepared_statements", ()
            )
        )[0]
        assert row["zone"] == "Asia/Tokyo", "what the URL says stays"
        assert row["count"] > 0
        assert (await ledger.check_setup())["pooler"] is None


@pytest.mark.parametrize("sqlstate", ["42P05", "26000"])
def test_pooler_that_passes_for_postgres_is_named_with_what_to_set(sqlstate: str) -> None:
    error, again = translate(psycopg.errors.lookup(sqlstate)('prepared statement "_pg3_13" already exists'))
    assert (type(error), again) == (LedgerMisconfigured, False)
    assert "COPPERPLATE_POOLER=transaction" in str(error)


async def test_pooler_that_has_lent_every_session_is_named_with_its_limit(cluster: Cluster, database: str) -> None:
    with (
        start_pgbouncer(cluster, mode="session", pool_size=1) as full,
        psycopg.connect(full.url(database), autocommit=True) as holder,
    ):
        holder.execute("select 1")
        async with opened(full.url(database), pooler="session") as ledger:
            with pytest.raises(PoolerExhausted, match="Raise its default_pool_size to 8 for each process, 9 with"):
                await ledger.check_setup()


def test_pooler_that_gives_up_a_wait_for_a_session_is_named_with_its_limit() -> None:
    error, _ = translate(psycopg.errors.ProtocolViolation("query_wait_timeout"))
    assert isinstance(error, PoolerExhausted)
    assert "default_pool_size" in str(error)


def test_parameters_for_other_clients_are_dropped_and_unknown_ones_are_named() -> None:
    place = "postgresql://postgres.ref:secret@pooler.example:6543/postgres"
    for extra, kept in (
        ("?pgbouncer=true", ""),
        ("?pgbouncer=true&connection_limit=1&sslmode=require", "?sslmode=require"),
        ("?sslmode=require&supa=base-pooler.x", "?sslmode=require"),
        ("?sslmode=require", "?sslmode=require"),
    ):
        given = Settings.from_env({"DATABASE_URL": place + extra}).database_url
        assert given == place + kept
        assert read_url(given)["host"] == "pooler.example"
    with pytest.raises(Misconfigured, match=r"parameters that libpq does not know \(schema\)\. See"):
        read_url(f"{place}?schema=public&sslmode=require")
    with pytest.raises(Misconfigured) as refused:  # a question mark in a password
        read_url("postgresql://postgres:half?secret=1@pooler.example/postgres?schema=public")
    assert "secret" not in str(refused.value)


# --- migrations ----------------------------------------------------------------------------------


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[str]:
    """A database like a new project's."""
    name = "behind_a_pooler"
    create_database(cluster.superuser_url, name, template="postgres")
    yield name
    drop_database(cluster.superuser_url, name)


async def test_several_migrate_through_a_pooler_at_once_and_each_file_is_applied_once(
    pgbouncer: PgBouncer, empty: str
) -> None:
    url = pgbouncer.url(empty)
    applied = await asyncio.gather(*(asyncio.to_thread(migrate, url, announce=ignore) for _ in range(3)))
    versions = [each.version for one in applied for each in one]
    assert len(versions) == len(set(versions))
    assert max(versions) == SCHEMA
    with psycopg.connect(url, autocommit=True, prepare_threshold=None, row_factory=dict_row) as connection:
        assert connection.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() == {
            "count": 0
        }
    async with opened(url) as ledger:
        assert (await ledger.check_setup())["schema"] == SCHEMA


def test_pooler_that_lends_a_session_for_a_statement_is_told_to_be_passed(cluster: Cluster, empty: str) -> None:
    with (
        start_pgbouncer(cluster, mode="statement") as bouncer,
        pytest.raises(MigrationFailed, match="migrate past it, at the database's own address, or through a pooler in"),
    ):
        migrate(bouncer.url(empty), announce=ignore)


def test_what_a_migration_sets_for_its_session_reaches_nobody_behind_a_pooler(
    pgbouncer: PgBouncer, empty: str, tmp_path: Path
) -> None:
    text = "set statement_timeout = '7s';\nset lock_timeout = '3s';\nset role service_role;\nselect 1;\n"
    (tmp_path / "20260101000000_set_things.sql").write_text(text)
    left_in_sessions(pgbouncer.url(empty))  # from now on there are several to be lent in turn
    migrate(pgbouncer.url(empty), announce=ignore, folder=tmp_path)
    assert left_in_sessions(pgbouncer.url(empty)) == {("postgres", "0", "0", 0)}
