"""What a cleanup costs, and whether readers feel it."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from bench.acquire_and_peek import fill
from bench.databases import cluster, complete, make_upload, want_of
from bench.figures import Figure, Run, percentile
from copperplate.adapters.memory_store import MemoryStore
from copperplate.adapters.postgres import PostgresLedger
from copperplate.adapters.system_clock import SystemClock
from copperplate.care import OBJECTS, ROWS, clean
from copperplate.compose import IMAGE_BUCKET
from copperplate.errors import ObjectMissing
from copperplate.model import Hit, Lead

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRIES, FEW_ENTRIES = 1_000_000, 20_000
READS, FEW_READS = 25_000, 3_000
PICTURES, READERS, CLEANERS = 200, 16, 2
CLEANER_PAUSE_SECONDS = 0.1
LEASE = timedelta(seconds=20)
MONTH_LATER, GRACE_LATER = timedelta(days=31), timedelta(days=31, hours=2)
ALL_DAY = timedelta(days=1)
# A reader holds a path for milliseconds; the grace in earnest is an hour.
GRACE = timedelta(seconds=1)
MOST_STATEMENT_MS = 1_000
MOST_MEMORY_MB = 50


class TimedLedger(PostgresLedger):
    """Knows how long its statements took: as long as each holds its locks, for every one is a transaction."""

    def __init__(self, url: str, ahead: timedelta = timedelta()) -> None:
        options = f"-c copperplate.clock_offset={int(ahead.total_seconds())}s"
        super().__init__(make_conninfo(url, options=options), max_connections=2)
        self.took_ms: list[float] = []

    async def _rows(self, *arguments: Any, **options: Any) -> Any:
        began = time.monotonic()
        try:
            return await super()._rows(*arguments, **options)
        finally:
            self.took_ms.append((time.monotonic() - began) * 1000)


class HastyLedger(TimedLedger):
    """Its grace is scaled."""

    grace = GRACE

    async def claim_discarded(self, limit: int) -> Sequence[tuple[int, str, str]]:
        rows = await self._rows("select id, bucket, path from public.claim_discarded(%s, %s)", (limit, self.grace))
        return [(row["id"], row["bucket"], row["path"]) for row in rows]


def measure(run: Run) -> list[Figure]:
    """A cleanup of a million entries: time, memory, longest lock; and 25,000 reads beside two cleaners."""
    return [*asyncio.run(_measure_size(run)), *asyncio.run(_measure_readers(run))]


async def _measure_size(run: Run) -> list[Figure]:
    entries = run.pick(ENTRIES, FEW_ENTRIES)
    with cluster(run) as started:
        run.say(f"{entries:,} entries are put")
        # As many generations, of which half have an original and a jpg each.
        url = fill(started, entries, run)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("delete from public.generation_status where status <> 'completed'")
            # Half of the table is gone at one stroke, which no cleanup does.
            connection.execute("vacuum analyze public.generation_status")
        rows, statements = await _clean(url, MONTH_LATER, run)
        if rows.images + rows.generations != entries or not rows.is_complete:
            raise RuntimeError(f"not everything was removed: {rows}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        objects, claims = await _clean(url, GRACE_LATER, run)
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if objects.objects != entries:
            raise RuntimeError(f"not every object was removed: {objects}")
    how = (
        f"{entries:,} entries of {entries // 2:,} pictures, none used for 31 days; {ROWS} generations a statement, "
        f"{OBJECTS} objects a step, from a store that answers at once; one process, Postgres with fsync."
    )
    return [
        Figure(what=f"cleanup of {entries:,} entries", value=rows.seconds, unit="s", how=how),
        Figure(what=f"removal of their {entries:,} objects", value=objects.seconds, unit="s", how=how),
        Figure(
            what="longest statement of both, which is the longest lock",
            value=max(statements + claims),
            unit="ms",
            how=f"{how} The 99th percentile is {percentile(statements + claims, 99):.0f} ms.",
            at_most=MOST_STATEMENT_MS,
        ),
        Figure(
            what="memory the second run adds to the process", value=grown_mb, unit="MB", how=how, at_most=MOST_MEMORY_MB
        ),
    ]


async def _clean(url: str, ahead: timedelta, run: Run) -> tuple[Any, list[float]]:
    ledger = TimedLedger(url, ahead)
    await ledger.open()
    try:
        done = await clean(ledger, [MemoryStore(IMAGE_BUCKET)], clock=SystemClock(), within=ALL_DAY)
    finally:
        await ledger.close()
    run.say(str(done))
    return done, ledger.took_ms


async def _measure_readers(run: Run) -> list[Figure]:
    reads = run.pick(READS, FEW_READS)
    figures = []
    for grace, limit in ((GRACE, 0), (timedelta(), None)):
        with cluster(run, is_durable=False) as started:
            crowd = _Crowd(started.owner_url, reads, grace)
            await crowd.run()
        name = "two cleaners" if grace else "two cleaners without a grace"
        run.say(f"{crowd.reads:,} reads, {crowd.removed:,} objects removed, {crowd.dangling} dangling")
        if not crowd.removed:
            raise RuntimeError("nothing was removed beside the readers")
        figures.append(
            Figure(
                what=f"dangling of {reads:,} reads beside {name}",
                value=crowd.dangling,
                unit="reads",
                how=f"{READERS} readers look one of {PICTURES} pictures up, pause up to 2 ms and fetch it, and make it "
                f"anew where it is gone; {CLEANERS} cleaners remove everything all the time: "
                f"{crowd.removed:,} objects, {grace.total_seconds():.0f} s after they were discarded. "
                "A dangling read finds no object.",
                exactly=limit,
            )
        )
    return figures


class _Crowd:
    def __init__(self, url: str, reads: int, grace: timedelta) -> None:
        self._url = url
        self._left = reads
        self._grace = grace
        self._store = MemoryStore(IMAGE_BUCKET)
        self._random = random.Random(20261120)
        self.reads = self.dangling = self.removed = 0

    async def run(self) -> None:
        ledgers = [HastyLedger(self._url) for _ in range(READERS // 2 + CLEANERS)]
        for ledger in ledgers:
            ledger.grace = self._grace
            await ledger.open()
        cleaners = [asyncio.create_task(self._clean(ledger)) for ledger in ledgers[:CLEANERS]]
        readers = [self._read_all(ledgers[CLEANERS + number // 2]) for number in range(READERS)]
        try:
            await asyncio.gather(*readers)
        finally:
            for cleaner in cleaners:
                cleaner.cancel()
            await asyncio.gather(*cleaners, return_exceptions=True)
            for ledger in ledgers:
                await ledger.close()

    async def _clean(self, ledger: HastyLedger) -> None:
        while True:
            await ledger.cleanup_entries(timedelta(), 5)
            claimed = await ledger.claim_discarded(OBJECTS)
            self.removed += len(await self._store.remove([path for _, _, path in claimed]))
            await ledger.forget_discarded([id_ for id_, _, _ in claimed])
            await asyncio.sleep(CLEANER_PAUSE_SECONDS)

    async def _read_all(self, ledger: HastyLedger) -> None:
        while self._left > 0:
            want = want_of("/1024x1024.jpg", f"picture{self._random.randrange(PICTURES)}")
            verdict = await ledger.acquire(want, leader=uuid4(), lease=LEASE)
            if isinstance(verdict, Lead):
                upload = make_upload(want)
                await self._store.put(upload.path, b"picture", media_type="image/png")
                await complete(ledger, want, verdict, upload)
            if not isinstance(verdict, Hit):
                continue
            self._left -= 1
            await asyncio.sleep(self._random.uniform(0, 0.002))
            self.reads += 1
            try:
                await self._store.get(verdict.entry.path)
            except ObjectMissing:
                self.dangling += 1
