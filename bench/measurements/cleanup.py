"""What a cleanup costs, and whether readers feel it."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from bench.harness.databases import cluster, complete, make_upload, request_of
from bench.harness.figures import Figure, Run, percentile
from bench.measurements.acquire_and_peek import fill
from copperplate.adapters.ledger.postgres import PostgresTransport
from copperplate.adapters.ledger.sql_ledger import SqlLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import ObjectMissing
from copperplate.ledger_answers import Hit, Lead
from copperplate.operations.cleanup import LOOKED, OBJECTS, clean
from copperplate.ports.maintenance import DiscardedObject
from copperplate.recipes.kinds import IMAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.operations.cleanup import Cleaned

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
# A step late in a run may not cost much more than an early one.
MOST_GROWTH = 2.0
PROGRESS_SECONDS = 10.0


class TimedTransport(PostgresTransport):
    """Knows how long its statements took: as long as each holds its locks, for every one is a transaction."""

    def __init__(self, url: str, ahead: timedelta = timedelta(), run: Run | None = None) -> None:
        options = f"-c copperplate.clock_offset={int(ahead.total_seconds())}s"
        super().__init__(make_conninfo(url, options=options), max_connections=2)
        self.took_ms: list[float] = []
        self._listener = run
        self._say_at = time.monotonic() + PROGRESS_SECONDS

    async def _rows(self, *arguments: Any, **options: Any) -> Any:
        began = time.monotonic()
        try:
            return await super()._rows(*arguments, **options)
        finally:
            self.took_ms.append((time.monotonic() - began) * 1000)
            self._say_now_and_then()

    def _say_now_and_then(self) -> None:
        if self._listener is not None and time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + PROGRESS_SECONDS
            last = self.took_ms[-20:]
            self._listener.say(
                f"{len(self.took_ms):,} statements, the last {len(last)} took {sum(last) / len(last):.0f} ms"
            )


class HastyLedger(SqlLedger):
    """Its grace is scaled."""

    grace = GRACE

    async def claim_discarded(self, limit: int) -> Sequence[DiscardedObject]:
        rows = await self._transport.rows("claim_discarded", {"p_limit": limit, "p_grace": self.grace})
        return [DiscardedObject(row["id"], row["bucket"], row["path"]) for row in rows]


def measure(run: Run) -> list[Figure]:
    """A cleanup of a million entries: time, memory, longest lock; and 25,000 reads beside two cleaners."""
    return [*asyncio.run(_measure_size(run)), *asyncio.run(_measure_readers(run))]


async def _measure_size(run: Run) -> list[Figure]:
    entries = run.pick(ENTRIES, FEW_ENTRIES)
    with cluster(run) as started:
        run.say(f"{entries:,} entries are put")
        # As many generations, of which half have an original and a jpg each, made 40 days ago and used just now.
        url = fill(started, entries, run)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("delete from public.generation_status where status <> 'completed'")
            # Half of the table is gone at one stroke, which no cleanup does.
            connection.execute("vacuum analyze public.generation_status")
        in_use = await _clean(url, timedelta(), run)
        rows = await _clean(url, MONTH_LATER, run)
        # Until objects may go, autovacuum has an hour in which it comes by.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("vacuum analyze public.generation_status, copperplate.cache_entries")
        objects = await _clean(url, GRACE_LATER, run)
    removed = (in_use.done.pictures["image"], rows.done.pictures["image"] + rows.done.generations, objects.done.objects)
    if removed != (0, entries, entries):
        raise RuntimeError(f"not what there was, but {removed} was removed")
    return _describe(entries, in_use, rows, objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cleaning:
    """What a run did, how long its statements took, and how much its process grew by."""

    done: Cleaned
    took_ms: list[float]
    grown_mb: float


async def _clean(url: str, ahead: timedelta, run: Run) -> _Cleaning:
    transport = TimedTransport(url, ahead, run)
    ledger = SqlLedger(transport)
    await ledger.open()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        done = await clean(ledger, [MemoryStore(IMAGE.bucket)], clock=SystemClock(), within=ALL_DAY)
    finally:
        await ledger.close()
    run.say(str(done))
    if not done.is_complete:
        raise RuntimeError("a run did not come to its end")
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return _Cleaning(done=done, took_ms=transport.took_ms, grown_mb=grown_mb)


def _describe(entries: int, in_use: _Cleaning, rows: _Cleaning, objects: _Cleaning) -> list[Figure]:
    how = (
        f"{entries:,} entries of {entries // 2:,} pictures, none used for 31 days; {LOOKED} entries a statement, "
        f"{OBJECTS} objects a step, from a store that answers at once; one process, Postgres with fsync."
    )
    tenth = len(rows.took_ms) // 10
    took_ms = [*in_use.took_ms, *rows.took_ms, *objects.took_ms]
    return [
        Figure(what=f"cleanup of {entries:,} entries", value=rows.done.seconds, unit="s", how=how),
        Figure(
            what="its last statements to its first",
            value=median(rows.took_ms[-tenth:]) / median(rows.took_ms[:tenth]),
            unit="ratio",
            how="Medians of the last and of the first tenth.",
            at_most=MOST_GROWTH,
        ),
        Figure(what=f"removal of their {entries:,} objects", value=objects.done.seconds, unit="s", how=how),
        Figure(
            what="a run that finds all of them in use",
            value=in_use.done.seconds,
            unit="s",
            how="Before the cleanup: all were made 40 days ago and used just now.",
        ),
        Figure(
            what="longest statement of all three, which is the longest lock",
            value=max(took_ms),
            unit="ms",
            how=f"{how} The 99th percentile is {percentile(took_ms, 99):.0f} ms.",
            at_most=MOST_STATEMENT_MS,
        ),
        Figure(
            what="memory a run adds to the process",
            value=max(each.grown_mb for each in (in_use, rows, objects)),
            unit="MB",
            how=how,
            at_most=MOST_MEMORY_MB,
        ),
    ]


async def _measure_readers(run: Run) -> list[Figure]:
    reads = run.pick(READS, FEW_READS)
    figures = []
    for grace, limit in ((GRACE, 0), (timedelta(), None)):
        with cluster(run, is_durable=False) as started:
            readers = _Readers(started.owner_url, reads, grace)
            await readers.run()
        name = "two cleaners" if grace else "two cleaners without a grace"
        run.say(f"{readers.reads:,} reads, {readers.removed:,} objects removed, {readers.dangling} dangling")
        if not readers.removed:
            raise RuntimeError("nothing was removed beside the readers")
        figures.append(
            Figure(
                what=f"dangling of {reads:,} reads beside {name}",
                value=readers.dangling,
                unit="reads",
                how=f"{READERS} readers look one of {PICTURES} pictures up, pause up to 2 ms and fetch it, and make it "
                f"anew where it is gone; {CLEANERS} cleaners remove everything all the time: "
                f"{readers.removed:,} objects, {grace.total_seconds():.0f} s after they were discarded. "
                "A dangling read finds no object.",
                exactly=limit,
            )
        )
    return figures


class _Readers:
    def __init__(self, url: str, reads: int, grace: timedelta) -> None:
        self._url = url
        self._left = reads
        self._grace = grace
        self._store = MemoryStore(IMAGE.bucket)
        self._random = random.Random(20261120)
        self.reads = self.dangling = self.removed = 0

    async def run(self) -> None:
        ledgers = [HastyLedger(TimedTransport(self._url)) for _ in range(READERS // 2 + CLEANERS)]
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
            await ledger.cleanup_entries("image", 5, older_than=timedelta())
            claimed = await ledger.claim_discarded(OBJECTS)
            self.removed += len(await self._store.remove([path for _, _, path in claimed]))
            await ledger.forget_discarded([id_ for id_, _, _ in claimed])
            await asyncio.sleep(CLEANER_PAUSE_SECONDS)

    async def _read_all(self, ledger: HastyLedger) -> None:
        while self._left > 0:
            picture_request = request_of("/1024x1024.jpg", f"picture{self._random.randrange(PICTURES)}")
            result = await ledger.acquire(picture_request, leader=uuid4(), lease_duration=LEASE)
            if isinstance(result, Lead):
                upload = make_upload(picture_request)
                await self._store.put(upload.path, b"picture", media_type="image/png")
                await complete(ledger, picture_request, result, upload)
            if not isinstance(result, Hit):
                continue
            self._left -= 1
            await asyncio.sleep(self._random.uniform(0, 0.002))
            self.reads += 1
            try:
                await self._store.get(result.entry.path)
            except ObjectMissing:
                self.dangling += 1
