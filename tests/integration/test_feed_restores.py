"""After a restore or a promotion the ledger has another id, and no cursor from before is continued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.errors import LedgerMisconfigured
from copperplate.local.bootstrap import bootstrap
from copperplate.local.cluster import Cluster, ignore
from copperplate.local.home import find_home
from copperplate.local.migrations import find_migrations_folder, migrate
from tests.contract.ledger.feed import start
from tests.support.clusters import eventually, find_quick_folder, open_folder
from tests.support.postgres_fixtures import opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from copperplate.adapters.ledger.postgres import PostgresLedger
    from copperplate.feed import FeedPage

    Editor = psycopg.Connection[dict[str, Any]]

RAISE = "select is_raised from copperplate.raise_fences('2025-11-29 12:00 UTC')"
NOTE = "insert into copperplate.invalidations (generation_key) values (%s)"
FUTURE = 2**52 + 3
FEED = "20261120000406_create_feed.sql"


async def test_raising_fences_renews_the_id_once_a_restore(ledger: PostgresLedger, editor: Editor) -> None:
    reader = await start(ledger)
    editor.execute(NOTE, ["a"])
    for is_raised in (True, False):
        before = reader.database
        assert editor.execute(RAISE).fetchone() == {"is_raised": is_raised}
        page = await reader.read()
        assert page.is_continued is not is_raised
        assert (page.database != before) is is_raised
        assert page.invalidations == ()
        assert await reader.keys() == []


def id_of(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("select copperplate.database_id()").fetchone()
    assert row is not None
    return str(row[0])


def test_copies_of_a_database_have_ids_of_their_own(cluster: Cluster, make_database: Callable[[], str]) -> None:
    ids = [id_of(cluster.url(database=make_database())) for _ in range(2)]
    assert len(set(ids)) == 2


def test_tables_that_are_made_anew_have_another_id(cluster: Cluster, database: str) -> None:
    """As `pg_restore --clean` does it, with the rows of the dump."""
    url = cluster.url(database=database)
    before = id_of(url)
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(
            "create table copperplate.again (like copperplate.invalidations including all);"
            "drop table copperplate.invalidations;"
            "alter table copperplate.again rename to invalidations"
        )
    assert id_of(url) != before


async def test_transactions_of_another_server_are_neither_told_nor_in_the_way(
    ledger: PostgresLedger, editor: Editor
) -> None:
    """A dump of a server that had counted much further."""
    editor.execute(
        f"insert into copperplate.invalidations (transaction, generation_key) values ('{FUTURE}', 'theirs');"
        f"update copperplate.feed_states set forgotten = '{FUTURE}:{FUTURE}:', marked = '{FUTURE}:{FUTURE}:'".encode()
    )
    reader = await start(ledger)
    editor.execute(NOTE, ["ours"])
    assert await reader.keys() == [("ours", None)]
    # And once a day has passed they are in nobody's way.
    for _ in range(3):
        editor.execute("update copperplate.feed_states set marked_at = now() - interval '2 days'")
        editor.execute("select copperplate.forget_invalidations(10)")
        assert await reader.keys() == []
    left = editor.execute("select generation_key from copperplate.invalidations").fetchall()
    assert left == [{"generation_key": "theirs"}]


async def test_a_feed_without_its_state_is_continued_by_nobody(ledger: PostgresLedger, editor: Editor) -> None:
    reader = await start(ledger)
    editor.execute("delete from copperplate.feed_states")
    for _ in range(2):
        editor.execute(NOTE, ["a"])
        page = await reader.read()
        assert not page.is_continued
        assert page.known_from == page.cursor.xmax


async def test_a_recovery_from_an_archive_and_a_promotion_renew_the_id_and_a_restart_does_not() -> None:
    with open_folder(find_quick_folder()) as folder:
        with Cluster.start(folder, is_durable=False) as running:
            bootstrap(running.superuser_url, passwords=running.passwords)
            migrate(running.owner_url, announce=ignore, folder=as_far_as_the_feed(folder))
            ids = [id_of(running.owner_url)]
            with psycopg.connect(running.superuser_url, autocommit=True) as superuser:
                # An archive that has no more to give: the recovery ends where the data folder does.
                superuser.execute("alter system set restore_command = 'false'")
        begin_as(folder, "recovery")
        with Cluster.start(folder, is_durable=False) as running:
            with psycopg.connect(running.superuser_url, autocommit=True) as superuser:
                eventually(lambda: superuser.execute("select pg_is_in_recovery()").fetchone() == (False,))
            ids.append(id_of(running.owner_url))
        begin_as(folder, "standby")
        with Cluster.start(folder, is_durable=False) as running:
            with psycopg.connect(running.superuser_url, autocommit=True) as superuser:
                assert superuser.execute("select pg_is_in_recovery()").fetchone() == (True,)
                with pytest.raises(LedgerMisconfigured, match="connect to the primary"):
                    await read_feed(running.owner_url)
                superuser.execute("select pg_promote()")
                eventually(lambda: superuser.execute("select pg_is_in_recovery()").fetchone() == (False,))
            ids.append((await read_feed(running.owner_url)).database)
        assert len(set(ids)) == 3
        with Cluster.start(folder, is_durable=False) as running:
            assert id_of(running.owner_url) == ids[-1]


async def read_feed(url: str) -> FeedPage:
    async with opened(url) as ledger:
        return await ledger.read_feed(None, None)


def as_far_as_the_feed(folder: Path) -> Path:
    """A folder in `folder` of the migrations up to the feed's, a third of all."""
    (few := folder / "migrations").mkdir()
    for file in find_migrations_folder().glob("*.sql"):
        if file.name <= FEED:
            (few / file.name).symlink_to(file)
    return few


def begin_as(folder: Path, what: str) -> None:
    """Make the next start a recovery from an archive, as a point-in-time restore is one, or that of a standby."""
    home = find_home(folder)
    assert home is not None
    (home.pgdata / f"{what}.signal").touch()
