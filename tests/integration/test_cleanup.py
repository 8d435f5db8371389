"""Cleaning a real ledger: many runs at once, and readers beside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import ObjectMissing
from copperplate.ledger_answers import Hit, Miss
from copperplate.model import Outcome
from copperplate.operations.cleanup import clean
from tests.contract.ledger.harness import complete, record, request_count
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from copperplate.local.cluster import Cluster
    from copperplate.ports.maintenance import CleanupCounts

    LedgerAt = Callable[[timedelta], Awaitable[PostgresLedger]]

BUCKET = "generated-images"
PICTURES = 30
MONTH_LATER, GRACE_LATER = timedelta(days=31), timedelta(days=31, hours=2)


class TallyingStore(MemoryStore):
    """Counts removals of each path, and gives other runs a turn in between."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.removals = Counter[str]()

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        self.removals.update(paths)
        await asyncio.sleep(0.01)
        return await super().remove(paths)


@pytest.fixture
async def ledger_at(owner_url: str) -> AsyncIterator[LedgerAt]:
    """Opens ledgers whose clock runs ahead."""
    opened: list[PostgresLedger] = []

    async def open_at(ahead: timedelta) -> PostgresLedger:
        url = f"{owner_url}&options=-c%20copperplate.clock_offset%3D{int(ahead.total_seconds())}s"
        ledger = PostgresLedger(url)
        await ledger.open()
        opened.append(ledger)
        return ledger

    yield open_at
    for ledger in opened:
        await ledger.close()


async def fill(ledger: PostgresLedger, store: MemoryStore) -> set[str]:
    """Pictures with their originals; answers the paths."""
    paths: set[str] = set()
    for number in range(PICTURES):
        asked = picture_request(f"picture {number}")
        original = await complete(ledger, asked, f"original {number}")
        entry = await record(ledger, original, asked, f"jpg {number}")
        assert entry is not None
        paths |= {original.path, entry.path}
    for path in paths:
        await store.put(path, b"bytes", media_type="image/png")
    return paths


async def test_twenty_runs_at_once_remove_each_object_once(ledger_at: LedgerAt) -> None:
    store, clock = TallyingStore(), SystemClock()
    now = await ledger_at(timedelta())
    paths = await fill(now, store)
    await clean(await ledger_at(MONTH_LATER), [store], clock=clock)
    assert not store.removals
    crons = [await ledger_at(GRACE_LATER) for _ in range(4)]
    runs = await asyncio.gather(*(clean(crons[number % 4], [store], clock=clock) for number in range(20)))
    assert store.removals == dict.fromkeys(paths, 1)
    assert sum(run.objects for run in runs) == len(paths)
    assert all(run.is_complete for run in runs)


async def test_pictures_in_use_are_looked_at_once_a_run_and_do_not_hide_what_is_old(
    ledger_at: LedgerAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(BUCKET)
    await fill(await ledger_at(timedelta()), store)
    later = await ledger_at(MONTH_LATER)
    # All but the newest.
    await later.record_usage(
        [request_count(picture_request(f"picture {number}"), Outcome.HIT, 1) for number in range(PICTURES - 1)]
    )
    steps, step = Counter[tuple[str, str]](), later.cleanup_entries

    async def count(kind: str, limit: int, *, older_than: timedelta | None, after: str | None) -> CleanupCounts:
        steps[kind, after or ""] += 1
        return await step(kind, limit, older_than=older_than, after=after)

    monkeypatch.setattr(later, "cleanup_entries", count)
    monkeypatch.setattr("copperplate.operations.cleanup.LOOKED", 10)
    assert (await clean(later, [store], clock=SystemClock())).pictures["image"] == 1
    assert set(steps.values()) == {1}, "every step looks at others"
    assert len([kind for kind, _ in steps if kind == "image"]) == 2 * PICTURES // 10 + 1


MISLED = """
set session_replication_role = replica;
alter table copperplate.cache_entries set (autovacuum_enabled = false);
insert into copperplate.cache_entries (
    key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height, created_at,
    last_accessed_at
)
select
    k.key, k.key, 'image', true, 'generated-images', '2026/01/' || k.key || '.png', k.key, 1, 'png', 1, 1, now(), now()
from (select encode(sha256(n::text::bytea), 'hex') as key from generate_series(1, 20000) as n) as k;
insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)
select e.bucket, e.path, e.generation_key, now() - interval '2 hours' from copperplate.cache_entries as e;
analyze copperplate.cache_entries, copperplate.discarded_objects, public.generation_status;
delete from copperplate.cache_entries;
"""


def test_objects_are_claimed_by_index_when_the_planner_takes_every_one_for_needed(
    cluster: Cluster, database: str
) -> None:
    url = cluster.url("supabase_admin", database)
    with psycopg.connect(url) as superuser:
        superuser.execute(MISLED.encode())
    # A connection of its own: what the one above scanned is counted there until Postgres collects it.
    with psycopg.connect(url) as superuser:
        assert superuser.execute("select from public.claim_discarded(100, '1 hour')").rowcount == 100
        scanned = superuser.execute("select relname from pg_stat_xact_user_tables where seq_scan > 0").fetchall()
    # There are no generations here, and an empty table may be read to its end.
    assert set(scanned) <= {("generation_status",)}, "a large cleanup would read whole tables for each hundred objects"


async def test_reader_that_looked_a_path_up_still_gets_it_after_a_cleanup(ledger_at: LedgerAt) -> None:
    store, clock, asked = MemoryStore(BUCKET), SystemClock(), picture_request("picture 0")
    now = await ledger_at(timedelta())
    await fill(now, store)
    reader = await ledger_at(MONTH_LATER)
    seen = await reader.peek(asked.generation_key, asked.rendition_key)
    assert isinstance(seen, Hit)
    cleaned = await clean(await ledger_at(MONTH_LATER), [store], clock=clock)
    assert (cleaned.pictures["image"], cleaned.objects) == (PICTURES, 0)
    assert (await clean(await ledger_at(MONTH_LATER), [store], clock=clock)).objects == 0
    assert await store.get(seen.entry.path)
    # Nobody is told of it from now on, so an hour later nobody can miss it.
    assert await reader.peek(asked.generation_key, asked.rendition_key) == Miss()
    assert (await clean(await ledger_at(GRACE_LATER), [store], clock=clock)).objects == 2 * PICTURES
    with pytest.raises(ObjectMissing):
        await store.get(seen.entry.path)


async def test_run_that_was_killed_between_store_and_ledger_is_made_up_for(ledger_at: LedgerAt) -> None:
    store, clock = TallyingStore(), SystemClock()
    now = await ledger_at(timedelta())
    paths = await fill(now, store)
    await clean(await ledger_at(MONTH_LATER), [store], clock=clock)
    killed = await ledger_at(GRACE_LATER)
    claimed = await killed.claim_discarded(100)
    await store.remove([path for _, _, path in claimed])
    # Here it died. Its claim ends, and the objects are removed once more, which changes nothing.
    beside = await clean(await ledger_at(GRACE_LATER), [store], clock=clock)
    assert beside.objects == 0
    later = await clean(await ledger_at(GRACE_LATER + timedelta(minutes=6)), [store], clock=clock)
    assert later.objects == len(paths)
    assert (await later_claims(ledger_at)) == []


async def later_claims(ledger_at: LedgerAt) -> Sequence[object]:
    return await (await ledger_at(GRACE_LATER + timedelta(hours=2))).claim_discarded(100)
