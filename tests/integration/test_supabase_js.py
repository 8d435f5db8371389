"""A front end with supabase-js: it reads the statistics and loads pictures by address, and can do nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from copperplate.recipes.kinds import BUCKETS, IMAGE
from scripts import npm
from tests.support.postgrest_server import make_jwt
from tests.support.rights import MATRIX
from tests.support.supabase_js import SupabaseJs, check_installed

if TYPE_CHECKING:
    from copperplate.model import Entry
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

# A row that could be written, by who may.
ROWS = {
    "generation_status": {"prompt_hash": "0" * 64, "status": "completed"},
    "image_cache": {"prompt_hash": "0" * 64, "access_count": 10**6},
}
PERSON = "6a1f9c5e-0000-4000-8000-000000000001"
FORBIDDEN = "42501"
NOT_POSSIBLE = "55000"  # for nobody: a view that can be read and deleted from


@pytest.fixture(params=["publishable key", "legacy anon key", "signed in"])
def front_end(request: pytest.FixtureRequest, project: Supabase) -> SupabaseJs:
    """supabase-js with each key that may be seen by everybody, and as a person who signed in."""
    try:
        check_installed()
    except npm.NotInstallable as error:
        pytest.skip(f"no supabase-js: {error}")
    if request.param == "legacy anon key":
        return SupabaseJs(url=project.url, key=project.anon_key)
    token = make_jwt("authenticated", sub=PERSON) if request.param == "signed in" else None
    return SupabaseJs(url=project.url, key=project.publishable_key, token=token)


def snapshot(owner_url: str) -> list[tuple[Any, ...]]:
    """Everything that a write could have changed."""
    with psycopg.connect(owner_url) as connection:
        return [
            row
            for table in ("public.generation_status", "copperplate.cache_entries", "copperplate.usage_rollups")
            for row in connection.execute(f"select to_jsonb(t)::text from {table} as t order by 1".encode())
        ]


def functions_of_the_service_role(owner_url: str) -> list[tuple[str, dict[str, None]]]:
    """Every function in `public` that is not everybody's, with all its arguments: by others it is not found."""
    everybodys = {"get_cache_stats", "get_generation_stats"}
    with psycopg.connect(owner_url) as connection:
        found = connection.execute(
            "select proname, coalesce(proargnames[:pronargs], '{}') from pg_proc"
            " where pronamespace = 'public'::regnamespace order by 1"
        ).fetchall()
    return [(name, dict.fromkeys(arguments)) for name, arguments in found if name not in everybodys]


async def test_statistics_are_what_the_database_says(front_end: SupabaseJs, entry: Entry) -> None:
    generations, cache = front_end.ask(("rpc", "get_generation_stats"), ("rpc", "get_cache_stats"))
    assert (generations.code, cache.code) == (None, None)
    [told] = generations.data
    assert (told["total_requests"], told["total_api_calls_made"], told["total_api_calls_saved"]) == (2, 1, 1)
    [kept] = cache.data
    # The WebP beside it is an image of its own.
    assert kept["total_cached_images"] == 2
    assert kept["total_size_bytes"] > entry.size_bytes


async def test_picture_can_be_loaded_at_its_public_address_by_anybody(
    front_end: SupabaseJs, entry: Entry, storage_state_of_project: StorageState
) -> None:
    [address] = front_end.ask(("getPublicUrl", IMAGE.bucket, entry.path))
    answer = httpx.get(address.data["publicUrl"])
    assert answer.status_code == 200
    assert answer.content == storage_state_of_project.buckets[IMAGE.bucket].objects[entry.path].body
    assert len(answer.content) == entry.size_bytes
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "max-age=3600"


async def test_every_read_and_write_of_a_table_is_refused(front_end: SupabaseJs, entry: Entry, owner_url: str) -> None:
    before = snapshot(owner_url)
    calls: list[tuple[Any, ...]] = []
    for table, row in ROWS.items():
        calls += [("select", table), ("delete", table)]
        calls += [(verb, table, row) for verb in ("insert", "upsert", "update")]
    for call, answer in zip(calls, front_end.ask(*calls), strict=True):
        is_of_the_view = call[1] == "image_cache" and call[0] in ("insert", "upsert", "update")
        assert (answer.code, answer.data) == (NOT_POSSIBLE if is_of_the_view else FORBIDDEN, None), call
    assert snapshot(owner_url) == before


async def test_inner_schema_is_not_there_for_anybody(front_end: SupabaseJs, entry: Entry) -> None:
    for table in ("cache_entries", "public_totals", "usage_rollups"):
        [answer] = front_end.ask(("selectInSchema", "copperplate", table))
        assert (answer.code, answer.data) == ("PGRST106", None)


async def test_every_function_of_the_service_role_is_refused(
    front_end: SupabaseJs, entry: Entry, owner_url: str
) -> None:
    before = snapshot(owner_url)
    functions = functions_of_the_service_role(owner_url)
    assert {f"function,public.{name},,,execute" for name, _ in functions} <= set(MATRIX.read_text().splitlines())
    assert len(functions) >= 20
    answers = front_end.ask(*(("rpc", name, arguments) for name, arguments in functions))
    for (name, _), answer in zip(functions, answers, strict=True):
        # The function itself, not only a table that it would have touched.
        refusal = f"permission denied for function {name}"
        assert (answer.code, answer.message, answer.data) == (FORBIDDEN, refusal, None)
    assert snapshot(owner_url) == before


async def test_nothing_in_storage_can_be_listed_or_changed(
    front_end: SupabaseJs, entry: Entry, storage_state_of_project: StorageState
) -> None:
    objects = storage_state_of_project.buckets[IMAGE.bucket].objects
    before = {name: stored.body for name, stored in objects.items()}
    uploaded, replaced, made = front_end.ask(
        ("upload", IMAGE.bucket, "2026/01/mine.png"),
        ("replace", IMAGE.bucket, entry.path),
        ("createBucket", "mine"),
    )
    assert [each.code for each in (uploaded, replaced, made)] == ["403"] * 3
    assert "row-level security" in (uploaded.message or "")
    hidden = front_end.ask(("info", IMAGE.bucket, entry.path), ("sign", IMAGE.bucket, entry.path))
    assert [each.code for each in hidden] == ["404"] * 2
    # Storage does not refuse these: row-level security shows nothing to list and nothing to remove.
    listed, removed, buckets = front_end.ask(
        ("list", IMAGE.bucket), ("remove", IMAGE.bucket, entry.path), ("listBuckets",)
    )
    assert [each.data for each in (listed, removed, buckets)] == [[], [], []]
    assert {name: stored.body for name, stored in objects.items()} == before
    assert set(storage_state_of_project.buckets) == set(BUCKETS)
