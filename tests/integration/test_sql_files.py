"""Every file in sql/ answers the question in its first line, on a database in which the answer is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.feed import Tier
from copperplate.model import Outcome, PictureFormat, Size
from copperplate.ports.tiers import TierFigures
from copperplate.recipes import explain
from copperplate.recipes.memoji import MemojiRecipe, request_of
from tests.contract.ledger.credits import ALICE, ANSWER, BOB, complete_charged
from tests.contract.ledger.harness import LEASE, complete, failure, lead, record, request_count
from tests.contract.ledger.wishing import new_wish
from tests.support.pictures import MODEL, picture_request, upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from copperplate.local.cluster import Cluster
    from copperplate.model import PictureRequest

    IdempotencyRecord = Callable[[str], list[dict[str, Any]]]

FOLDER = Path(__file__).parents[2] / "sql"
# All migrations in one paste: tests/integration/test_setup_sql.py.
FILES = sorted(file for file in FOLDER.glob("*.sql") if file.name != "setup.sql")
# Those whose first line says so; all others are questions, and run where nothing can be changed.
CHANGING = {
    "fences_after_restore.sql",
    "schedule_cleanup.sql",
    "schedule_work.sql",
    "setup.sql",
    "unschedule_cleanup.sql",
    "welcome_strangers.sql",
}
EXAMPLE_KEY = "3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3"


@pytest.fixture
def ask(editor: psycopg.Connection[dict[str, Any]]) -> IdempotencyRecord:
    """Runs a file and answers its rows."""
    return lambda name: editor.execute((FOLDER / name).read_bytes()).fetchall()


async def make(ledger: PostgresLedger, asked: PictureRequest, *, requests: int) -> None:
    """One generation with a jpg, asked so many times: one call, the rest saved."""
    name = asked.recipe["prompt"]
    original = await complete(ledger, asked, f"original of {name}")
    assert await record(ledger, original, asked, f"jpg of {name}")
    await ledger.record_usage(
        [request_count(asked, Outcome.GENERATED, 1), request_count(asked, Outcome.HIT, requests - 1)]
    )


def age(editor: psycopg.Connection[dict[str, Any]], asked: PictureRequest, interval: str) -> None:
    """Move the entries of a generation into the past."""
    editor.execute(
        "update copperplate.cache_entries set created_at = created_at - %(by)s::interval,"
        " last_accessed_at = last_accessed_at - %(by)s::interval where generation_key = %(key)s",
        {"by": interval, "key": asked.generation_key},
    )


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.sql")), ids=lambda file: file.name)
def test_first_line_is_the_question_or_says_what_is_changed(file: Path) -> None:
    first, *others = file.read_text().splitlines()
    assert first.startswith("-- CHANGES ") if file.name in CHANGING else first.startswith("-- ") and "?" in first
    assert others[-1].endswith(";")


@pytest.mark.parametrize("file", [file for file in FILES if file.name not in CHANGING], ids=lambda file: file.name)
def test_a_question_changes_nothing(editor: psycopg.Connection[dict[str, Any]], file: Path) -> None:
    assert {row["transaction_read_only"] for row in editor.execute("show transaction_read_only")} == {"off"}
    editor.read_only = True
    with editor.transaction():
        editor.execute(file.read_bytes())


def test_a_change_cannot_pass_for_a_question(editor: psycopg.Connection[dict[str, Any]]) -> None:
    editor.read_only = True
    text = (FOLDER / "fences_after_restore.sql").read_text().replace("YYYY-MM-DD HH:MM", "2025-11-29 12:00")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), editor.transaction():
        editor.execute(text.encode())


def test_fences_are_raised_once_a_restore(editor: psycopg.Connection[dict[str, Any]]) -> None:
    text = (FOLDER / "fences_after_restore.sql").read_text()
    with pytest.raises(psycopg.errors.InvalidDatetimeFormat):
        editor.execute(text.encode())
    seen = []
    for zone, time in (
        ("UTC", "2025-11-29 12:00 UTC"),
        ("Asia/Tokyo", "2025-11-29 12:00 UTC"),
        ("America/New_York", "2025-11-29T12:00:00Z"),
        ("UTC", "2025-11-29 21:00+09"),
        ("UTC", "2025-11-30 12:00 UTC"),
    ):
        editor.execute(f"set timezone = '{zone}'".encode())
        [row] = editor.execute(text.replace("YYYY-MM-DD HH:MM UTC", time).encode()).fetchall()
        seen.append((row["fences_go_on_after"] // 1_000_000_000, row["is_raised"]))
    assert seen == [(1, True), (1, False), (1, False), (1, False), (2, True)]


@pytest.mark.parametrize(
    "time",
    [
        "now",
        "now UTC",
        "today UTC",
        "yesterday",
        "epoch UTC",
        "",
        "2025-11-29 12:00",
        "2025-11-29 12:00 PST",
        "12:00 UTC",
    ],
)
def test_a_restore_is_named_by_a_time_that_is_always_the_same(
    editor: psycopg.Connection[dict[str, Any]], time: str
) -> None:
    text = (FOLDER / "fences_after_restore.sql").read_text()
    with pytest.raises(psycopg.errors.InvalidDatetimeFormat, match="with its zone, such as 2026-11-29 12:00 UTC"):
        editor.execute(text.replace("YYYY-MM-DD HH:MM UTC", time).encode())
    later = f"{datetime.now(UTC) + timedelta(hours=2):%Y-%m-%d %H:%M} UTC"
    with pytest.raises(psycopg.errors.DatetimeFieldOverflow, match="in the future"):
        editor.execute(text.replace("YYYY-MM-DD HH:MM UTC", later).encode())
    fences = editor.execute("select last_value from copperplate.fences").fetchone()
    assert fences is not None
    assert fences["last_value"] < 1_000_000_000


async def test_savings(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    await make(ledger, picture_request(), requests=10)
    [stats] = ask("savings.sql")
    assert (stats["total_requests"], stats["total_api_calls_made"], stats["total_api_calls_saved"]) == (10, 1, 9)
    assert (stats["requests_today"], stats["api_calls_saved_today"], stats["efficiency_percent"]) == (10, 9, 90)


async def test_most_requested_prompts(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    await make(ledger, picture_request("rarely"), requests=2)
    await make(ledger, picture_request("often"), requests=7)
    assert [
        (row["prompt"], row["total_requests"], row["api_calls_saved"]) for row in ask("most_requested_prompts.sql")
    ] == [
        ("often", 7, 6),
        ("rarely", 2, 1),
    ]


async def test_most_accessed_pictures(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    await make(ledger, picture_request("rarely"), requests=2)
    await make(ledger, picture_request("often"), requests=7)
    assert [(row["prompt"], row["format"], row["access_count"]) for row in ask("most_accessed_pictures.sql")] == [
        ("often", "jpg", 7),
        ("rarely", "jpg", 2),
    ]


async def test_cache_size(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    await make(ledger, picture_request("one"), requests=2)
    await make(ledger, picture_request("two"), requests=4)
    [size] = ask("cache_size.sql")
    assert (size["total_cached_images"], size["total_size_bytes"], size["avg_access_count"]) == (2, 2000, 3)
    assert str(size["avg_access_count"]) == "3.00"


async def test_stuck_generations(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    for prompt in ("under way", "hanging"):
        held = await lead(ledger, picture_request(prompt))
        assert await ledger.begin_submit(
            picture_request(prompt).generation_key, held.fence, submit_no=1, provider="painter"
        )
    editor.execute(
        "update public.generation_status set started_at = now() - interval '6 minutes' where prompt = 'hanging'"
    )
    assert [row["prompt"] for row in ask("stuck_generations.sql")] == ["hanging"]


async def test_failing_prompts(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    await make(ledger, picture_request("fine"), requests=1)
    held = await lead(ledger, picture_request("failing"))
    await ledger.fail(picture_request("failing").generation_key, held.fence, failure(rest=60))
    [row] = ask("failing_prompts.sql")
    assert (row["prompt"], row["error_class"], row["error_message"]) == ("failing", "transient", "it broke")
    assert 0 < (row["retry_at"] - datetime.now(UTC)).total_seconds() <= 60


async def spend(
    ledger: PostgresLedger, asked: PictureRequest, provider: str, *, estimate: int | None, cost: int | None = None
) -> None:
    """One submit, and what is known of its price; without a cost its answer is lost."""
    held = await lead(ledger, asked)
    key = asked.generation_key
    await ledger.begin_submit(key, held.fence, submit_no=1, provider=provider, estimate_micro_usd=estimate)
    if cost is not None:
        await ledger.intend_upload(key, held.fence, upload(key), usage={}, cost_micro_usd=cost)


async def test_spend_by_model_and_day(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    await spend(ledger, picture_request("yesterday"), "painter", estimate=3_000, cost=2_000)
    editor.execute("update copperplate.submits set sent_at = sent_at - interval '1 day'")
    for prompt, cost in (("billed", 2_500), ("lost", None), ("free", 0)):
        await spend(ledger, picture_request(prompt), "painter", estimate=3_000, cost=cost)
    await ledger.record_usage(
        [
            request_count(picture_request("billed"), Outcome.HIT, 5),
            request_count(picture_request("yesterday"), Outcome.COALESCED, 4),
        ]
    )
    today, yesterday = ask("spend_by_model_and_day.sql")
    assert (today["model"], today["requests"], today["submits"]) == (MODEL, 9, 3)
    assert (today["estimated"], today["unpriced"]) == (1, 0)
    assert (float(today["spent_usd"]), float(today["saved_usd"])) == (0.0055, 0.0205)
    assert (yesterday["requests"], float(yesterday["spent_usd"]), float(yesterday["saved_usd"])) == (0, 0.002, 0)
    assert (today["day"] - yesterday["day"]).days == 1


async def test_spend_of_a_model_without_a_price_is_null_and_not_nothing(
    ledger: PostgresLedger, ask: IdempotencyRecord
) -> None:
    await spend(ledger, picture_request("unknown"), "fal", estimate=None)
    await spend(ledger, picture_request("half known"), "openai", estimate=None)
    await spend(ledger, picture_request("known"), "openai", estimate=4_000)
    await ledger.record_usage([request_count(picture_request("unknown"), Outcome.HIT, 1)])
    rows = ask("spend_by_model_and_day.sql")
    assert [(row["provider"], row["unpriced"], row["spent_usd"], row["saved_usd"]) for row in rows] == [
        ("fal", 1, None, None),
        ("openai", 1, Decimal("0.004000"), 0),
        ("painter", 0, 0, 0),
    ]


async def test_savings_in_money(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    await spend(ledger, picture_request(), "fal", estimate=3_000, cost=3_000)
    await ledger.record_usage(
        [request_count(picture_request(), Outcome.GENERATED, 1), request_count(picture_request(), Outcome.COALESCED, 4)]
    )
    image, memoji, _ = ask("savings_in_money.sql")
    assert (image["kind"], image["served"], image["saved"], image["efficiency_percent"]) == ("image", 5, 4, 80)
    assert (float(image["spent_usd"]), float(image["saved_usd"])) == (0.003, 0.012)
    assert (memoji["kind"], memoji["served"], memoji["efficiency_percent"]) == ("memoji", 0, None)


async def test_prompts_that_fail_save_no_call(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    held = await lead(ledger, picture_request("refused"))
    await ledger.fail(picture_request("refused").generation_key, held.fence, failure(rest=60))
    await ledger.record_usage([request_count(picture_request("refused"), Outcome.FAILED, 30)])
    await spend(ledger, picture_request("twice"), "openai", estimate=5)
    assert await ledger.begin_submit(picture_request("twice").generation_key, 2, submit_no=2, provider="openai")
    await ledger.record_usage([request_count(picture_request("twice"), Outcome.GENERATED, 1)])
    rows = ask("most_requested_prompts.sql")
    assert [(row["total_requests"], row["api_calls_made"], row["api_calls_saved"]) for row in rows] == [
        (30, 0, 0),
        (1, 2, 0),
    ]


async def test_credit_audit_is_empty_until_a_hand_changes_a_balance(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    await ledger.grant_credits(ALICE, 5, "order 17")
    await complete_charged(ledger, picture_request(), ALICE)
    assert ask("credit_audit.sql") == []
    editor.execute("update copperplate.accounts set balance = 100")
    [row] = ask("credit_audit.sql")
    assert (row["user_id"], row["found"], row["expected"]) == (ALICE, 100, 4)
    # And a row of the ledger that no reservation stands behind.
    editor.execute("update copperplate.accounts set balance = 3")
    editor.execute(
        "insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)"
        " select id, -1, 'settle', 'nothing', now() from copperplate.accounts"
    )
    [row] = ask("credit_audit.sql")
    assert (row["fault"], row["found"], row["expected"]) == ("a reservation and the ledger disagree", -1, 0)


async def test_credits_of_user(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    await ledger.grant_credits(ALICE, 5, "order 17")
    await ledger.grant_credits(BOB, 9, "order 18")
    await complete_charged(ledger, picture_request("kept"), ALICE, "kept")
    await ledger.deliver(ALICE, picture_request("kept").generation_key, ANSWER, None)
    await ledger.report_missing(await complete_charged(ledger, picture_request("lost"), ALICE, "lost"))
    assert ask("credits_of_user.sql") == []
    text = (FOLDER / "credits_of_user.sql").read_text().replace("00000000-0000-4000-8000-000000000000", str(ALICE))
    rows = editor.execute(text.encode()).fetchall()
    kept, lost = picture_request("kept").generation_key, picture_request("lost").generation_key
    assert [(row["kind"], row["delta"], row["balance"], row["reference"], row["generation_key"]) for row in rows] == [
        ("grant", 5, 5, "order 17", None),
        ("settle", -1, 4, None, kept),
        ("settle", -1, 3, None, lost),
        ("refund", 1, 4, None, lost),
    ]
    assert [row["delivered_at"] is not None for row in rows] == [False, True, False, False]


async def make_memoji(ledger: PostgresLedger, hair: str, *, counts: int) -> PictureRequest:
    """One memoji, billed at $0.005, used so many times."""
    asked = request_of(MemojiRecipe(model=MODEL, hair=hair))
    held = await lead(ledger, asked)
    key, made = asked.generation_key, upload(hair)
    await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter", estimate_micro_usd=7_000)
    await ledger.intend_upload(key, held.fence, made, usage={}, cost_micro_usd=5_000)
    await ledger.complete(key, held.fence, made, url=None)
    await ledger.record_usage([replace(request_count(asked, Outcome.HIT, counts), kind="memoji")])
    return asked


async def test_most_used_memoji(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    await make(ledger, picture_request("no memoji"), requests=50)
    for hair, counts in (("short", 3), ("long", 9)):
        await make_memoji(ledger, hair, counts=counts)
    rows = ask("most_used_memoji.sql")
    assert [(row["configuration"]["hair"], row["usage_count"]) for row in rows] == [("long", 9), ("short", 3)]
    assert {row["generation_cost"] for row in rows} == {Decimal("0.005")}


async def test_figures_of_a_picture_are_of_its_row_and_not_of_one_before(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    """A purge and a new wish: nothing of the row that is gone is in what the new one cost and saved."""
    for counts in (56, 1):
        editor.execute("delete from public.generation_status")
        await make_memoji(ledger, "short", counts=counts)
        await spend(ledger, picture_request("fox"), "painter", estimate=3_000, cost=2_000)
        await ledger.record_usage([request_count(picture_request("fox"), Outcome.HIT, counts)])
    [memoji] = ask("most_used_memoji.sql")
    assert (memoji["usage_count"], memoji["generation_cost"]) == (1, Decimal("0.005"))
    [fox] = [row for row in ask("most_requested_prompts.sql") if row["prompt"] == "fox"]
    assert (fox["total_requests"], fox["api_calls_made"], fox["api_calls_saved"]) == (1, 1, 1)
    kept = editor.execute("select sum(spent_micro_usd) as spent, sum(saved) as saved from get_savings()").fetchone()
    assert kept == {"spent": 14_000, "saved": 114}, "the book keeps both"


async def test_old_memoji_are_what_a_cleanup_takes(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    for hair, counts, age_days in (("short", 1, 91), ("long", 2, 91), ("curly", 1, 89), ("bob", 101, 91)):
        age(editor, await make_memoji(ledger, hair, counts=counts), f"{age_days} days")
    pinned = await make_memoji(ledger, "bald", counts=1)
    age(editor, pinned, "91 days")
    editor.execute("select public.pin_picture(%s)", (pinned.generation_key,))
    [row] = ask("old_memoji.sql")
    assert (row["configuration"]["hair"], row["usage_count"]) == ("short", 1)
    taken = editor.execute("select public.cleanup_old_memoji() as taken").fetchone()
    assert taken is not None
    assert taken["taken"] == {"memoji": 1, "bytes": row["file_size"], "archived": 1}
    assert ask("old_memoji.sql") == []


async def test_storage_to_reclaim_is_what_a_cleanup_takes(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    for prompt in ("old", "partly old", "new"):
        await make(ledger, picture_request(prompt), requests=1)
    webp = picture_request("partly old", PictureFormat.WEBP)
    held = await ledger.acquire(webp, leader=uuid4(), lease_duration=LEASE)
    assert await record(ledger, held.entry, webp, "webp of partly old")  # type: ignore[union-attr]
    age(editor, picture_request("old"), "31 days")
    age(editor, picture_request("partly old"), "31 days")
    await ledger.record_usage([request_count(webp, Outcome.HIT, 1)])

    before, waiting = ask("storage_to_reclaim.sql")
    assert (before["objects"], before["bytes"], waiting["objects"]) == (3, 3000, 0)
    row = editor.execute("select public.cleanup_old_cache_entries() as taken").fetchone()
    assert row is not None
    assert row["taken"]["bytes"] == before["bytes"]
    after, waiting = ask("storage_to_reclaim.sql")
    assert (after["objects"], after["bytes"], waiting["objects"]) == (0, 0, before["objects"])


@pytest.mark.parametrize("which", ["generation_key", "rendition_key"])
async def test_explain_key(ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], which: str) -> None:
    await make(ledger, picture_request(), requests=3)
    text = (FOLDER / "explain_key.sql").read_text()
    assert editor.execute(text.encode()).fetchall() == []
    answer = editor.execute(text.replace(EXAMPLE_KEY, getattr(picture_request(), which)).encode()).fetchall()
    found = {row["what"]: row["value"] for row in answer}
    assert found["generation key"] == picture_request().generation_key
    assert found["is the key of its recipe"] == "true"
    assert (found["recipe: prompt"], found["recipe: width"]) == ("a beautiful sunset", "64")
    assert found["status"] == "completed"
    jpg = upload("jpg of a beautiful sunset", "jpg").path
    assert found["picture (jpg)"] == f"{picture_request().rendition_key}, 1000 bytes, served 3 times, {jpg}"
    assert "original (png)" in found


@pytest.mark.parametrize("size", [None, Size(width=32, height=32)], ids=["usual", "sized"])
async def test_the_sql_of_explain_finds_the_form(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], size: Size | None
) -> None:
    asked = picture_request()
    await make(ledger, asked, requests=1)
    shown = replace(asked, rendition=replace(asked.rendition, size=size))
    [row] = editor.execute(explain._sql(shown).encode()).fetchall()
    assert (row["prompt_hash"], row["generation_hash"]) == (asked.rendition_key, asked.generation_key)


# The schedule. STAND-IN: pg_cron's two functions and its table, as far as the files use them; that its jobs
# do what they should is tried by executing them. The real pg_cron takes the same files where it is installed.

CRON = """
create schema cron;
create table cron.job (jobid bigint generated always as identity, jobname text unique, schedule text, command text);
create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as $$
    insert into cron.job (jobname, schedule, command) values (job_name, schedule, command)
    on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command
    returning jobid
$$;
create function cron.unschedule(job_name text) returns boolean language sql as $$
    delete from cron.job where jobname = job_name returning true
$$;
"""
JOBS = {
    "copperplate-sweep": ("*/10 * * * *", "sweep_generations"),
    "copperplate-cleanup": ("17 * * * *", "cleanup_old_cache_entries"),
    "copperplate-memoji": ("32 * * * *", "cleanup_old_memoji"),
    "copperplate-processed": ("40 * * * *", "cleanup_old_processed_images"),
    "copperplate-failures": ("47 * * * *", "cleanup_old_generation_status"),
}


async def check_schedule(url: str, ledger: PostgresLedger) -> None:
    """Schedule twice, execute what was scheduled, unschedule."""
    await make(ledger, picture_request("old"), requests=1)
    memoji = await make_memoji(ledger, "bob", counts=1)
    held = await lead(ledger, picture_request("failed"))
    await ledger.fail(picture_request("failed").generation_key, held.fence, failure(rest=60))
    await lead(ledger, picture_request("abandoned"))
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as editor:
        editor.execute("select cron.schedule('of somebody else', '0 0 * * *', 'select 1')")
        for _ in range(2):
            [row] = editor.execute((FOLDER / "schedule_cleanup.sql").read_bytes()).fetchall()
            assert len(set(row.values())) == len(JOBS)
        jobs = {row["jobname"]: row for row in editor.execute("select * from cron.job where jobname like 'copper%'")}
        assert {name: job["schedule"] for name, job in jobs.items()} == {name: when for name, (when, _) in JOBS.items()}

        age(editor, picture_request("old"), "31 days")
        age(editor, memoji, "91 days")
        editor.execute(
            "update public.generation_status set lease_until = now() - interval '1 hour' where leader is not null"
        )
        editor.execute(
            "update public.generation_status set retry_at = now() - interval '1 hour',"
            " window_started_at = now() - interval '2 days' where prompt = 'failed'"
        )
        for name, (_, function) in JOBS.items():
            assert function in jobs[name]["command"]
            editor.execute(jobs[name]["command"].encode())
        left = editor.execute("select prompt, error_class from public.generation_status").fetchall()
        assert left == [{"prompt": "abandoned", "error_class": "abandoned"}]

        gone = editor.execute((FOLDER / "unschedule_cleanup.sql").read_bytes()).fetchall()
        assert {row["jobname"]: row["is_unscheduled"] for row in gone} == dict.fromkeys(JOBS, True)
        assert editor.execute("select jobname from cron.job").fetchall() == [{"jobname": "of somebody else"}]


async def test_schedule_and_unschedule_cleanup(owner_url: str, ledger: PostgresLedger) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute(CRON.encode())
    await check_schedule(owner_url, ledger)


async def test_real_pg_cron_takes_the_schedules(cron_cluster: Cluster) -> None:
    ledger = PostgresLedger(cron_cluster.owner_url)
    await ledger.open()
    await check_schedule(cron_cluster.owner_url, ledger)
    with psycopg.connect(cron_cluster.owner_url) as connection:
        connection.execute(NET.encode())
    await check_work_schedule(cron_cluster.owner_url, ledger)
    await ledger.close()


async def test_taken_down(
    ledger: PostgresLedger, editor: psycopg.Connection[dict[str, Any]], ask: IdempotencyRecord
) -> None:
    for prompt in ("kept", "wrong"):
        await make(ledger, picture_request(prompt), requests=1)
    wrong, kept = picture_request("wrong"), picture_request("kept")
    editor.execute("select public.take_down(%s, 'a letter')", (wrong.rendition_key,))
    editor.execute("select public.pin_picture(%s)", (kept.generation_key,))
    rows = [
        (row["what"], row["generation_key"], row["asked_key"], row["prompt"], row["reason"], row["took_along"])
        for row in ask("taken_down.sql")
    ]
    assert rows == [
        ("pinned", kept.generation_key, None, "kept", None, None),
        # With the bytes of its original and of its picture.
        ("taken down", wrong.generation_key, wrong.rendition_key, None, "a letter", 2),
    ]


# STAND-IN: the function of pg_net and the view of Vault that sql/schedule_work.sql uses, with the arguments and columns
# of their documentation. That a call arrives is for the real pg_net, which is not here.
NET = """
create schema net;
create table net.asked (url text, body jsonb, headers jsonb, timeout_milliseconds integer);
create function net.http_post(
    url text,
    body jsonb default '{}'::jsonb,
    params jsonb default '{}'::jsonb,
    headers jsonb default '{"Content-Type": "application/json"}'::jsonb,
    timeout_milliseconds integer default 5000
) returns bigint language sql as $$
    insert into net.asked values (url, body, headers, timeout_milliseconds) returning 1::bigint
$$;
create schema vault;
create table vault.decrypted_secrets (name text, decrypted_secret text);
insert into vault.decrypted_secrets values ('of somebody else', 'x'), ('copperplate-cron', 'the secret of the cron');
"""


async def check_work_schedule(url: str, ledger: PostgresLedger) -> None:
    """Schedule twice; the job asks the deployment while something is due, and does not while nothing is."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as editor:
        for _ in range(2):
            editor.execute((FOLDER / "schedule_work.sql").read_bytes())
        [job] = editor.execute("select * from cron.job where jobname = 'copperplate-work'").fetchall()
        assert job["schedule"] == "* * * * *"
        editor.execute(job["command"].encode())
        assert editor.execute("select * from net.asked").fetchall() == []
        await ledger.make_wish(new_wish("a fox"), held_for=timedelta(0))
        editor.execute(job["command"].encode())
        assert editor.execute("select * from net.asked").fetchall() == [
            {
                "url": "https://your-deployment.example/api/work",
                "body": {},
                "headers": {"Content-Type": "application/json", "Authorization": "Bearer the secret of the cron"},
                "timeout_milliseconds": 60_000,
            }
        ]
        editor.execute("select cron.unschedule('copperplate-work')")


async def test_schedule_work(owner_url: str, ledger: PostgresLedger) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute(CRON.encode())
        connection.execute(NET.encode())
    await check_work_schedule(owner_url, ledger)


async def test_tiers_are_told_with_their_share_of_todays_hits(ledger: PostgresLedger, ask: IdempotencyRecord) -> None:
    folder = TierFigures(tier=Tier.DISK, entries=8, bytes=800, oldest_seconds=3_600, place="f0" * 16)
    for entries in (2, 3):
        memory = TierFigures(tier=Tier.MEMORY, entries=entries, bytes=10, oldest_seconds=None)
        await ledger.report_tiers(uuid4(), [memory, folder])
    counted = [(Tier.MEMORY, 6), (Tier.DISK, 1), (Tier.STORAGE, 1)]
    await ledger.record_usage(
        [replace(request_count(picture_request(), Outcome.HIT, count), tier=tier.value) for tier, count in counted]
    )
    rows = {row["tier"]: row for row in ask("tiers.sql")}
    columns = ("places", "entries", "bytes", "hits_today", "hits_today_percent")
    assert {tier: tuple(row[column] for column in columns) for tier, row in rows.items()} == {
        "memory": (2, 5, 20, 6, Decimal("75.0")),
        "disk": (1, 8, 800, 1, Decimal("12.5")),
        "redis": (0, 0, 0, 0, Decimal("0.0")),
        "storage": (0, 0, 0, 1, Decimal("12.5")),
    }
    assert (rows["memory"]["oldest_seconds"], 3_600 <= rows["disk"]["oldest_seconds"] < 3_700) == (None, True)
