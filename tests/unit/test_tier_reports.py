"""What is in the tiers of a process is told to the ledger at most once a minute, beside what was counted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.disk_tier import DiskTier
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.errors import LedgerUnavailable
from copperplate.feed import Tier
from copperplate.generation.lookup import LookupResult
from copperplate.model import Outcome
from copperplate.serving.request_meter import RequestMeter
from copperplate.serving.tier_reports import FIRST_SECONDS, REPORT_SECONDS, TierReporter
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.copies import copy_of
from tests.support.feeds import read_feed
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from uuid import UUID

    from copperplate.ports.tiers import TierFigures


class CountingLedger(MemoryLedger):
    """Counts reports, and may refuse them or the counts."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.reports: list[float] = []
        self.refuses_reports = self.refuses_counts = False

    async def report_tiers(self, process: UUID, figures: Sequence[TierFigures]) -> None:
        self.reports.append(self._clock.monotonic())
        if self.refuses_reports:
            raise LedgerUnavailable
        await super().report_tiers(process, figures)

    async def record_usage(self, *arguments: object, **named: object) -> bool:
        if self.refuses_counts:
            raise LedgerUnavailable
        return await super().record_usage(*arguments, **named)  # type: ignore[arg-type]


class Process:
    """A process with memory and a folder, of which other processes may have the same."""

    def __init__(self, clock: FakeClock, ledger: CountingLedger, folder: Path | None) -> None:
        memory = MemoryTier(clock, max_pictures=9, max_bytes=10**6, max_age_seconds=60)
        shared = [] if folder is None else [DiskTier(clock, folder, 10**8)]
        feed = None if folder is None else ledger
        self.tiers = Tiers(feed, clock, stale_for=timedelta(0), memory=memory, shared=shared)
        self.meter = RequestMeter(
            ledger=ledger,
            providers={"image": ScriptedProvider(clock)},
            clock=clock,
            beside_flush=TierReporter(ledger, self.tiers, clock).report_when_due,
        )

    async def serve(self) -> None:
        """Answer one request, and let the counts be flushed."""
        self.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
        await self.meter.flush()

    async def keep(self) -> None:
        """Have one picture in memory and on disk."""
        await read_feed(self.tiers.coherence)
        request, copy = picture_request(), copy_of("x")
        entry = copy_of("x").entry
        found = LookupResult(entry=entry, outcome=Outcome.HIT, body=copy.body, fill=self.tiers.begin_fill())
        self.tiers.keep(request, found)
        await self.tiers.shut_down(within_seconds=30)

    async def close(self) -> None:
        await self.meter.close()
        await self.tiers.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(clock: FakeClock) -> CountingLedger:
    return CountingLedger(clock)


async def test_processes_of_one_folder_add_up_in_memory_and_count_once_on_disk(
    clock: FakeClock, ledger: CountingLedger, tmp_path: Path
) -> None:
    one, other = Process(clock, ledger, tmp_path), Process(clock, ledger, tmp_path)
    for each in (one, other):
        await each.keep()
    await clock.advance(FIRST_SECONDS)
    for each in (one, other):
        await each.serve()
    memory, disk, redis, _ = await ledger.read_tiers()
    assert [(row.tier, row.places, row.entries) for row in (memory, disk, redis)] == [
        (Tier.MEMORY, 2, 2),
        (Tier.DISK, 1, 1),
        (Tier.REDIS, 0, 0),
    ]
    assert disk.bytes > len(copy_of("x").body or b"")
    for each in (one, other):
        await each.close()


async def test_it_is_told_after_ten_seconds_and_then_once_a_minute_while_there_are_requests(
    clock: FakeClock, ledger: CountingLedger, tmp_path: Path
) -> None:
    process = Process(clock, ledger, tmp_path)
    for _ in range(14):
        await process.serve()
        await clock.advance(10)
    assert ledger.reports == [FIRST_SECONDS, FIRST_SECONDS + REPORT_SECONDS, FIRST_SECONDS + 2 * REPORT_SECONDS]
    await clock.advance(500)
    assert len(ledger.reports) == 3
    await process.close()
    assert len(ledger.reports) == 3, "its tiers are about to be closed"


async def test_a_report_that_is_refused_delays_no_count_and_the_next_one_is_a_minute_later(
    clock: FakeClock, ledger: CountingLedger, tmp_path: Path
) -> None:
    process = Process(clock, ledger, tmp_path)
    ledger.refuses_reports = True
    await clock.advance(FIRST_SECONDS)
    for _ in range(3):
        await process.serve()
    assert ((await ledger.generation_stats()).total_requests, len(ledger.reports)) == (3, 1)
    ledger.refuses_reports = False
    await clock.advance(REPORT_SECONDS)
    await process.serve()
    assert (await ledger.read_tiers())[0].places == 1
    await process.close()


async def test_a_ledger_that_does_not_take_counts_is_not_told(
    clock: FakeClock, ledger: CountingLedger, tmp_path: Path
) -> None:
    process = Process(clock, ledger, tmp_path)
    ledger.refuses_counts = True
    await clock.advance(FIRST_SECONDS)
    await process.serve()
    assert ledger.reports == []
    await process.close()


async def test_without_tiers_nothing_is_told(clock: FakeClock, ledger: CountingLedger) -> None:
    process = Process(clock, ledger, None)
    await clock.advance(FIRST_SECONDS)
    await process.serve()
    assert ledger.reports == []
    await process.close()
