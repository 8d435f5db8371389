"""What runs beside requests and on a schedule: it waits for nobody, and its promised defaults are what it does."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from copperplate.model import Outcome
from tests.contract.ledger.credits import ALICE, acquire_charged
from tests.contract.ledger.harness import complete, failure, lead, record, request_count
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.adapters.ledger.postgres import PostgresLedger

Editor = psycopg.Connection[dict[str, Any]]
LOCKED = (
    *("public.generation_status", "copperplate.cache_entries", "copperplate.usage_batches"),
    *("copperplate.reservations", "copperplate.user_requests", "copperplate.discarded_objects"),
)
CALLS = (
    "public.sweep_generations()",
    "public.cleanup_old_cache_entries()",
    "public.cleanup_old_generation_status()",
    "(select count(*) from public.claim_discarded(10))",
)


def go_to(editor: Editor, time: str) -> None:
    editor.execute("select set_config('copperplate.clock_offset', %s, false)", [time])


def done(editor: Editor, call: str) -> Any:
    row = editor.execute(f"select {call} as done".encode()).fetchone()
    assert row is not None
    return row["done"]


async def test_housekeeping_waits_for_no_row_that_somebody_works_on(
    ledger: PostgresLedger, editor: Editor, owner_url: str
) -> None:
    await record(ledger, await complete(ledger, picture_request()), picture_request(), "jpg")
    await ledger.record_usage([request_count(picture_request(), Outcome.GENERATED, 1)])
    failed = await lead(ledger, picture_request("failed"))
    await ledger.fail(picture_request("failed").generation_key, failed.fence, failure())
    await ledger.grant_credits(ALICE, 1, "g")
    await acquire_charged(ledger, picture_request("dead"), ALICE)
    await ledger.begin_request(ALICE, picture_request("dead").generation_key, idempotency_key="k")
    editor.execute("select copperplate.discard_object('image', '2026/01/x.png', %s)", ["0" * 64])
    go_to(editor, "40 days")
    editor.execute("set statement_timeout = '5s'")  # what a call that waits would end in
    with psycopg.connect(owner_url) as other:
        for table in LOCKED:
            assert other.execute(f"select from {table} for update".encode()).rowcount >= 1, table
        locked = [done(editor, call) for call in CALLS]
    freed = [done(editor, call) for call in CALLS]
    assert locked[:2] == [0, {"images": 0, "generations": 0, "bytes": 0}]
    assert locked[3] == 0
    assert all(before != after for before, after in zip(locked, freed, strict=True)), (locked, freed)


@pytest.mark.parametrize(("time", "pictures"), [("29 days 23 hours", 0), ("30 days 1 hour", 1)])
async def test_cleanup_without_arguments_takes_what_nobody_asked_for_in_thirty_days(
    ledger: PostgresLedger, editor: Editor, time: str, pictures: int
) -> None:
    await record(ledger, await complete(ledger, picture_request()), picture_request(), "jpg")
    go_to(editor, time)
    for call in ("count_old_cache_entries()", "cleanup_old_cache_entries()"):
        assert done(editor, call)["images"] == pictures, call


async def test_cleanup_in_steps_goes_by_age_whatever_order_the_rows_are_in(
    ledger: PostgresLedger, editor: Editor
) -> None:
    names = [f"picture {number}" for number in range(6)]
    for hours, name in enumerate(names):  # the last row is the oldest
        entry = await record(ledger, await complete(ledger, picture_request(name), name), picture_request(name), name)
        assert entry is not None
        editor.execute(
            "update copperplate.cache_entries set created_at = created_at - %s * interval '1 hour'"
            " where generation_key = %s",
            [hours, entry.generation_key],
        )
    go_to(editor, "40 days")
    editor.execute("set enable_indexscan = off; set enable_bitmapscan = off")  # an index gives this order by itself
    removed, place = 0, ""
    while place is not None:
        row = editor.execute("select public.cleanup_entries('image', 2, %s) as done", [place]).fetchone()
        assert row is not None
        removed, place = removed + row["done"]["pictures"], row["done"]["reached"]
    assert removed == len(names)


@pytest.mark.parametrize(("above", "archived"), [(3, 0), (2, 1)])
async def test_cleanup_archives_what_is_used_more_than_its_caller_says(
    ledger: PostgresLedger, editor: Editor, above: int, archived: int
) -> None:
    await record(ledger, await complete(ledger, picture_request()), picture_request(), "jpg")
    await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 3)])
    assert done(editor, f"public.cleanup_entries('image', p_archive_above => {above})")["archived"] == archived


@pytest.mark.parametrize(("seconds", "swept"), [(20 + 599, 0), (20 + 601, 1)])
async def test_sweep_without_arguments_closes_what_nobody_led_for_ten_minutes(
    ledger: PostgresLedger, editor: Editor, seconds: int, swept: int
) -> None:
    await lead(ledger, picture_request())
    go_to(editor, f"{seconds} seconds")
    assert done(editor, "public.sweep_generations()") == swept


async def test_sweep_releases_what_is_held_for_a_picture_that_nobody_makes(
    ledger: PostgresLedger, editor: Editor
) -> None:
    await ledger.grant_credits(ALICE, 2, "g")
    await acquire_charged(ledger, picture_request(), ALICE)
    go_to(editor, "901 seconds")
    done(editor, "public.sweep_generations()")
    # By the rows: what lapsed counts as free for its owner even before.
    assert editor.execute("select balance, held from copperplate.accounts").fetchall() == [{"balance": 2, "held": 0}]
    assert editor.execute("select state from copperplate.reservations").fetchall() == [{"state": "released"}]


def test_statistics_of_an_empty_database_are_nothing(editor: Editor) -> None:
    for call in ("get_generation_stats()", "get_cache_stats()", "get_memoji_stats()", "get_kind_stats('image')"):
        row = editor.execute(f"select * from public.{call}".encode()).fetchone()
        assert row is not None
        assert not any(row.values()), (call, row)


async def test_picture_whose_object_is_discarded_already_can_be_deleted(ledger: PostgresLedger, editor: Editor) -> None:
    entry = await record(ledger, await complete(ledger, picture_request()), picture_request(), "jpg")
    assert entry is not None
    editor.execute("select copperplate.discard_object('image', %s, %s)", [entry.path, entry.generation_key])
    assert editor.execute("delete from public.image_cache where prompt_hash = %s", [entry.key]).rowcount == 1
    discarded = "select from copperplate.discarded_objects where path = %s"
    assert editor.execute(discarded, [entry.path]).rowcount == 1


async def test_entry_that_somebody_else_added_first_stands(ledger: PostgresLedger, editor: Editor) -> None:
    original = await complete(ledger, picture_request())
    key = picture_request().rendition_key
    first, second = upload("first", "jpg"), upload("second", "jpg")
    for stored in (first, second):
        editor.execute(
            "select copperplate.add_entry(%s, %s, false, false, %s)",
            [key, original.generation_key, json.dumps(asdict(stored))],
        )
    found = editor.execute("select path from copperplate.cache_entries where key = %s", [key]).fetchall()
    assert found == [{"path": first.path}]
