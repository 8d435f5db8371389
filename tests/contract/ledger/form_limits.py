"""What every ledger promises of how many forms of a picture are kept, and of which grow old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from copperplate.ledger_answers import Hit
from copperplate.model import Outcome
from tests.contract.ledger.forms import AVIF, DAY, JPG, MONTH, PNG, WEBP, form, keep, made, sizes
from tests.contract.ledger.harness import complete, discarded, peek, request_count

if TYPE_CHECKING:
    from copperplate.model import Entry
    from tests.contract.ledger.harness import LedgerHarness


class FormLimitContract:
    """64 forms of a picture are kept, 48 of them sized; what is used stays."""

    async def test_generation_keeps_48_sized_forms_and_all_whole_ones_whoever_records_them(
        self, harness: LedgerHarness
    ) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        wishes = [form(WEBP, side=side) for side in range(1, 57)]

        async def recorder(number: int) -> list[Entry | None]:
            # Written ahead by all before the first is recorded: what is counted then is counted under a lock.
            mine = [made(wish) for wish in wishes[number::8]]
            intended = [await ledger.intend_rendition(original, stored) for stored in mine]
            await written.wait()
            assert all(intended)
            return [await ledger.record_rendition(original, stored) for stored in mine]

        written = asyncio.Barrier(8)
        answers = await asyncio.gather(*map(recorder, range(8)))
        assert sum(kept is not None for part in answers for kept in part) == 48
        refused = made(form(AVIF, side=60))
        assert not await ledger.intend_rendition(original, refused)
        assert await ledger.record_rendition(original, refused) is None
        whole = [form(PNG), *(form(each, quality=q) for each in (JPG, WEBP, AVIF) for q in (40, 60, 75, 85, 95))]
        for wish in whole:
            assert await keep(harness, original, made(wish))
        assert (await ledger.kind_stats("image")).stored_bytes == 1_000 * (1 + 48 + len(whole))
        assert await harness.entry_faults() == []
        await harness.advance(3_700)
        assert len(await discarded(ledger)) == 8 + 1

    async def test_uses_of_a_form_that_is_not_kept_keep_the_picture_fresh(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        await ledger.record_usage([request_count(form(JPG, side=16), Outcome.HIT, 1)])
        assert (await ledger.kind_stats("image")).accesses == 1
        for picture_format in (WEBP, JPG):
            await keep(harness, original, made(form(picture_format)))
            await harness.advance(10 * DAY)
        await ledger.record_usage(
            [request_count(form(each, side=16), Outcome.HIT, uses) for each, uses in ((JPG, 2), (AVIF, 4))]
        )
        await ledger.record_usage([request_count(form(prompt="gone"), Outcome.HIT, 8)])
        assert (await ledger.kind_stats("image")).accesses == 7
        assert await harness.entry_faults() == []
        await harness.advance(15 * DAY)
        # The AVIF counted on the first of what is shown.
        assert (await ledger.cleanup_entries("image", 100, older_than=MONTH)).size_bytes == 0
        await harness.advance(10 * DAY)
        await ledger.record_usage([request_count(form(JPG, side=16), Outcome.HIT, 1)])
        await harness.advance(10 * DAY)
        assert (await ledger.cleanup_entries("image", 100, older_than=MONTH)).size_bytes == 1_000
        assert (await ledger.kind_stats("image")).accesses == 4
        await keep(harness, original, made(form(JPG, side=16)))
        await ledger.record_usage([request_count(form(JPG, side=16), Outcome.HIT, 1)])
        assert (await ledger.kind_stats("image")).accesses == 5
        kept = await peek(ledger, form())
        assert isinstance(kept, Hit)
        assert await ledger.report_missing(kept.entry)
        assert (await ledger.kind_stats("image")).accesses == 2
        assert await harness.entry_faults() == []

    async def test_replacing_takes_no_place_of_its_own(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, form())
        for side in range(1, 49):
            assert await keep(harness, original, made(form(side=side), version=1))
        assert await keep(harness, original, made(form(side=49), version=1)) is None
        newer = await keep(harness, original, made(form(side=7), "new", version=2))
        assert newer is not None
        assert newer.encoder_version == 2

    async def test_sized_form_grows_old_by_its_own_last_use(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        for wish in (form(), form(side=16), form(side=32)):
            await keep(harness, original, made(wish))
        await harness.advance(20 * DAY)
        await ledger.record_usage([request_count(form(), Outcome.HIT, 1), request_count(form(side=32), Outcome.HIT, 1)])
        await harness.advance(15 * DAY)
        counted = await ledger.count_old_entries("image", older_than=MONTH)
        assert (counted.pictures, counted.generations, counted.size_bytes) == (0, 0, 1_000)
        assert await ledger.cleanup_entries("image", 100, older_than=MONTH) == counted
        gone = await peek(ledger, form(side=16))
        assert isinstance(gone, Hit)
        assert gone.entry.is_original
        for wish in (form(), form(side=32)):
            hit = await peek(ledger, wish)
            assert isinstance(hit, Hit)
            assert not hit.entry.is_original
        assert await sizes(harness) == (1, 1_000, 3_000)

    async def test_shown_form_that_grows_old_alone_leaves_its_place_to_another(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        await keep(harness, original, made(form(), size_bytes=500))
        await keep(harness, original, made(form(side=16), size_bytes=20))
        await harness.advance(20 * DAY)
        await ledger.record_usage([request_count(form(side=16), Outcome.HIT, 1)])
        await harness.advance(15 * DAY)
        for pictures, generations, size_bytes, left in ((0, 0, 500, 1), (1, 1, 1_020, 0)):
            counted = await ledger.count_old_entries("image", older_than=MONTH)
            assert (counted.pictures, counted.generations, counted.size_bytes) == (pictures, generations, size_bytes)
            assert await ledger.cleanup_entries("image", 100, older_than=MONTH) == counted
            assert await sizes(harness) == (left, 20 * left, 1_020 * left)
            await harness.advance(31 * DAY)

    async def test_cleanup_counts_pictures_as_they_are_shown(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        for wish in (form(), form(WEBP), *(form(side=side) for side in range(1, 6))):
            await keep(harness, original, made(wish))
        assert (await sizes(harness))[0] == 2
        await harness.advance(35 * DAY)
        counted = await ledger.count_old_entries("image", older_than=MONTH)
        assert (counted.pictures, counted.generations, counted.size_bytes) == (2, 1, 8_000)
        assert await ledger.cleanup_entries("image", 100, older_than=MONTH) == counted
        assert await sizes(harness) == (0, 0, 0)

    async def test_sized_form_displaces_the_one_nobody_used_for_the_longest_day(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        shown = form(AVIF, side=1)
        sized = [shown, *(form(side=side) for side in range(2, 49))]
        for wish in (form(), *sized):
            assert await keep(harness, original, made(wish))
        hour = 3_600
        await harness.advance(hour)
        await ledger.record_usage([request_count(form(side=9), Outcome.HIT, 1)])
        await harness.advance(hour)
        used = [form(side=side) for side in range(2, 49) if side not in (7, 9)]
        await ledger.record_usage([request_count(wish, Outcome.HIT, 1) for wish in used])
        await harness.advance(DAY - 3 * hour)
        assert not await ledger.intend_rendition(original, made(form(side=49)))
        await harness.advance(2.5 * hour)
        assert await ledger.pin(form().generation_key)
        assert await keep(harness, original, made(form(side=49))) is None
        assert await ledger.unpin(form().generation_key)
        assert await keep(harness, original, made(form(side=50)))
        assert await peek(ledger, form(side=7)) == Hit(entry=original)
        assert await peek(ledger, form(side=9)) != Hit(entry=original)
        assert await keep(harness, original, made(form(side=51)))
        assert await peek(ledger, form(side=9)) == Hit(entry=original)
        # Those that displaced them are new, the others were used less than a day ago.
        assert await keep(harness, original, made(form(side=52))) is None
        for wish in (shown, form(side=8), form(side=50)):
            kept = await peek(ledger, wish)
            assert isinstance(kept, Hit)
            assert not kept.entry.is_original
        assert await sizes(harness) == (2, 2_000, 50_000)
        assert (await ledger.kind_stats("image")).accesses == 45
        assert await harness.entry_faults() == []
        await harness.advance(3_700)
        assert await discarded(ledger) == {made(form(side=side)).path for side in (7, 9, 49, 52)}

    async def test_sized_forms_stay_48_whoever_displaces_them(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        for wish in (form(), *(form(side=side) for side in range(1, 49))):
            assert await keep(harness, original, made(wish))
        await harness.advance(DAY + 60)
        wishes = [made(form(WEBP)), *(made(form(WEBP, side=side)) for side in range(1, 52))]
        assert all([await ledger.intend_rendition(original, stored) for stored in wishes])
        answers = await asyncio.gather(*(ledger.record_rendition(original, stored) for stored in wishes))
        assert sum(kept is not None for kept in answers) == 1 + 48
        assert (await ledger.kind_stats("image")).stored_bytes == 1_000 * (1 + 2 + 48)
        assert await harness.entry_faults() == []
