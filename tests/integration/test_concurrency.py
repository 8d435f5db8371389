"""Many processes over one database: one leader per picture, exact counts, and leaders stopped at named points."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from copperplate.adapters.ledger.postgres import PostgresLedger
from tests.contract.ledger.harness import complete, record
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.support.worker_processes import WorkerProcesses

T = TypeVar("T")
ROLES = {"Hit", "Lead", "Wait", "Negative"}


# --- callers over four processes -----------------------------------------------------------------


def test_two_thousand_identical_callers_over_four_processes_have_one_leader(
    worker_processes: WorkerProcesses, owner_url: str
) -> None:
    order = {"program": "acquire", "url": owner_url, "prompts": ["the same"], "times": 500}
    results = [worker.result() for worker in worker_processes.start_together([order] * 4)]
    roles = sum((Counter(result["roles"]) for result in results), Counter[str]())
    assert roles == {"Lead": 1, "Wait": 1_999}


def test_hundred_pictures_asked_by_twenty_callers_each_have_hundred_leaders(
    worker_processes: WorkerProcesses, owner_url: str
) -> None:
    prompts = [f"picture {number}" for number in range(100)]
    order = {"program": "acquire", "url": owner_url, "prompts": prompts, "times": 5}
    results = [worker.result() for worker in worker_processes.start_together([order] * 4)]
    leads = sum((Counter(result["leads"]) for result in results), Counter[str]())
    assert leads == dict.fromkeys(prompts, 1)
    roles = sum((Counter(result["roles"]) for result in results), Counter[str]())
    assert roles == {"Lead": 100, "Wait": 1_900}


def test_caller_gets_exactly_one_role_while_rows_are_deleted_under_its_feet(
    worker_processes: WorkerProcesses, owner_url: str
) -> None:
    prompts = [f"picture {number}" for number in range(10)]
    order = {"program": "acquire", "url": owner_url, "prompts": prompts, "times": 100}
    workers = worker_processes.start_together([order] * 4)
    deleted = 0
    with psycopg.connect(owner_url, autocommit=True) as editor:
        # One delete for about fifty calls: four thousand calls, eighty deletes.
        for number in range(80):
            deleted += editor.execute(
                "delete from public.generation_status where prompt_hash = %s",
                (picture_request(prompts[number % 10]).generation_key,),
            ).rowcount
    results = [worker.result() for worker in workers]
    roles = sum((Counter(result["roles"]) for result in results), Counter[str]())
    assert set(roles) <= ROLES
    assert roles.total() == 4_000
    # Every delete ends one lease, so there may be one more leader for each.
    assert 10 <= roles["Lead"] <= 10 + deleted


# --- counting and care ---------------------------------------------------------------------------


async def fill(url: str, prompts: Sequence[str]) -> None:
    """A completed picture with a jpg for each prompt."""
    ledger = PostgresLedger(url)
    await ledger.open()

    async def one(prompt: str) -> None:
        original = await complete(ledger, picture_request(prompt), f"{prompt} png")
        await record(ledger, original, picture_request(prompt), f"{prompt} jpg")

    await asyncio.gather(*map(one, prompts))
    await ledger.close()


def test_counts_are_exact_and_nothing_deadlocks_while_pictures_are_deleted_and_cleaned_up(
    worker_processes: WorkerProcesses, cluster: Cluster, database: str
) -> None:
    url = cluster.url(database=database)
    kept, doomed = [f"kept {n}" for n in range(50)], [f"doomed {n}" for n in range(30)]
    asyncio.run(fill(url, [*kept, *doomed]))
    rounds = 60
    order = {"program": "count", "url": url, "prompts": [*kept, *doomed], "rounds": rounds}
    workers = worker_processes.start_together([order] * 4)
    with psycopg.connect(url, autocommit=True) as editor:
        for number, prompt in enumerate(doomed):
            key = picture_request(prompt).rendition_key
            editor.execute("delete from public.image_cache where prompt_hash = %s", (key,))
            editor.execute("select public.cleanup_old_cache_entries('1 hour', 100)")
            editor.execute("select public.cleanup_old_generation_status(100), public.sweep_generations(10)")
            if number % 10 == 0:
                editor.execute("select public.purge_entries(p_key_prefix => '0', p_prompt => 'doomed 29')")
    assert [worker.result()["errors"] for worker in workers] == [{}] * 4
    with psycopg.connect(url, row_factory=dict_row) as editor:
        counted = editor.execute(
            "select min(g.total_requests) as least, max(g.total_requests) as most, count(*) as pictures,"
            " min(e.access_count) as served_least, max(e.access_count) as served_most"
            " from public.generation_status as g join copperplate.cache_entries as e"
            " on e.generation_key = g.prompt_hash and not e.is_original where g.prompt like 'kept%'"
        ).fetchone()
        stats = editor.execute("select * from public.get_generation_stats()").fetchone()
    each = 4 * rounds
    assert counted == {"least": each, "most": each, "pictures": 50, "served_least": each, "served_most": each}
    assert stats is not None
    assert (stats["total_requests"], stats["total_hits"]) == (each * 80, each * 80)
    assert deadlocks(cluster, database) == 0


def deadlocks(cluster: Cluster, database: str) -> int:
    with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
        connection.execute("select pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        row = connection.execute("select deadlocks from pg_stat_database where datname = %s", (database,)).fetchone()
    assert row is not None
    return int(row[0])


async def at_once(url: str, table: str, calls: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
    """Let every call come as far as its first look at `table`, and then all of them go on together."""
    async with await psycopg.AsyncConnection.connect(url) as gate:
        await gate.execute(f"lock table {table} in access exclusive mode".encode())
        running = [asyncio.create_task(call()) for call in calls]
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watch:
            waiting = (0,)
            while waiting != (len(calls),):
                await asyncio.sleep(0.01)
                cursor = await watch.execute(
                    "select count(*) from pg_locks where not granted and relation = %s::regclass", (table,)
                )
                waiting = await cursor.fetchone() or (0,)
        await gate.commit()
        return await asyncio.gather(*running)


async def test_twenty_sweeps_and_cleanups_at_once_handle_each_row_once(owner_url: str) -> None:
    ledger = PostgresLedger(owner_url)
    await ledger.open()
    for number in range(100):
        await ledger.acquire(picture_request(f"left {number}"), leader=uuid4(), lease_duration=timedelta(seconds=20))
    await ledger.close()
    await fill(owner_url, [f"old {number}" for number in range(50)])
    month = timedelta(days=30)
    async with contextlib.AsyncExitStack() as stack:

        async def later(days: int) -> PostgresLedger:
            moved = PostgresLedger(f"{owner_url}&options=-c%20copperplate.clock_offset%3D{days}d", max_connections=20)
            await moved.open()
            stack.push_async_callback(moved.close)
            await moved._transport._pool.resize(20, 20)
            await moved._transport._pool.wait()
            return moved

        # Twenty times five rows are exactly as many as there are: none may be missed, none taken twice.
        first, last = await later(40), await later(41)
        generations = "public.generation_status"
        assert await at_once(owner_url, generations, [lambda: first.sweep(5)] * 20) == [5] * 20
        failed = await at_once(owner_url, generations, [lambda: first.cleanup_generations(5)] * 20)
        assert failed == [5] * 20
        # What one of them holds, the next one passes over: ten times five pictures, and nothing for the others.
        cleaned = await at_once(
            owner_url, generations, [lambda: first.cleanup_entries("image", 5, older_than=month)] * 20
        )
        taken = sorted((counts.pictures, counts.generations, counts.size_bytes) for counts in cleaned)
        assert taken == [(0, 0, 0)] * 10 + [(5, 5, 10_000)] * 10
        claimed = await at_once(owner_url, "copperplate.discarded_objects", [lambda: last.claim_discarded(5)] * 20)
        paths = [path for batch in claimed for _, _, path in batch]
        assert len(paths) == len(set(paths)) == 100


# --- leaders that are killed, or stand still -----------------------------------------------------


def submits(folder: Path) -> int:
    tally = folder / "tally"
    return tally.stat().st_size if tally.exists() else 0


def row_of(url: str) -> dict[str, Any]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        row = connection.execute("select * from public.generation_status").fetchone()
    assert row is not None
    return row


def objects_in(folder: Path) -> set[str]:
    root = folder / "objects" / "generated-images"
    return {str(path.relative_to(root)) for ending in ("png", "jpg", "webp") for path in root.rglob(f"*.{ending}")}


def entries_of(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("select path from copperplate.cache_entries")}


POINTS = [
    # point, jobs, phase the successor finds, submits in all, adopted
    ("after:acquire", False, "claimed", 1, False),
    ("after:begin_submit", False, "submitting", 1, False),
    ("after:submit", False, "submitting", 2, False),
    ("after:note_request", True, "submitted", 1, False),
    ("before:collect", True, "submitted", 1, False),
    ("after:intend_upload", False, "uploading", 2, False),
    ("after:intend_upload", True, "uploading", 1, False),
    ("before:put", True, "uploading", 1, False),
    ("after:put", False, "uploading", 1, True),
    ("after:put", True, "uploading", 1, True),
]


@pytest.mark.parametrize(("point", "has_jobs", "phase", "expected", "adopted"), POINTS)
def test_leader_killed_at_any_point_is_replaced_and_what_it_left_is_used(
    worker_processes: WorkerProcesses,
    owner_url: str,
    tmp_path: Path,
    point: str,
    has_jobs: bool,
    phase: str,
    expected: int,
    adopted: bool,
) -> None:
    order = {"url": owner_url, "folder": str(tmp_path), "has_jobs": has_jobs}
    doomed = worker_processes.start("generate", stop_at=point, **order)
    assert doomed.hear() == f"at {point.partition(':')[2]}"
    doomed.kill()
    assert row_of(owner_url)["phase"] == phase
    stored = objects_in(tmp_path)
    found = worker_processes.start("generate", stop_at="", **order).result()
    assert submits(tmp_path) == expected <= 2
    assert row_of(owner_url)["status"] == "completed"
    assert row_of(owner_url)["api_calls_made"] >= submits(tmp_path)
    assert row_of(owner_url)["api_calls_made"] <= 2
    assert found["outcome"] in {"generated", "coalesced"}
    assert bool(stored & entries_of(owner_url)) is adopted


def test_leader_that_stood_still_beyond_its_lease_is_refused_and_its_object_discarded(
    worker_processes: WorkerProcesses, owner_url: str, tmp_path: Path
) -> None:
    order = {"url": owner_url, "folder": str(tmp_path), "has_jobs": False}
    zombie = worker_processes.start("generate", stop_at="before:intend_upload", **order)
    assert zombie.hear() == "at intend_upload"
    zombie.process.send_signal(signal.SIGSTOP)
    successor = worker_processes.start("generate", stop_at="", **order).result()
    zombie.go_on()
    zombie.process.send_signal(signal.SIGCONT)
    # It wakes up, is refused, and answers its own callers with the successor's picture.
    late = zombie.result()
    assert (late["path"], late["body"]) == (successor["path"], successor["body"])
    assert submits(tmp_path) == 2
    assert objects_in(tmp_path) == entries_of(owner_url)


def test_object_that_a_leader_stored_after_its_lease_had_passed_on_is_discarded(
    worker_processes: WorkerProcesses, owner_url: str, tmp_path: Path
) -> None:
    order = {"url": owner_url, "folder": str(tmp_path), "has_jobs": False}
    zombie = worker_processes.start("generate", stop_at="before:put", **order)
    assert zombie.hear() == "at put"
    zombie.process.send_signal(signal.SIGSTOP)
    successor = worker_processes.start("generate", stop_at="", **order).result()
    zombie.go_on()
    zombie.process.send_signal(signal.SIGCONT)
    late = zombie.result()
    assert late["path"] == successor["path"]
    with psycopg.connect(owner_url) as editor:
        discarded = {row[0] for row in editor.execute("select path from copperplate.discarded_objects")}
    assert objects_in(tmp_path) - entries_of(owner_url) == discarded
    assert len(discarded) == 3  # the original and its renditions
