"""What is asked of source pictures and lineage reads a few rows by an index, however many pictures there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.local.bootstrap import create_database, drop_database
from tests.integration.test_wish_plans import read_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

ROOTS, OLD = 6_000, 300
NAME = "many_pictures"
ALICE = "00000000-0000-4000-8000-00000000a11c"
# Of each root g: a crop s that somebody brought, the result p of it, and q of p's own bytes. `key('g1')` names one.
PICTURES = f"""
create function public.key(p_name text) returns text language sql immutable as
$$ select encode(sha256(p_name::bytea), 'hex') $$;
insert into public.generation_status (
    prompt_hash, kind, recipe, dimensions, model, format, status, window_started_at, fence, created_at, updated_at,
    completed_at
)
select
    public.key(k.name || n), k.kind,
    case when k.kind = 'image' then '{{}}' else jsonb_build_object(
        'operation', 'upscale', 'parameters', '[]'::jsonb, 'source', public.key(k.source || n)
    ) end,
    '64x64', 'm', 'png', 'completed', now(), 1, now(), now(), now()
from generate_series(1, {ROOTS}) as n
cross join (
    values ('g', 'image', null), ('p', 'processed', 's'), ('q', 'processed', 'bytes of p')
) as k (name, kind, source);
insert into copperplate.cache_entries (
    key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
    created_at, last_accessed_at
)
select
    public.key('entry of ' || k.name || n), public.key(k.name || n), k.kind, true, true, k.bucket,
    '2026/01/' || public.key(k.name || n) || '.png', public.key('bytes of ' || k.name || n), 1000, 'png', 64, 64,
    now(), now()
from generate_series(1, {ROOTS}) as n
cross join (
    values ('g', 'image', 'generated-images'), ('p', 'processed', 'processed-images'),
    ('q', 'processed', 'processed-images')
) as k (name, kind, bucket);
insert into copperplate.source_pictures (
    digest, format, width, height, size_bytes, parent_key, parent_source, relation, crop, created_at, last_used_at
)
select
    public.key(k.name || n), 'png', 64, 64, 1000, public.key(k.parent || n), public.key(k.parent_source || n),
    k.relation, k.crop, now(), now()
from generate_series(1, {ROOTS}) as n
cross join (
    values ('s', 'g', null, 'cropped', array[0, 0, 64, 64]), ('bytes of p', 'p', 's', 'same', null)
) as k (name, parent, parent_source, relation, crop);
-- Nothing came of these.
insert into copperplate.source_pictures (digest, format, width, height, size_bytes, created_at, last_used_at)
select public.key('old' || n), 'png', 64, 64, 1000, now() - interval '60 days', now() - interval '60 days'
from generate_series(1, {OLD}) as n;
insert into copperplate.source_owners (digest, owner, created_at)
select s.digest, case when row_number() over () % 1000 = 0 then 'user:{ALICE}' else 'key:1' end, now()
from copperplate.source_pictures as s;
analyze public.generation_status, copperplate.cache_entries, copperplate.source_pictures, copperplate.source_owners;
"""
KEYS = "array(select public.key('g' || n) from generate_series(1, 50) as n)"
CHILDREN = "array(select public.key('p' || n) from generate_series(1, 50) as n)"


@pytest.fixture(scope="module")
def filled(cluster: Cluster) -> Iterator[str]:
    """A migrated database with many pictures, and as many that were made from them, in lines of three."""
    create_database(cluster.superuser_url, NAME, template="migrated")
    with psycopg.connect(cluster.url("supabase_admin", NAME), autocommit=True) as superuser:
        superuser.execute(PICTURES.encode())
    yield cluster.url(database=NAME)
    drop_database(cluster.superuser_url, NAME)


@pytest.fixture
def owner(filled: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(filled) as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize(
    ("call", "answer", "most"),
    [
        ("public.find_source(public.key('bytes of p7'), 'key:1') ->> 'is_taken_down'", "false", 20),
        ("jsonb_array_length(public.find_results(public.key('s7')))", 1, 10),
        ("public.may_see_processed(public.key('q7'), 'key:1')", True, 10),
        # Whose bytes they are is found by the bytes.
        (
            "public.note_source(public.key('bytes of q7'), 'png', 1, 1, 1) ->> 'parent_key' = public.key('q7')",
            True,
            40,
        ),
        (
            "public.keep_input(public.key('s7'), '2026/01/' || public.key('k') || '.png', public.key('k'), 'png')",
            True,
            20,
        ),
        ("copperplate.forget_old_sources(now() - interval '30 days', 20)", 20, 1_000),
        (f"copperplate.forget_sources_of('{ALICE}')", "", 100),
        ("(select count(*) from public.lineage_of(public.key('p7'), p_owner => 'key:1'))", 3, 60),
        ("(select count(*) from public.lineage_of(public.key('q7'), p_with_descendants => false))", 3, 40),
        ("(select count(*) from copperplate.names_below(array[public.key('g7')]))", 7, 30),
        (f"(select count(*) from copperplate.generations_below({KEYS}))", 100, 1_000),
        (f"cardinality((copperplate.find_children({KEYS}, true)).keys)", 100, 1_200),
        (f"jsonb_array_length(copperplate.tree_of({CHILDREN}))", 100, 1_000),
        ("copperplate.remove_made_from(public.key('s7'))", "", 60),
        ("(public.take_down(public.key('g7')) ->> 'descendants')::integer", 2, 120),
        (
            "public.purge_entries(public.key('g7'), p_dry_run => false, p_with_children => true) ->> 'children'",
            "2",
            120,
        ),
    ],
)
def test_call_reads_no_more_than_it_has_to(
    owner: psycopg.Connection[Any], call: str, answer: object, most: int
) -> None:
    answered, scanned, fetched = read_by(owner, call)
    assert answered == answer
    assert scanned <= 10
    assert fetched <= most
