"""The feed is read and forgotten by its index, however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local.bootstrap import create_database, drop_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

ROWS, NAME = 100_000, "long_feed"
FILL = f"""
alter table copperplate.invalidations set (autovacuum_enabled = false);
do $$
begin
    for n in 1 .. {ROWS // 100} loop
        insert into copperplate.invalidations (generation_key)
        select encode(sha256((n * 100 + m)::text::bytea), 'hex') from generate_series(1, 100) as m;
        commit;
    end loop;
end
$$;
"""
READ = """
select coalesce(sum(seq_tup_read), 0)::bigint as scanned, coalesce(sum(idx_tup_fetch), 0)::bigint as fetched
from pg_stat_xact_user_tables where relname = 'invalidations'
"""


@pytest.fixture(scope="module", params=[True, False], ids=["analyzed", "not analyzed"])
def filled(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[str]:
    """A migrated database with a long feed: its owner's URL."""
    create_database(cluster.superuser_url, NAME, template="migrated")
    with psycopg.connect(cluster.url("supabase_admin", NAME), autocommit=True) as superuser:
        for statement in FILL.split(";\n", 1):
            superuser.execute(statement.encode())
        if request.param:
            superuser.execute("analyze copperplate.invalidations")
    yield cluster.url(database=NAME)
    drop_database(cluster.superuser_url, NAME)


@pytest.fixture
def owner(filled: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(filled) as connection:
        yield connection
        connection.rollback()


def one(connection: psycopg.Connection[Any], statement: str, *arguments: Any) -> Any:
    row = connection.execute(statement.encode(), arguments).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


# Ten times: from the sixth on Postgres may use a plan that does not know the cursor.
@pytest.mark.parametrize("back", [0, 3])
def test_a_read_fetches_what_is_new_and_nothing_else(owner: psycopg.Connection[Any], back: int) -> None:
    now = int(one(owner, "select pg_snapshot_xmin(pg_current_snapshot())::text"))
    last = int(one(owner, "select max(transaction)::text from copperplate.invalidations"))
    since = last + 1 - back
    assert since <= now
    database = one(owner, "select copperplate.database_id()")
    before = one(owner, READ)
    for _ in range(10):
        page = one(owner, "select public.read_feed(%s, %s)", f"{since}:{since}:", database)
        assert page["is_continued"]
        assert len(page["invalidations"]) == back * 100
    scanned, fetched = (after - then for after, then in zip(one(owner, READ), before, strict=True))
    assert scanned == 0
    # The planner looks at both ends of the index, too.
    assert fetched <= 10 * (back * 100 + 5)


def test_a_first_read_fetches_the_newest(owner: psycopg.Connection[Any]) -> None:
    before = one(owner, READ)
    page = one(owner, "select public.read_feed()")
    assert len(page["invalidations"]) == 1_000
    scanned, fetched = (after - then for after, then in zip(one(owner, READ), before, strict=True))
    assert scanned == 0
    assert fetched <= 2_010


def test_a_read_beside_a_transaction_that_is_open_for_long_tells_nothing_again(owner: psycopg.Connection[Any]) -> None:
    """It looks at what was written since, by the index."""
    first, last = one(owner, "select min(transaction)::text, max(transaction)::text from copperplate.invalidations")
    database = one(owner, "select copperplate.database_id()")
    running = int(first) - 1
    before = one(owner, READ)
    page = one(owner, "select public.read_feed(%s, %s)", f"{running}:{int(last) + 1}:{running}", database)
    assert (page["is_continued"], page["invalidations"]) == (True, [])
    assert one(owner, READ)[0] == before[0]


def test_what_is_old_is_forgotten_by_the_index(owner: psycopg.Connection[Any]) -> None:
    owner.execute("update copperplate.feed_states set forgotten = pg_current_snapshot()")
    before = one(owner, READ)
    owner.execute("select copperplate.forget_invalidations(1000)")
    assert one(owner, "select count(*) from pg_stat_xact_user_tables where relname = 'invalidations'") == 1
    deleted = one(owner, "select n_tup_del from pg_stat_xact_user_tables where relname = 'invalidations'")
    scanned, fetched = (after - then for after, then in zip(one(owner, READ), before, strict=True))
    assert (scanned, deleted) == (0, 1_000)
    assert fetched <= 2_010
