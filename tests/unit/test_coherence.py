"""What copies are good for, by a clock that stands still: outages, frozen processes, late answers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.errors import LedgerMisconfigured, LedgerUnavailable
from copperplate.feed import Cursor, FeedPage, Fill, Invalidation, Tier
from copperplate.tiers import known as known_module
from copperplate.tiers.coherence import LINGER_SECONDS, Coherence, Trust
from copperplate.tiers.known import KnownInvalidations
from tests.support.feeds import PartedClock, ScriptedFeed, read_feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STALE = timedelta(hours=1)
KEY, OTHER = "a" * 64, "b" * 64
# How long requests wait for a read here, in seconds of the machine.
WAIT_SECONDS = 0.02


class Process:
    """One process that reads the feed of a ledger in memory."""

    def __init__(self, *, stale_for: timedelta = STALE) -> None:
        self.clock = PartedClock()
        self.ledger = MemoryLedger(self.clock)
        self.feed = ScriptedFeed(self.ledger)
        self.pages: list[FeedPage] = []
        self.coherence = Coherence(
            self.feed, self.clock, stale_for=stale_for, on_page=self.pages.append, wait_seconds=WAIT_SECONDS
        )

    async def trusts(self) -> Trust:
        return await self.coherence.trust()

    async def is_waited_for(self) -> bool:
        """Whether a request waits for the ledger now, which does not answer."""
        reads = self.feed.reads
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.trusts()
        return loop.time() - began >= WAIT_SECONDS or self.feed.reads > reads + 1

    async def serve(self, seconds: float) -> list[Trust]:
        """Two requests a second for so long."""
        seen = []
        for _ in range(int(seconds * 2)):
            seen.append(await self.trusts())
            await self.clock.advance(0.5)
        return seen


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """A process that has read the feed."""
    made = Process()
    assert await made.trusts() is Trust.NONE
    await made.clock.settle()
    yield made
    await made.coherence.close()


def fill_of(process: Process) -> Fill:
    fill = process.coherence.begin_fill()
    assert fill is not None
    return fill


# --- reading -------------------------------------------------------------------------------------


async def test_first_request_of_a_process_waits_for_no_read_and_begins_one() -> None:
    process = Process()
    process.feed.hold()
    assert await process.trusts() is Trust.NONE
    assert process.coherence.begin_fill() is None
    await process.clock.settle()
    assert process.feed.reads == 1
    await process.coherence.close()


async def test_copies_are_trusted_for_two_and_a_half_seconds_from_the_moment_of_asking(process: Process) -> None:
    release = process.feed.hold()
    await process.clock.advance(1.0)  # no traffic: the rhythm ends
    assert process.coherence.is_fresh
    await process.trusts()
    await process.clock.settle()
    await process.clock.advance(0.9)
    release.set()
    await process.clock.settle()
    # Asked at 1.0, answered at 1.9.
    await process.clock.advance(1.5)
    assert process.coherence.is_fresh
    await process.clock.advance(0.2)
    assert not process.coherence.is_fresh


async def test_feed_is_read_once_a_second_while_there_is_traffic_and_nobody_waits(process: Process) -> None:
    assert set(await process.serve(10)) == {Trust.FRESH}
    assert 10 <= process.feed.reads <= 11


async def test_feed_is_not_read_while_nobody_asks(process: Process) -> None:
    await process.serve(2)
    reads = process.feed.reads
    await process.clock.advance(60)
    assert process.feed.reads - reads <= 1
    assert process.coherence._rhythm is None


async def test_slow_traffic_is_fresh_too_and_reads_behind_it(process: Process) -> None:
    for _ in range(5):
        await process.clock.advance(2.0)
        assert await process.trusts() is Trust.FRESH
        await process.clock.settle()


async def test_overdue_read_is_shared_by_all_who_wait(process: Process) -> None:
    await process.clock.advance(60)
    reads = process.feed.reads
    assert await asyncio.gather(*(process.trusts() for _ in range(50))) == [Trust.FRESH] * 50
    assert process.feed.reads == reads + 1


async def test_one_who_is_cancelled_takes_the_read_from_nobody(process: Process) -> None:
    await process.clock.advance(60)
    release = process.feed.hold()
    leaving, staying = (asyncio.create_task(process.trusts()) for _ in range(2))
    await process.clock.settle()
    leaving.cancel()
    await asyncio.wait((leaving,))
    assert leaving.cancelled()
    release.set()
    assert await staying is Trust.FRESH


async def test_answer_that_comes_after_that_of_a_later_read_is_dropped(process: Process) -> None:
    release = process.feed.hold()
    await process.clock.advance(1.0)
    await process.trusts()
    await process.clock.settle()  # it is asked before the purge
    process.feed.held = None
    await process.ledger.invalidate((Tier.MEMORY,), (KEY,))
    await process.clock.advance(0.5)
    await read_feed(process.coherence)
    fill, read_at = process.coherence.begin_fill(), process.coherence._read_at
    release.set()
    await process.clock.settle()
    assert (process.coherence.begin_fill(), process.coherence._read_at) == (fill, read_at)


async def test_answer_of_a_ledger_that_was_restored_meanwhile_is_dropped(process: Process) -> None:
    release = process.feed.hold()
    fill = fill_of(process)
    reading = asyncio.create_task(read_feed(process.coherence))
    await process.clock.settle()
    process.coherence._known.database = "another"
    release.set()
    await reading
    await process.clock.settle()
    assert process.coherence.database == "another"
    assert not process.coherence.is_fill_right(KEY, fill, Tier.MEMORY)


async def test_read_that_was_asked_later_sees_what_was_declared_wrong_before_it(process: Process) -> None:
    fill = fill_of(process)
    release = process.feed.hold()
    slow = process.coherence._begin_read()
    await process.clock.settle()
    process.feed.held = None
    await process.ledger.invalidate((Tier.MEMORY,), (KEY,))
    assert process.coherence.is_fill_right(KEY, fill, Tier.MEMORY)
    await read_feed(process.coherence)
    assert not process.coherence.is_fill_right(KEY, fill, Tier.MEMORY)
    assert [each.generation_key for each in process.pages[-1].invalidations] == [KEY]
    release.set()
    await slow
    assert not process.coherence.is_fill_right(KEY, fill, Tier.MEMORY)


# --- outages -------------------------------------------------------------------------------------


async def test_silent_ledger_is_waited_for_once_then_copies_are_stale(process: Process) -> None:
    await process.clock.advance(60)
    process.feed.hold()
    assert await process.is_waited_for()
    for _ in range(3):
        assert await process.trusts() is Trust.STALE
        assert not await process.is_waited_for()
    assert process.coherence.is_stale_at(process.clock.monotonic())


async def test_silence_amid_traffic_is_found_out_by_the_rhythm_and_no_request_waits(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []

    async def note() -> None:
        waits.append("a request waited")

    monkeypatch.setattr(process.coherence, "_read_overdue", note)
    await process.serve(3)
    process.feed.hold()
    seen = await process.serve(8)
    assert seen[-1] is Trust.STALE
    assert set(seen) == {Trust.FRESH, Trust.STALE}
    assert waits == []


async def test_ledger_that_is_away_is_asked_beside_traffic_and_soon_found_again(process: Process) -> None:
    process.feed.error = LedgerUnavailable("down")
    await process.clock.advance(60)
    await process.trusts()
    reads = process.feed.reads
    await process.serve(20)
    assert 18 <= process.feed.reads - reads <= 22
    process.feed.error = None
    assert (await process.serve(2))[-1] is Trust.FRESH
    assert not process.coherence.is_stale_at(process.clock.monotonic())


async def test_ledger_that_is_away_is_asked_no_more_once_nobody_asks(process: Process) -> None:
    process.feed.error = LedgerUnavailable("down")
    await process.clock.advance(60)
    await process.trusts()
    await process.clock.advance(LINGER_SECONDS + 2)
    reads = process.feed.reads
    await process.clock.advance(60)
    assert process.feed.reads == reads


async def test_one_probe_at_a_time_asks_a_silent_ledger(process: Process) -> None:
    await process.serve(2)
    reads = process.feed.reads
    process.feed.hold()
    await process.serve(20)
    assert process.feed.reads - reads <= 2


async def test_answer_that_took_longer_than_it_is_good_for_ends_no_outage(process: Process) -> None:
    await process.serve(2)
    release = process.feed.hold()
    await process.serve(6)
    release.set()
    process.feed.hold()  # the next one is slow too
    await process.clock.settle()
    assert await process.trusts() is Trust.STALE
    assert not await process.is_waited_for()
    process.feed.held = None
    release = process.feed.hold()
    release.set()
    await read_feed(process.coherence)
    assert await process.trusts() is Trust.FRESH


async def test_stale_copies_end_an_hour_after_the_last_read() -> None:
    process = Process(stale_for=timedelta(seconds=30))
    await read_feed(process.coherence)
    process.feed.error = LedgerUnavailable("down")
    seen = await process.serve(40)
    assert (seen[50], seen[70]) == (Trust.STALE, Trust.NONE)
    assert not process.coherence.is_stale_at(process.clock.monotonic())
    await process.coherence.close()


async def test_no_copy_is_stale_where_the_setting_says_never() -> None:
    process = Process(stale_for=timedelta(0))
    await read_feed(process.coherence)
    process.feed.error = LedgerUnavailable("down")
    assert set((await process.serve(10))[8:]) == {Trust.NONE}
    await process.coherence.close()


async def test_process_that_never_read_serves_nothing_and_waits_for_nothing() -> None:
    process = Process()
    process.feed.hold()
    for _ in range(5):
        assert await process.trusts() is Trust.NONE
        assert process.coherence._overdue is None
        await process.clock.advance(1)
    await process.coherence.close()


@pytest.mark.parametrize("error", [LedgerMisconfigured("no such function"), ValueError("not a page")])
async def test_feed_that_cannot_be_read_although_the_ledger_answers_makes_nothing_stale(
    process: Process, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    process.feed.error = error
    await process.clock.advance(60)
    assert await process.trusts() is Trust.NONE
    assert set(await process.serve(5)) == {Trust.NONE}
    assert [record.message for record in caplog.records if "cannot be read" in record.message] != []
    process.feed.error = None
    assert (await process.serve(2))[-1] is Trust.FRESH


async def test_outage_is_said_once(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    process.feed.error = LedgerUnavailable("down")
    await process.clock.advance(60)
    await process.serve(10)
    process.feed.error = None
    await process.serve(3)
    assert [record.levelname for record in caplog.records if "the database" in record.message] == ["WARNING", "INFO"]
    seconds = process.coherence._stale_seconds
    assert f"copies in memory, on disk and in Redis are served for up to {seconds:.0f} s" in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [(LedgerUnavailable("down"), "does not answer"), (LedgerMisconfigured("no such function"), "cannot be read")],
)
async def test_outage_is_said_once_though_requests_are_seldom(
    process: Process, caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        process.feed.error = error
        for _ in range(5):
            await process.clock.advance(30)
            assert await process.trusts() is not Trust.FRESH
        process.feed.error = None
        await process.clock.advance(30)
        assert await process.trusts() is Trust.FRESH
    said = [record.message for record in caplog.records if words in record.message or "again" in record.message]
    assert [words in message for message in said] == [True, False, True, False]


# --- frozen processes, clocks ----------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stopped", "frozen", "wall set back"])
async def test_process_that_stood_still_reads_before_it_trusts(process: Process, way: str) -> None:
    await process.serve(2)
    {
        "stopped": lambda: process.clock.stand_still(600),
        "frozen": lambda: process.clock.set_wall(600),
        "wall set back": lambda: process.clock.set_wall(-600),
    }[way]()
    reads = process.feed.reads
    assert not process.coherence.is_fresh
    assert await process.trusts() is Trust.FRESH
    assert process.feed.reads == reads + 1


@pytest.mark.parametrize("way", ["stand_still", "set_wall"])
async def test_process_that_stood_still_in_an_outage_waits_again(process: Process, way: str) -> None:
    process.feed.error = LedgerUnavailable("down")
    await process.clock.advance(60)
    await process.serve(5)
    assert process.coherence.is_stale_at(process.clock.monotonic())
    getattr(process.clock, way)(600)
    process.feed.error = None
    assert not process.coherence.is_stale_at(process.clock.monotonic())
    assert await process.trusts() is Trust.FRESH


async def test_read_that_began_before_a_freeze_is_neither_trusted_nor_waited_for(process: Process) -> None:
    release = process.feed.hold()
    await process.clock.advance(1.0)
    await process.trusts()
    await process.clock.settle()
    process.clock.set_wall(600)
    process.feed.held = None
    await process.ledger.invalidate((Tier.MEMORY,), (KEY,))
    fill = fill_of(process)
    release.set()
    assert await process.trusts() is Trust.FRESH
    assert not process.coherence.is_fill_right(KEY, fill, Tier.MEMORY)


async def test_time_for_which_a_process_stood_still_while_it_waited_is_no_silence_of_the_ledger(
    process: Process,
) -> None:
    await process.clock.advance(60)
    process.feed.hold()
    waiting = asyncio.create_task(process.trusts())
    await process.clock.settle()
    process.clock.set_wall(600)
    process.feed.held = None
    assert await waiting is Trust.FRESH
    assert not process.coherence._has_failed


async def test_stale_copies_end_by_the_wall_clock_too(process: Process) -> None:
    process.feed.error = LedgerUnavailable("down")
    process.clock.set_wall(STALE.total_seconds() + 60)
    assert await process.trusts() is Trust.NONE


# --- the end ---------------------------------------------------------------------------------------


async def test_closing_ends_what_is_waited_for_and_reads_no_more(process: Process) -> None:
    await process.clock.advance(60)
    process.feed.hold()
    waiting = asyncio.create_task(process.trusts())
    await process.clock.settle()
    await process.coherence.close()
    assert await waiting is Trust.STALE
    reads = process.feed.reads
    assert await process.trusts() is Trust.STALE
    await process.clock.advance(10)
    assert process.feed.reads == reads
    assert not process.coherence._tasks


async def test_without_a_feed_nothing_is_read_or_trusted() -> None:
    clock = PartedClock()
    coherence = Coherence(None, clock, stale_for=STALE, on_page=lambda _: None)
    assert await coherence.trust() is Trust.NONE
    await coherence.close()


# --- what is known ---------------------------------------------------------------------------------


def page(
    cursor: str, *rows: tuple[int, str | None], is_continued: bool = True, known_from: int = 0, database: str = "d"
) -> FeedPage:
    invalidations = tuple(Invalidation(transaction=number, generation_key=key) for number, key in rows)
    return FeedPage(
        database=database,
        cursor=Cursor.parse(cursor),
        invalidations=invalidations,
        is_continued=is_continued,
        known_from=known_from,
    )


def fill(cursor: str, database: str = "d") -> Fill:
    return Fill(Cursor.parse(cursor), database)


@pytest.fixture
def known() -> KnownInvalidations:
    made = KnownInvalidations()
    made.apply(page("100:100:", is_continued=False))
    return made


def test_what_is_declared_wrong_after_a_fill_began_makes_it_wrong(known: KnownInvalidations) -> None:
    known.apply(page("102:102:", (101, KEY)))
    assert not known.is_right(KEY, fill("100:100:"), Tier.DISK)
    assert not known.is_right(KEY, fill("101:101:"), Tier.DISK)
    assert known.is_right(KEY, fill("102:102:"), Tier.DISK)
    assert known.is_right(OTHER, fill("100:100:"), Tier.DISK)


def test_transaction_that_commits_late_makes_wrong_what_did_not_see_it(known: KnownInvalidations) -> None:
    early = fill("90:101:90")
    assert known.is_right(KEY, early, Tier.DISK)
    known.apply(page("102:102:", (90, KEY)))
    assert not known.is_right(KEY, early, Tier.DISK)
    assert known.is_right(KEY, fill("91:101:"), Tier.DISK)


def test_everything_is_wrong_by_a_row_without_a_generation(known: KnownInvalidations) -> None:
    known.apply(page("102:102:", (101, None)))
    assert not known.is_right(KEY, fill("100:100:"), Tier.DISK)
    assert known.is_right(KEY, fill("102:102:"), Tier.DISK)


def test_row_of_one_tier_leaves_the_others_alone(known: KnownInvalidations) -> None:
    row = Invalidation(transaction=101, generation_key=KEY, tier=Tier.REDIS)
    known.apply(replace(page("102:102:"), invalidations=(row, row)))
    assert not known.is_right(KEY, fill("100:100:"), Tier.REDIS)
    assert known.is_right(KEY, fill("100:100:"), Tier.DISK)


def test_nothing_is_right_before_a_page_or_for_another_database(known: KnownInvalidations) -> None:
    assert not KnownInvalidations().is_right(KEY, fill("1:1:", database=""), Tier.DISK)
    assert not known.is_right(KEY, fill("100:100:", database=str(uuid4())), Tier.DISK)


def test_page_that_does_not_continue_makes_older_copies_wrong_and_later_ones_judged(known: KnownInvalidations) -> None:
    known.apply(page("102:102:", (101, KEY)))
    known.apply(page("500:500:", (450, OTHER), is_continued=False, known_from=400))
    assert not known.is_right(KEY, fill("399:399:"), Tier.DISK)
    assert known.is_right(KEY, fill("400:400:"), Tier.DISK)
    assert not known.is_right(OTHER, fill("400:400:"), Tier.DISK)


def test_long_transaction_does_not_make_everything_wrong(known: KnownInvalidations) -> None:
    """It runs since before what is known, and whatever it declares wrong will be read."""
    known.apply(page("50:500:50", is_continued=False, known_from=400))
    assert known.is_right(KEY, fill("50:500:50"), Tier.DISK)
    # This one saw less: what 60 declared wrong is not known, for it had ended when the first page was read.
    assert not known.is_right(KEY, fill("50:450:50,60"), Tier.DISK)
    known.apply(page("501:501:", (50, KEY)))
    assert not known.is_right(KEY, fill("50:500:50"), Tier.DISK)


def test_of_many_rows_the_oldest_are_forgotten_and_what_is_older_is_wrong(
    known: KnownInvalidations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_module, "MAX_KNOWN", 3)
    same = [(101, KEY), (101, OTHER), (102, KEY), (103, KEY), (104, OTHER)]
    known.apply(page("105:105:", *same))
    assert len(known._order) == 3
    assert not known.is_right("c" * 64, fill("101:101:"), Tier.DISK)
    assert known.is_right("c" * 64, fill("102:102:"), Tier.DISK)
    assert not known.is_right(OTHER, fill("102:102:"), Tier.DISK)
    known.apply(page("106:106:", (105, None), (99, None), (98, None)))
    assert set(known._known) == {None}


def test_rows_that_come_twice_are_known_once(known: KnownInvalidations) -> None:
    for _ in range(3):
        known.apply(page("102:102:", (101, KEY)))
    assert len(known._order) == 1
