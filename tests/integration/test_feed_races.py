"""The feed while transactions are open: late commits are told, once, whatever their number is."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.adapters.ledger.postgrest import PostgrestLedger
from copperplate.adapters.supabase.http import make_client
from copperplate.local.bootstrap import drop_database
from copperplate.local.cluster import ignore
from copperplate.local.migrations import migrate
from tests.contract.ledger.feed import Reader, start
from tests.support.many_pictures import fill_pictures
from tests.support.postgres_fixtures import make_supabase_database, opened
from tests.support.postgrest_server import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from copperplate.local.cluster import Cluster

# Of transactions that end in reverse order.
PAIRS = {"postgres 18": 200, "postgres 15": 50, "postgrest": 200, "pgbouncer": 50}
PURGE = "select pg_current_xact_id()::text::bigint, public.purge_entries(p_generation_key => %s, p_dry_run => false)"


@pytest.fixture(scope="module")
def older_url(older_cluster: Cluster) -> Iterator[str]:
    """A migrated database of the oldest Postgres: its owner's URL."""
    make_supabase_database(older_cluster, "feed_races")
    url = older_cluster.url(database="feed_races")
    migrate(url, announce=ignore)
    yield url
    drop_database(older_cluster.superuser_url, "feed_races")


@pytest.fixture(params=PAIRS)
async def way(request: pytest.FixtureRequest, patient_ledgers: None) -> AsyncIterator[tuple[Any, str]]:
    """A ledger, and a URL of its database for the owner, past whatever stands between."""
    fixture = request.getfixturevalue
    async with contextlib.AsyncExitStack() as stack:
        url = fixture("older_url" if request.param == "postgres 15" else "owner_url")
        match request.param:
            case "postgrest":
                client = await stack.enter_async_context(make_client())
                yield PostgrestLedger(client, fixture("postgrest").url, make_jwt()), url
            case "pgbouncer":
                yield await stack.enter_async_context(opened(fixture("pgbouncer").url(fixture("database")))), url
            case _:
                yield await stack.enter_async_context(opened(url)), url


@pytest.fixture
def pairs(request: pytest.FixtureRequest) -> int:
    return PAIRS[request.node.callspec.params["way"]]


def told(page: Any) -> list[str | None]:
    assert page.is_continued
    return [row.generation_key for row in page.invalidations]


async def test_two_purges_that_end_in_reverse_order_are_both_told_once(way: tuple[Any, str], pairs: int) -> None:
    ledger, url = way
    with contextlib.ExitStack() as stack:
        first, second, third, fourth = (stack.enter_context(psycopg.connect(url)) for _ in range(4))
        keys = fill_pictures(first, 2 * pairs)
        first.commit()
        reader, wrong = await start(ledger), []

        def begin(number: int) -> list[tuple[psycopg.Connection[Any], str]]:
            """Two transactions, the early one first."""
            two = list(zip([(first, second), (third, fourth)][number % 2], keys[2 * number :], strict=False))
            numbers = [row[0] for connection, key in two for row in connection.execute(PURGE, (key,))]
            assert numbers == sorted(numbers)
            return two

        following = begin(0)
        assert told(await reader.read()) == []
        for number in range(pairs):
            (early, early_key), (late, late_key) = following
            late.commit()
            pages = [await reader.read()]
            # The next two are open when the early one is told: that read is the one before theirs.
            following = begin(number + 1) if number + 1 < pairs else []
            early.commit()
            pages.append(await reader.read())
            # What was told once more would be in the next read.
            if [told(page) for page in pages] != [[late_key], [early_key]]:
                wrong.append(pages)
        assert (wrong, told(await reader.read())) == ([], [])


async def test_a_transaction_that_stays_open_makes_nothing_be_told_again(way: tuple[Any, str]) -> None:
    ledger, url = way
    with psycopg.connect(url) as long, psycopg.connect(url, autocommit=True) as editor:
        keys = fill_pictures(editor, 60)
        long.execute(PURGE, (keys[0],))
        reader, seen = await start(ledger), []
        for key in keys[1:50]:
            editor.execute(PURGE, (key,))
            seen += told(await reader.read())
        assert seen == keys[1:50]
        assert reader.cursor is not None
        assert reader.cursor.xmax - reader.cursor.xmin >= 49
        assert told(await reader.read()) == []
        # What began while it was open, and is not told before it either.
        newer = await start(ledger)
        editor.execute(PURGE, (keys[50],))
        long.commit()
        for each in (reader, newer):
            assert sorted(map(str, told(await each.read()))) == sorted([keys[0], keys[50]])
            assert told(await each.read()) == []


async def test_readers_beside_many_writers_are_told_everything_once(owner_url: str) -> None:
    writers, each = 6, 40
    with psycopg.connect(owner_url, autocommit=True) as editor:
        keys = fill_pictures(editor, writers * each)
    chance = random.Random(16)
    async with opened(owner_url) as ledger:
        readers = [await start(ledger) for _ in range(2)]
        seen: list[list[str | None]] = [[] for _ in readers]
        is_over = False

        async def write(mine: list[str]) -> None:
            async with await psycopg.AsyncConnection.connect(owner_url) as connection:
                while mine:
                    for _ in range(min(len(mine), chance.randint(1, 3))):
                        await connection.execute(PURGE, (mine.pop(),))
                        await asyncio.sleep(chance.uniform(0, 0.01))
                    await connection.commit()

        async def follow(reader: Reader, into: list[str | None]) -> None:
            while not is_over:
                into += told(await reader.read())

        following = [asyncio.create_task(follow(*pair)) for pair in zip(readers, seen, strict=True)]
        await asyncio.gather(*(write(keys[number::writers]) for number in range(writers)))
        is_over = True
        await asyncio.gather(*following)
        for reader, before in zip(readers, seen, strict=True):
            assert sorted(map(str, [*before, *told(await reader.read())])) == sorted(keys)


async def test_the_database_has_one_id_whichever_way_it_is_read(
    owner_url: str, postgrest: Any, pgbouncer: Any, database: str, cluster: Cluster
) -> None:
    with psycopg.connect(owner_url) as owner:
        ids = {row[0] for row in owner.execute("select copperplate.database_id()")}
    async with make_client() as client, opened(owner_url) as direct, opened(pgbouncer.url(database)) as pooled:
        for ledger in (PostgrestLedger(client, postgrest.url, make_jwt()), direct, pooled):
            ids.add((await ledger.read_feed(None, None)).database)
    assert len(ids) == 1
    # Where a project's owner may not look at the server, there is an id all the same.
    with psycopg.connect(cluster.url("supabase_admin", database)) as superuser:
        for function in ("pg_control_system()", "pg_current_wal_lsn()"):
            superuser.execute(f"revoke execute on function {function} from public".encode())
        superuser.execute("grant execute on function pg_control_system() to service_role")
        fewer = set()
        # Whatever their own rights are, all roles are told the same.
        for role in ("supabase_admin", "postgres", "service_role"):
            superuser.execute(f"set local role {role}".encode())
            [row] = superuser.execute("select public.read_feed() ->> 'database'").fetchall()
            fewer.add(row[0])
        superuser.rollback()
    [found] = fewer
    assert len(found) == 32
    assert found not in ids
