"""What every ledger promises of renditions of an original."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.ledger_answers import Hit
from tests.contract.ledger.harness import WEBP, acquire, complete, discarded, record
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class RenditionContract:
    """A rendition is intended, then recorded; one that is not recorded is discarded."""

    async def test_recorded_rendition_is_the_hit_for_its_own_key_only(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        made = await record(harness.ledger, original, picture_request(), "jpg")
        assert made is not None
        assert not made.is_original
        assert await acquire(harness.ledger, picture_request()) == Hit(entry=made)
        assert await acquire(harness.ledger, picture_request(picture_format=WEBP)) == Hit(entry=original)

    async def test_second_recorder_of_a_rendition_gets_the_first_entry(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        first = await record(harness.ledger, original, picture_request(), "first")
        second = await record(harness.ledger, original, picture_request(), "second")
        assert second == first
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == {upload("second", "jpg").path}

    async def test_rendition_that_is_recorded_twice_is_the_same_entry(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        first = await record(harness.ledger, original, picture_request(), "jpg")
        again = await harness.ledger.record_rendition(original, rendition(picture_request(), "jpg"))
        assert again == first
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == set()

    async def test_rendition_that_was_intended_and_never_recorded_is_discarded(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        assert await harness.ledger.intend_rendition(original, rendition(picture_request(), "lost"))
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == {upload("lost", "jpg").path}

    async def test_rendition_whose_removal_has_begun_is_refused(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        stored = rendition(picture_request(), "late")
        assert await harness.ledger.intend_rendition(original, stored)
        await harness.advance(3_700)
        [(identity, _, path)] = await harness.ledger.claim_discarded(10)
        assert path == stored.path
        assert await harness.ledger.record_rendition(original, stored) is None
        assert await harness.ledger.forget_discarded([identity]) == 1
        assert await harness.ledger.record_rendition(original, stored) is None
        # Whoever stored it after its removal finds it discarded anew.
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == {stored.path}

    async def test_rendition_of_a_replaced_original_is_refused(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        assert await harness.ledger.report_missing(original)
        assert not await harness.ledger.intend_rendition(original, rendition(picture_request(), "jpg"))
        assert await record(harness.ledger, original, picture_request(), "jpg") is None
