"""What is asked of wishes reads a few rows by an index, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from copperplate.local.bootstrap import create_database, drop_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

SETTLED, PAUSED, DUE, GENERATIONS = 20_000, 2_000, 1_000, 20_000
NAME = "many_wishes"
BATCH = "00000000-0000-4000-8000-000000000001"
ALICE = "00000000-0000-4000-8000-00000000a11c"
WISHES = f"""
insert into copperplate.batches (id, owner, purpose, created_at)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'key:1', 'batch', now()
from generate_series(1, 1000) as n;
insert into copperplate.wishes (
    batch_id, position, owner, generation_key, kind, recipe, priority, status, tries, retry_at, created_at,
    settled_at, forget_at
)
select
    case when n <= {DUE} then '{BATCH}'::uuid end, case when n <= {DUE} then n end,
    case when n % 10 = 0 then 'user:' || n else 'key:1' end, encode(sha256(n::text::bytea), 'hex'), 'image', '{{}}', 3,
    case when n <= {DUE + PAUSED} then 'open' else 'completed' end,
    -- Those that are led were taken.
    case when n <= 3 then 1 else 0 end,
    -- What rests was wished for first.
    case when n between {DUE + 1} and {DUE + PAUSED} then now() + interval '1 hour' end,
    now() - case when n > {DUE} then interval '1 hour' else interval '1 minute' end,
    case when n > {DUE + PAUSED} then now() end,
    case when n > {DUE + PAUSED} then now() + interval '1 day' end
from generate_series(1, {SETTLED + PAUSED + DUE}) as n;
insert into public.generation_status (
    prompt_hash, kind, recipe, dimensions, model, format, status, window_started_at, fence, created_at, updated_at,
    completed_at
)
select
    encode(sha256(n::text::bytea), 'hex'), 'image', '{{}}', '64x64', 'm', 'png', 'completed', now(), 1, now(), now(),
    now()
from generate_series({DUE + PAUSED + 1}, {DUE + PAUSED + GENERATIONS}) as n;
insert into public.generation_status (
    prompt_hash, kind, recipe, dimensions, model, status, phase, leader, lease_until, window_started_at, fence,
    created_at, updated_at
)
select
    encode(sha256(n::text::bytea), 'hex'), 'image', '{{}}', '64x64', 'm', 'pending', 'claimed', gen_random_uuid(),
    now() + interval '1 hour', now(), 1, now(), now()
from generate_series(1, 3) as n;
analyze copperplate.wishes, copperplate.batches, public.generation_status;
"""
READ = """
select coalesce(sum(seq_tup_read), 0)::bigint as scanned, coalesce(sum(idx_tup_fetch), 0)::bigint as fetched
from pg_stat_xact_user_tables where schemaname in ('public', 'copperplate') and relname <> 'kinds'
"""


@pytest.fixture(scope="module")
def filled(cluster: Cluster) -> Iterator[str]:
    """A migrated database in which there are many wishes, of which few may be taken."""
    create_database(cluster.superuser_url, NAME, template="migrated")
    with psycopg.connect(cluster.url("supabase_admin", NAME), autocommit=True) as superuser:
        superuser.execute(WISHES.encode())
    yield cluster.url(database=NAME)
    drop_database(cluster.superuser_url, NAME)


@pytest.fixture
def owner(filled: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(filled) as connection:
        yield connection
        connection.rollback()


def read_by(owner: psycopg.Connection[Any], call: str) -> tuple[object, int, int]:
    """The answer of a call, and how many rows it scanned and fetched."""
    owner.execute("set local role service_role")
    [answer] = owner.execute(f"select {call}".encode()).fetchone() or (None,)
    owner.execute("reset role")
    [(scanned, fetched)] = owner.execute(READ.encode()).fetchall()
    return answer, scanned, fetched


@pytest.mark.parametrize(
    ("call", "answer", "most"),
    [
        ("public.is_work_due()", True, 40),
        ("copperplate.count_wishes_in_flight(now())", 3, 20),
        ("copperplate.abandon_wishes(100)", 0, 5),
        ("jsonb_array_length(public.take_wishes(7, '1 minute'))", 4, 100),
        (f"copperplate.forget_wishes_of('{ALICE}')", "", 5),
        ("copperplate.forget_old_wishes(100)", "", 5),
        ("public.get_generation_state(encode(sha256('1'), 'hex')) ->> 'state'", "pending", 10),
        ("public.settle_wish(5, 'completed')", True, 10),
        (f"jsonb_array_length(public.list_members('{BATCH}', 500, 100))", 100, 400),
        # Each of its open members once, and its generation where there is one.
        (f"public.find_batch('{BATCH}') -> 'counts' ->> 'pending'", str(DUE), 3 * DUE),
    ],
)
def test_call_reads_no_more_than_it_has_to(
    owner: psycopg.Connection[Any], call: str, answer: object, most: int
) -> None:
    answered, scanned, fetched = read_by(owner, call)
    assert answered == answer
    assert scanned <= 10
    assert fetched <= most


def test_where_all_that_is_open_rests_nobody_reads_it(owner: psycopg.Connection[Any]) -> None:
    owner.execute("update copperplate.wishes set retry_at = now() + interval '1 hour' where status = 'open'")
    [(_, before)] = owner.execute(READ.encode()).fetchall()
    answer, _, after = read_by(owner, "public.is_work_due()")
    assert not answer
    # What the update itself left behind in the index is looked at, and not read.
    assert after - before <= 10


def test_a_batch_that_is_created_looks_up_each_generation_once(owner: psycopg.Connection[Any]) -> None:
    wishes = owner.execute(
        """
        select jsonb_agg(jsonb_build_object(
            'recipe', r.recipe, 'generation_key', public.cache_key(r.recipe), 'priority', 3, 'paths', '[]'::jsonb,
            'echo', '{}'::jsonb
        ))
        from (
            select jsonb_build_object('v', 1, 'kind', 'image', 'prompt', 'picture ' || n) as recipe
            from generate_series(1, 1000) as n
        ) as r
        """
    ).fetchone()
    assert wishes is not None
    row = {"owner": "key:2", "purpose": "batch", "wishes": wishes[0]}
    owner.execute("set local role service_role")
    assert owner.execute("select public.create_batch(%s)", [Jsonb(row)]).fetchone() != (None,)
    owner.execute("reset role")
    [(scanned, fetched)] = owner.execute(READ.encode()).fetchall()
    assert scanned <= 10
    # Its own rows, for the estimate and for the bound of its owner.
    assert fetched <= 3_100
