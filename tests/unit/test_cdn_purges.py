"""Who tells CDNs what they are to forget: one run over the outbox, and the rhythm of a process."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.adapters.memory.store import MemoryStore
from copperplate.cli.cdns import say_of_cdns, tell_cdns
from copperplate.errors import CdnUnavailable, LedgerUnavailable, Misconfigured
from copperplate.feed import Tier
from copperplate.model import Condition
from copperplate.operations.cdn_purges import CdnPurges, CdnReport
from copperplate.ports.cdns import CdnCopies, CdnScope
from copperplate.settings import Settings
from copperplate.tiers.tiers import Tiers
from copperplate.work.cdn_purges import CdnWork
from tests.contract.ledger.harness import complete
from tests.support.cdns import NotedCdn, cdn_purges, opening
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from copperplate.ports import Cdn

BUCKET = "generated-images"


class Outbox:
    """A ledger in memory with a clock, and pictures that are declared wrong in it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)

    async def declare_wrong(self, prompt: str = "wrong") -> str:
        """A picture is made and purged; answers its key."""
        asked = picture_request(prompt)
        await complete(self.ledger, asked, prompt)
        await self.ledger.purge(Condition(prompt=prompt), 10, is_dry_run=False)
        return asked.generation_key


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


async def test_each_cdn_is_told_once_at_once_and_once_more_ten_seconds_later(outbox: Outbox) -> None:
    key = await outbox.declare_wrong()
    tags, objects = NotedCdn(CdnScope.TAG), NotedCdn(CdnScope.OBJECT)
    purges = cdn_purges(outbox.ledger, tags, objects)
    assert await purges.run() == CdnReport(told=2, again=2)
    assert await purges.run() == CdnReport()
    await outbox.clock.advance(10)
    assert await purges.run() == CdnReport(told=2)
    await outbox.clock.advance(3_600)
    assert await purges.run() == CdnReport()
    wrong = ((BUCKET, upload("wrong").path),)
    assert tags.told == objects.told == [CdnCopies(generation_keys=(key,), objects=wrong, discarded=wrong)] * 2


async def test_a_cdn_that_fails_ends_no_other_and_is_told_again(outbox: Outbox) -> None:
    await outbox.declare_wrong()
    down = NotedCdn(CdnScope.TAG, CdnUnavailable("it is down"))
    other = NotedCdn(CdnScope.OBJECT)
    purges = cdn_purges(outbox.ledger, down, other)
    report = await purges.run()
    assert (report.told, report.again, [str(error) for error in report.errors]) == (1, 1, ["it is down"])
    await outbox.clock.advance(5)
    down.error = None
    await purges.run()
    assert (len(down.told), len(other.told)) == (2, 1)


async def test_what_no_cdn_was_told_in_its_lifetime_is_given_up_and_said(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    await outbox.declare_wrong()
    purges = cdn_purges(outbox.ledger, NotedCdn(error=CdnUnavailable("it is down")))
    await purges.run()
    await outbox.clock.advance(3_611)
    assert await purges.run() == CdnReport()
    assert "1 purges of a CDN that failed are given up" in caplog.text


async def test_a_cdn_that_cannot_be_opened_is_an_error_of_the_run_and_stops_no_other(outbox: Outbox) -> None:
    def refused() -> AbstractAsyncContextManager[Cdn]:
        raise Misconfigured("VERCEL_PROJECT_ID is missing")

    await outbox.declare_wrong()
    other = NotedCdn(CdnScope.OBJECT)
    cdns = {CdnScope.TAG: refused, CdnScope.OBJECT: opening(other)}
    report = await CdnPurges(outbox.ledger, cdns, copies_live=timedelta(hours=1)).run()
    assert [str(error) for error in report.errors] == ["VERCEL_PROJECT_ID is missing"]
    assert (report.told, len(other.told)) == (1, 1)


async def test_without_a_cdn_nothing_is_taken(outbox: Outbox) -> None:
    await outbox.declare_wrong()
    assert await cdn_purges(outbox.ledger).run() == CdnReport()
    assert await tell_cdns(Settings.from_env({}), outbox.ledger, {}) == CdnReport()
    assert len(outbox.ledger._cdn_purges) == 2
    assert {row.tries for row in outbox.ledger._cdn_purges} == {0}


async def test_an_object_leaves_its_store_before_its_cdn_is_told(outbox: Outbox) -> None:
    store = MemoryStore(BUCKET)
    await store.put(upload("wrong").path, b"picture", media_type="image/png")

    class Cdn(NotedCdn):
        async def forget(self, copies: CdnCopies) -> None:
            assert not store._objects
            await super().forget(copies)

    await outbox.declare_wrong()
    cdn = Cdn(CdnScope.OBJECT)
    await cdn_purges(outbox.ledger, cdn, stores={BUCKET: store}).run()
    assert len(cdn.told) == 1


async def test_an_object_whose_copies_alone_are_purged_stays_in_its_store(outbox: Outbox) -> None:
    store, asked = MemoryStore(BUCKET), picture_request("right")
    await store.put(upload("right").path, b"picture", media_type="image/png")
    await complete(outbox.ledger, asked, "right")
    await outbox.ledger.purge_copies({Tier.CDN}, Condition(key=asked.generation_key), is_dry_run=False)
    cdn = NotedCdn(CdnScope.OBJECT)
    for _ in range(2):
        await cdn_purges(outbox.ledger, cdn, stores={BUCKET: store}).run()
        await outbox.clock.advance(10)
    assert [copies.objects for copies in cdn.told] == [((BUCKET, upload("right").path),)] * 2
    assert set(store._objects) == {upload("right").path}


async def test_a_settlement_that_is_lost_leaves_it_to_whoever_comes_after_the_claim(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*_: object, **__: object) -> int:
        raise LedgerUnavailable("no answer")

    await outbox.declare_wrong()
    cdn = NotedCdn()
    with monkeypatch.context() as broken:
        broken.setattr(outbox.ledger, "settle_cdn_purges", lose)
        assert await cdn_purges(outbox.ledger, cdn).run() == CdnReport(told=1, again=1)
    await outbox.clock.advance(89)
    assert await cdn_purges(outbox.ledger, cdn).run() == CdnReport()
    await outbox.clock.advance(1)
    assert (await cdn_purges(outbox.ledger, cdn).run()).told == 1


# --- the rhythm of a process ------------------------------------------------------------------------


class Process:
    """Its CDN work, and how often it asked for a work step."""

    def __init__(self, outbox: Outbox, *cdns: NotedCdn) -> None:
        self.asked = 0
        self.work = CdnWork(cdn_purges(outbox.ledger, *cdns), outbox.clock, note_due=self._ask)

    def _ask(self) -> None:
        self.asked += 1


async def test_a_run_begins_at_most_every_five_seconds(outbox: Outbox) -> None:
    cdn = NotedCdn()
    process = Process(outbox, cdn)
    for _ in range(11):
        await outbox.declare_wrong()
        process.work.begin_if_due()
        await process.work.finish(within_seconds=1)
        await outbox.clock.advance(1)
    assert len(cdn.told) == 3


async def test_the_feed_asks_for_a_step_where_there_is_a_cdn_and_something_for_it(outbox: Outbox) -> None:
    without, process = Process(outbox), Process(outbox, NotedCdn(CdnScope.OBJECT))
    for due, asked in (({"tag"}, 0), ({"object"}, 1), ({"tag", "object"}, 2)):
        without.work.note_purges(due)
        process.work.note_purges(due)
        assert (without.asked, process.asked) == (0, asked)


async def test_who_comes_too_late_for_a_purge_is_there_for_the_next(outbox: Outbox) -> None:
    late = NotedCdn()
    process = Process(outbox, late)
    await outbox.declare_wrong("first")
    await cdn_purges(outbox.ledger, NotedCdn()).run()
    process.work.begin_if_due()
    await process.work.finish(within_seconds=1)
    assert not late.told
    process.work.note_purges({"tag"})
    assert process.asked == 0, "no run may begin yet"
    await outbox.declare_wrong("second")
    await outbox.clock.advance(5)
    process.work.note_purges((await outbox.ledger.read_feed(None, None)).due_cdn_scopes)
    assert process.asked == 1
    process.work.begin_if_due()
    await process.work.finish(within_seconds=1)
    assert [copies.generation_keys for copies in late.told] == [(picture_request("second").generation_key,)]


async def test_a_cdn_that_fails_is_logged_once_a_run(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    process = Process(outbox, NotedCdn(error=CdnUnavailable("it is down")), NotedCdn(CdnScope.OBJECT))
    await outbox.declare_wrong()
    process.work.begin_if_due()
    await process.work.finish(within_seconds=1)
    assert caplog.text.count("it is down") == 1
    assert process.work.told == 1


async def test_the_feed_is_read_for_purges_too(outbox: Outbox) -> None:
    process = Process(outbox, NotedCdn())
    tiers = Tiers(outbox.ledger, outbox.clock, note_cdn_purges=process.work.note_purges)
    await tiers.coherence.trust()
    assert process.asked == 0
    await outbox.declare_wrong()
    await outbox.clock.advance(3)
    await tiers.coherence.trust()
    assert process.asked > 0
    await tiers.close()


async def test_a_late_run_is_broken_off(outbox: Outbox) -> None:
    class Silent(NotedCdn):
        is_broken_off = False

        async def forget(self, copies: CdnCopies) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.is_broken_off = True

    await outbox.declare_wrong()
    cdn = Silent()
    process = Process(outbox, cdn)
    process.work.begin_if_due()
    await outbox.clock.settle()
    await process.work.finish(within_seconds=0)
    assert cdn.is_broken_off
    await outbox.clock.advance(90)
    assert (await cdn_purges(outbox.ledger, NotedCdn()).run()).told == 1


async def test_a_run_that_fails_is_logged_and_followed_by_others(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cdn = NotedCdn()
    process = Process(outbox, cdn)
    await outbox.declare_wrong()
    for error in (LedgerUnavailable("no answer"), RuntimeError("a bug")):

        async def fail(*_: object, error: Exception = error, **__: object) -> CdnCopies:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(outbox.ledger, "take_cdn_purges", fail)
            process.work.begin_if_due()
            await process.work.finish(within_seconds=1)
        await outbox.clock.advance(5)
    assert "ledger_unavailable" in caplog.text
    process.work.begin_if_due()
    await process.work.finish(within_seconds=1)
    assert len(cdn.told) == 1


async def test_a_command_waits_for_what_is_told_once_more(outbox: Outbox) -> None:
    cdn = NotedCdn()
    process = Process(outbox, cdn)
    await outbox.declare_wrong()
    emptying = asyncio.create_task(process.work.empty())
    await outbox.clock.settle()
    await outbox.clock.advance(10)
    await emptying
    assert len(cdn.told) == 2
    assert not [row for row in outbox.ledger._cdn_purges if row.scope is CdnScope.TAG]


def test_what_a_command_says_of_cdns(capsys: pytest.CaptureFixture[str]) -> None:
    for report in (None, CdnReport(), CdnReport(told=3, again=3, errors=(CdnUnavailable("Vercel is down."),))):
        say_of_cdns(report)
    said = capsys.readouterr().err.splitlines()
    assert [line.rpartition("[")[2] for line in said] == ["ledger_unavailable]", "cdn_unavailable]", said[2]]
    assert said[1].startswith("Vercel is down. The work step tells it again")
    assert "told to forget 3 copies" in said[2]


def test_tiers_are_spelled_as_on_the_command_line() -> None:
    from copperplate.cli.purging_tiers import PURGED_TIERS

    assert PURGED_TIERS == ("memory", "disk", "redis", "storage", "cdn")
    assert set(PURGED_TIERS) < {tier.value for tier in Tier}
