"""What every ledger promises of the feed of invalidations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.feed import Cursor, Invalidation, Tier
from copperplate.model import Condition, Outcome
from tests.contract.ledger.harness import WEBP, complete, record, request_count
from tests.support.pictures import ENCODER_VERSION, picture_request, rendition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from copperplate.feed import FeedPage
    from copperplate.model import Entry
    from tests.contract.ledger.harness import LedgerHarness

    Step = Callable[[Any, Entry, Entry], Awaitable[object]]

ASKED = picture_request()
KEY = ASKED.generation_key
DAY = 86_400


class Reader:
    """A process that reads the feed."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.cursor: Cursor | None = None
        self.database: str | None = None

    async def read(self) -> FeedPage:
        """What is new since the last read."""
        page: FeedPage = await self._ledger.read_feed(self.cursor, self.database)
        self.cursor, self.database = page.cursor, page.database
        return page

    async def keys(self) -> list[tuple[str | None, Tier | None]]:
        """The same, as what is wrong and where; of a reader that missed nothing."""
        page = await self.read()
        assert page.is_continued
        assert page.known_from == 0
        return sorted(
            {(row.generation_key, row.tier) for row in page.invalidations}, key=lambda row: tuple(map(str, row))
        )


async def start(ledger: Any) -> Reader:
    """A reader that has read the feed once."""
    reader = Reader(ledger)
    assert not (await reader.read()).is_continued
    return reader


async def _lose_rendition(ledger: Any, _original: Entry, made: Entry) -> None:
    assert await ledger.report_missing(made)


async def _lose_original(ledger: Any, original: Entry, _made: Entry) -> None:
    assert await ledger.report_missing(original)


async def _purge(ledger: Any, original: Entry, _made: Entry) -> None:
    await ledger.purge(Condition(key=original.generation_key), 10, is_dry_run=False)


async def _take_down(ledger: Any, _original: Entry, made: Entry) -> None:
    assert (await ledger.take_down(made.key)).generations == 1


async def _clean_up(ledger: Any, _original: Entry, _made: Entry) -> None:
    assert (await ledger.cleanup_entries("image", 10, older_than=timedelta(0))).pictures == 1


async def _encode_anew(ledger: Any, original: Entry, _made: Entry) -> None:
    newer = replace(rendition(ASKED, "newer"), encoder_version=ENCODER_VERSION + 1)
    assert await ledger.intend_rendition(original, newer)
    stored = await ledger.record_rendition(original, newer)
    assert stored is not None
    assert stored.path == newer.path


class FeedContract:
    """Whatever makes a copy wrong is told once to each reader, by the key of its generation."""

    async def test_a_feed_goes_on_where_it_was_left(self, harness: LedgerHarness) -> None:
        reader = await start(harness.ledger)
        page = await reader.read()
        assert (page.invalidations, page.is_continued, page.due_cdn_scopes) == ((), True, frozenset())
        assert page.database == reader.database
        assert len(page.database) == 32

    @pytest.mark.parametrize(
        "step", [_lose_rendition, _lose_original, _purge, _take_down, _encode_anew], ids=lambda step: step.__name__
    )
    async def test_what_makes_copies_wrong_is_told_once(self, harness: LedgerHarness, step: Step) -> None:
        ledger = harness.ledger
        original = await complete(ledger, ASKED)
        made = await record(ledger, original, ASKED, "jpg")
        assert made is not None
        reader, other = await start(ledger), await start(ledger)
        await step(ledger, original, made)
        for each in (reader, other):
            assert await each.keys() == [(KEY, None)]
            assert await each.keys() == []

    async def test_cleanup_is_told_too(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        original = await complete(ledger, ASKED)
        made = await record(ledger, original, ASKED, "jpg")
        assert made is not None
        reader = await start(ledger)
        await harness.advance(10)
        await _clean_up(ledger, original, made)
        assert await reader.keys() == [(KEY, None)]
        assert await reader.keys() == []

    async def test_what_makes_no_copy_wrong_is_not_told(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        reader = await start(ledger)
        original = await complete(ledger, ASKED)
        await record(ledger, original, ASKED, "jpg")
        await record(ledger, original, picture_request(picture_format=WEBP), "webp")
        await ledger.record_usage([request_count(ASKED, Outcome.HIT, 3)])
        # Somebody else was first.
        await record(ledger, original, ASKED, "too late")
        await ledger.purge(Condition(key=KEY), 10, is_dry_run=True)
        assert await reader.keys() == []

    async def test_transactions_grow_and_the_cursor_includes_what_was_told(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        reader = await start(ledger)
        before = reader.cursor
        assert before is not None
        for number in range(3):
            await ledger.invalidate([Tier.MEMORY], [f"{number}"])
        page = await reader.read()
        transactions = [row.transaction for row in page.invalidations]
        assert [row.generation_key for row in page.invalidations] == ["0", "1", "2"]
        assert transactions == sorted(set(transactions))
        assert not any(map(before.includes, transactions))
        assert all(map(page.cursor.includes, transactions))
        assert Cursor.parse(str(page.cursor)) == page.cursor

    async def test_one_tier_is_named_alone(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        reader = await start(ledger)
        await ledger.invalidate([Tier.MEMORY, Tier.DISK], ["a", "b", "a"])
        page = await reader.read()
        named = [(row.generation_key, row.tier) for row in page.invalidations]
        assert sorted(map(str, named)) == sorted(
            map(str, [(key, tier) for key in "ab" for tier in (Tier.MEMORY, Tier.DISK)])
        )
        await ledger.invalidate([Tier.REDIS], None)
        assert await reader.keys() == [(None, Tier.REDIS)]
        await ledger.invalidate([Tier.REDIS], [])
        await ledger.invalidate([], None)
        assert await reader.keys() == []

    async def test_a_cursor_of_another_database_or_of_the_future_is_not_continued(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        reader = await start(ledger)
        cursor, database = reader.cursor, reader.database
        assert cursor is not None
        await ledger.invalidate([Tier.MEMORY], ["a"])
        future = Cursor(cursor.xmax + 1_000_000, cursor.xmax + 1_000_000)
        for since, of in ((None, None), (cursor, None), (cursor, "0" * 32), (None, database), (future, database)):
            page = await ledger.read_feed(since, of)
            assert not page.is_continued
            assert page.database == database
            [told] = page.invalidations
            assert told == Invalidation(transaction=told.transaction, generation_key="a", tier=Tier.MEMORY)
            assert 0 < page.known_from <= told.transaction

    async def test_a_first_read_tells_the_newest_in_whole_transactions(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.invalidate([Tier.DISK], [f"old {number}" for number in range(2)])
        await ledger.invalidate([Tier.DISK], ["new"])
        await ledger.invalidate([Tier.DISK], [f"{number}" for number in range(998)])
        page = await Reader(ledger).read()
        # All three are 1,001.
        assert len(page.invalidations) == 999
        assert page.invalidations[0].generation_key == "new"
        assert page.known_from <= page.invalidations[0].transaction
        # One that is more than all that is told leaves nothing.
        await ledger.invalidate([Tier.DISK], [f"{number}" for number in range(1_001)])
        whole = await Reader(ledger).read()
        assert whole.invalidations == ()
        assert page.cursor.xmin < whole.known_from <= whole.cursor.xmin

    async def test_a_reader_that_missed_very_much_is_told_to_drop_all(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        reader, other = await start(ledger), await start(ledger)
        for start_at in (0, 5_000):
            await ledger.invalidate([Tier.DISK], [f"{number}" for number in range(start_at, start_at + 5_000)])
        page = await other.read()
        assert (page.is_continued, len(page.invalidations)) == (True, 10_000)
        await ledger.invalidate([Tier.DISK], ["one more"])
        page = await reader.read()
        assert (page.is_continued, len(page.invalidations)) == (False, 1)
        assert await other.keys() == [("one more", Tier.DISK)]
        assert await reader.keys() == []

    async def test_what_is_older_than_a_day_or_two_is_forgotten_and_known_to_be(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        late, reader = await start(ledger), await start(ledger)
        await ledger.invalidate([Tier.MEMORY], ["a"])
        assert await reader.keys() == [("a", Tier.MEMORY)]
        for days in (0.9, 0.2):
            await harness.advance(days * DAY)
            await ledger.cleanup_entries("image", 10)
        # A day old, and still told.
        page = await Reader(ledger).read()
        assert [row.generation_key for row in page.invalidations] == ["a"]
        await ledger.invalidate([Tier.MEMORY], ["b"])
        assert await reader.keys() == [("b", Tier.MEMORY)]
        await harness.advance(1.1 * DAY)
        await ledger.cleanup_entries("image", 10)
        page = await late.read()
        assert not page.is_continued
        assert [row.generation_key for row in page.invalidations] == ["b"]
        assert page.invalidations[0].transaction >= page.known_from > 1
        assert await reader.keys() == []
