"""What is asked of credits and memoji reads a few rows by an index, however many there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local.bootstrap import create_database, drop_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

USERS, EACH, PICTURES, MEMOJI = 10_000, 10, 100_000, 1_000
NAME = "many_credits"
SOMEBODY = "00000000-0000-4000-8000-000000000007"
ACCOUNTS = f"""
insert into copperplate.accounts (user_id, balance, created_at)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 10, now() from generate_series(1, {USERS}) as n;
insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
select a.id, 1, 'grant', a.id || ' ' || n, now() from copperplate.accounts as a, generate_series(1, {EACH}) as n;
insert into copperplate.reservations (
    generation_key, kind, account_id, amount, state, created_at, expires_at, closed_at
)
select encode(sha256((a.id || ' ' || n)::bytea), 'hex'), 'memoji', a.id, 1, 'released', now(), now(), now()
from copperplate.accounts as a, generate_series(1, {EACH}) as n;
analyze copperplate.accounts, copperplate.credit_ledger, copperplate.reservations;
"""
# Nothing of it is cleaned up or archived but ten memoji that are old and ten that are used often.
ENTRIES = f"""
set session_replication_role = replica;
insert into public.generation_status (
    prompt_hash, kind, recipe, dimensions, model, format, status, window_started_at, fence, created_at, updated_at,
    completed_at
)
select
    encode(sha256(n::text::bytea), 'hex'), case when n % {PICTURES // MEMOJI} = 0 then 'memoji' else 'image' end,
    '{{}}', '64x64', 'm', 'png', 'completed', now(), 1, now(), now(), now()
from generate_series(1, {PICTURES}) as n;
insert into copperplate.cache_entries (
    key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
    access_count, created_at, last_accessed_at
)
select
    encode(sha256(('e' || row_number() over ())::bytea), 'hex'), g.prompt_hash, g.kind, true, k.is_own_original,
    k.bucket, '2026/01/' || g.prompt_hash || '.png', g.prompt_hash, 1000, 'png', 64, 64,
    case when g.kind = 'memoji' and row_number() over (partition by g.kind) <= 10 then 101 else 1 end,
    now() - case
        when g.kind = 'memoji' and row_number() over (partition by g.kind) between 11 and 20
            or g.kind = 'image' then interval '100 days' else interval '1 day'
    end,
    now()
from public.generation_status as g
inner join copperplate.kinds as k on g.kind = k.name;
analyze public.generation_status, copperplate.cache_entries;
"""
READ = """
select coalesce(sum(seq_tup_read), 0)::bigint as scanned, coalesce(sum(idx_tup_fetch), 0)::bigint as fetched
from pg_stat_xact_user_tables where schemaname in ('public', 'copperplate')
"""


@pytest.fixture(scope="module")
def filled(cluster: Cluster) -> Iterator[str]:
    """A migrated database in which there is a lot."""
    create_database(cluster.superuser_url, NAME, template="migrated")
    with psycopg.connect(cluster.url("supabase_admin", NAME), autocommit=True) as superuser:
        for script in (ACCOUNTS, ENTRIES):
            superuser.execute(script.encode())
    yield cluster.url(database=NAME)
    drop_database(cluster.superuser_url, NAME)


@pytest.fixture
def owner(filled: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(filled) as connection:
        yield connection
        connection.rollback()


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from plan_nodes(child)


@pytest.mark.parametrize(("view", "rows"), [("my_credits", 1), ("my_credit_ledger", EACH), ("my_generations", EACH)])
def test_person_who_reads_what_is_theirs_reads_nobody_elses_row(
    owner: psycopg.Connection[Any], view: str, rows: int
) -> None:
    owner.execute("set local role authenticated")
    owner.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": SOMEBODY})])
    question = f"explain (analyze, format json) select * from public.{view}"
    found = owner.execute(question.encode()).fetchone()
    assert found is not None
    nodes = list(plan_nodes(found[0][0]["Plan"]))
    assert nodes[0]["Actual Rows"] == rows
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    # Who is signed in is found out once for each condition, and not for each row.
    asked = [node["Actual Loops"] for node in nodes if node.get("Parent Relationship") == "InitPlan"]
    assert asked
    assert max(asked) == 1
    owner.execute("reset role")
    [(scanned, fetched)] = owner.execute(READ.encode()).fetchall()
    assert scanned == 0
    assert fetched <= 4 * (rows + 1)


@pytest.mark.parametrize(
    ("call", "answer", "most"),
    [
        # 1,000 memoji are looked at twice; none of the 99,000 images is.
        ("public.cleanup_old_memoji()", {"memoji": 10, "bytes": 10_000, "archived": 10}, 2_500),
        ("public.count_old_memoji()", {"memoji": 10, "bytes": 10_000, "archived": 10}, 1_500),
        ("copperplate.release_expired(100)", 0, 10),
        ("copperplate.forget_old_requests(100)", 0, 10),
        (f"public.get_credits('{SOMEBODY}')", {"balance": 10, "held": 0, "available": 10}, 10),
        (f"public.is_requested_by('{SOMEBODY}', repeat('0', 64))", False, 10),
        (f"public.grant_credits('{SOMEBODY}', 1, 'x')", {"balance": 11, "held": 0, "available": 11}, 30),
        (f"public.forget_user('{SOMEBODY}')", True, 10),
    ],
)
def test_call_reads_no_more_than_it_has_to(
    owner: psycopg.Connection[Any], call: str, answer: object, most: int
) -> None:
    owner.execute("set local role service_role")
    assert owner.execute(f"select {call}".encode()).fetchone() == (answer,)
    owner.execute("reset role")
    [(scanned, fetched)] = owner.execute(READ.encode()).fetchall()
    # Tables of a few rows: the kinds, and the one row of the feed.
    assert scanned <= 12
    assert fetched <= most
