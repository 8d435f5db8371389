"""The SQL users were promised, as written, run by the owner of the schema."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from copperplate.ledger_answers import Lead
from copperplate.model import Outcome, PictureFormat
from tests.contract.ledger.harness import complete, request_count
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from copperplate.adapters.ledger.postgres import PostgresLedger

NO_CHILDREN = {"children": 0, "pinned_children": 0, "has_more": False}
PROMISED = {
    "most accessed": """SELECT prompt, dimensions, format, access_count, created_at, last_accessed_at
        FROM public.image_cache ORDER BY access_count DESC LIMIT 10;""",
    "totals": """SELECT COUNT(*) as total_cached_images, SUM(file_size) as total_size_bytes,
        AVG(access_count) as avg_access_count FROM public.image_cache;""",
    "cleanup": "SELECT cleanup_old_cache_entries();",
    "stats": "SELECT * FROM get_generation_stats();",
    "most requested": """SELECT prompt, dimensions, format, total_requests, api_calls_made,
        (total_requests - api_calls_made) as api_calls_saved, status, created_at
        FROM public.generation_status ORDER BY total_requests DESC LIMIT 10;""",
    "stuck": """SELECT * FROM public.generation_status WHERE status = 'generating'
        AND started_at < NOW() - INTERVAL '5 minutes';""",
}


async def fill(ledger: PostgresLedger) -> None:
    """One generation asked ten times, its jpg kept."""
    original = await complete(ledger, picture_request())
    await ledger.intend_rendition(original, rendition(picture_request(), "jpg"))
    await ledger.record_rendition(original, rendition(picture_request(), "jpg"))
    await ledger.record_usage(
        [request_count(picture_request(), Outcome.GENERATED, 1), request_count(picture_request(), Outcome.COALESCED, 9)]
    )


async def test_ten_users_and_one_link_show_as_one_call_instead_of_ten(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]
) -> None:
    await fill(ledger)
    [picture] = editor.execute(PROMISED["most accessed"]).fetchall()
    assert (picture["prompt"], picture["dimensions"], picture["format"]) == ("a beautiful sunset", "64x64", "jpg")
    assert picture["access_count"] == 10
    [totals] = editor.execute(PROMISED["totals"]).fetchall()
    assert (totals["total_cached_images"], totals["total_size_bytes"]) == (1, 1000)
    [status] = editor.execute(PROMISED["most requested"]).fetchall()
    assert (status["total_requests"], status["api_calls_made"], status["api_calls_saved"]) == (10, 1, 9)
    assert (status["status"], status["format"]) == ("completed", "png")
    [stats] = editor.execute(PROMISED["stats"]).fetchall()
    assert (stats["total_requests"], stats["total_api_calls_saved"], stats["api_calls_saved_today"]) == (10, 9, 9)
    [cleanup] = editor.execute(PROMISED["cleanup"]).fetchall()
    assert cleanup["cleanup_old_cache_entries"] == {"images": 0, "generations": 0, "bytes": 0}


async def test_stuck_generations_are_listed(ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]) -> None:
    held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=20))
    assert isinstance(held, Lead)
    await ledger.begin_submit(picture_request().generation_key, held.fence, submit_no=1, provider="painter")
    assert editor.execute(PROMISED["stuck"]).fetchall() == []
    editor.execute("update public.generation_status set started_at = now() - interval '6 minutes'")
    [stuck] = editor.execute(PROMISED["stuck"]).fetchall()
    assert stuck["prompt_hash"] == picture_request().generation_key


async def test_delete_through_the_view_declares_the_picture_wrong(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]
) -> None:
    await fill(ledger)
    webp = picture_request(picture_format=PictureFormat.WEBP)
    original = await ledger.acquire(webp, leader=uuid4(), lease_duration=timedelta(seconds=20))
    await ledger.intend_rendition(original.entry, rendition(webp, "webp"))  # type: ignore[union-attr]
    await ledger.record_rendition(original.entry, rendition(webp, "webp"))  # type: ignore[union-attr]
    deleted = editor.execute(f"DELETE FROM public.image_cache WHERE prompt_hash = '{picture_request().rendition_key}';")
    assert deleted.rowcount == 1
    assert editor.execute("select from public.generation_status").rowcount == 0
    assert editor.execute("select from copperplate.cache_entries").rowcount == 0
    gone = editor.execute("select path from copperplate.discarded_objects").fetchall()
    assert {row["path"] for row in gone} == {
        upload("original").path,
        upload("jpg", "jpg").path,
        upload("webp", "webp").path,
    }
    again = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=20))
    assert isinstance(again, Lead)
    assert again.fence > 1


async def test_leader_whose_picture_was_deleted_meanwhile_cannot_complete(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]
) -> None:
    held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=20))
    assert isinstance(held, Lead)
    await ledger.begin_submit(picture_request().generation_key, held.fence, submit_no=1, provider="painter")
    editor.execute("select public.purge_entries(p_prompt => ' A  beautiful sunset', p_dry_run => false)")
    assert await ledger.heartbeat(picture_request().generation_key, held.fence, timedelta(seconds=20))
    counts = editor.execute(
        "select public.purge_entries(p_prompt => ' a  beautiful sunset', p_dry_run => false) as counts"
    ).fetchone()
    expected = {"dry_run": False, "generations": 1, "pinned": 0, "images": 0, "bytes": 0, **NO_CHILDREN}
    assert counts == {"counts": {**expected, "keys": [picture_request().generation_key], "objects": []}}
    assert not await ledger.heartbeat(picture_request().generation_key, held.fence, timedelta(seconds=20))
    assert await ledger.complete(picture_request().generation_key, held.fence, upload("late"), url=None) is None


async def test_purge_is_a_dry_run_unless_told_otherwise(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]
) -> None:
    await fill(ledger)
    for condition in (
        "p_model => 'copperplate/painter-1'",
        f"p_key_prefix => '{picture_request().generation_key[:8]}'",
    ):
        row = editor.execute(f"select public.purge_entries({condition}) as counts").fetchone()
        expected = {"dry_run": True, "generations": 1, "pinned": 0, "images": 1, "bytes": 2000, **NO_CHILDREN}
        assert row == {"counts": expected}
    assert editor.execute("select from public.image_cache").rowcount == 1
    for nothing in ("", "p_key_prefix => '', p_dry_run => false", "p_model => 'copperplate/painter-1', p_prompt => ''"):
        with pytest.raises(psycopg.Error) as refused:
            editor.execute(f"select public.purge_entries({nothing})")
        assert refused.value.sqlstate == "ZC006"
    assert editor.execute("select from public.image_cache").rowcount == 1


def test_view_takes_neither_inserts_nor_updates(editor: psycopg.Connection[dict[str, Any]]) -> None:
    for statement in (
        "insert into public.image_cache (prompt_hash) values ('x')",
        "update public.image_cache set access_count = 1",
    ):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            editor.execute(statement)


def test_key_that_is_not_the_recipes_key_is_refused(owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(
            "select public.acquire_generation(%s, %s, %s, %s, %s)",
            (
                psycopg.types.json.Jsonb(dict(picture_request().recipe)),
                "0" * 64,
                "1" * 64,
                uuid4(),
                timedelta(seconds=20),
            ),
        )
    assert refused.value.sqlstate == "ZC002"


def test_stricter_isolation_is_refused_instead_of_raising_40001(owner_url: str) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(
                "select public.acquire_generation(%s, %s, %s, %s, %s)",
                (
                    psycopg.types.json.Jsonb(dict(picture_request().recipe)),
                    picture_request().generation_key,
                    picture_request().rendition_key,
                    uuid4(),
                    timedelta(seconds=20),
                ),
            )
    assert refused.value.sqlstate == "ZC004"


async def test_original_that_is_deleted_alone_is_made_anew(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]]
) -> None:
    await fill(ledger)
    editor.execute("delete from copperplate.cache_entries where is_original")
    editor.execute("delete from copperplate.cache_entries")
    again = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=20))
    assert isinstance(again, Lead)


async def test_counting_gives_way_to_a_persons_delete_and_loses_nothing(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], owner_url: str
) -> None:
    await fill(ledger)
    other = picture_request("another")
    await complete(ledger, other, "another original")
    first, second = sorted((picture_request().generation_key, other.generation_key))
    lock = "select from public.generation_status where prompt_hash = %s for update"
    with psycopg.connect(owner_url) as person:
        # The person holds the second row and wants the first; counting takes them the other way round.
        person.execute(lock, (second,))
        counting = asyncio.create_task(
            ledger.record_usage(
                [request_count(picture_request(), Outcome.HIT, 5), request_count(other, Outcome.HIT, 7)]
            )
        )
        await asyncio.to_thread(wait_for_blocked, owner_url)
        await asyncio.to_thread(person.execute, lock, (first,))
    await counting
    counts = editor.execute("select sum(total_requests)::int as total from public.generation_status").fetchone()
    assert counts == {"total": 10 + 5 + 7}


def wait_for_blocked(owner_url: str) -> None:
    """Until some session waits for a lock."""
    with psycopg.connect(owner_url, autocommit=True) as watcher:
        give_up_at = time.monotonic() + 60
        while not watcher.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'").rowcount:
            assert time.monotonic() < give_up_at
