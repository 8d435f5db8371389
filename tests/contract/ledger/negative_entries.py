"""What every ledger promises of failures and of objects that are missing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit, Negative
from copperplate.model import Job, Phase
from tests.contract.ledger.harness import acquire, complete, discarded, failure, lead, record
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class NegativeEntryContract:
    """Failures, and how long they are remembered."""

    async def test_failure_is_remembered_until_its_time_is_over(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        assert await harness.ledger.fail(picture_request().generation_key, held.fence, failure(rest=60))
        negative = await acquire(harness.ledger, picture_request())
        assert isinstance(negative, Negative)
        assert negative.failure_class is FailureClass.TRANSIENT
        assert timedelta(seconds=50) < negative.retry_after <= timedelta(seconds=60)
        await harness.advance(61)
        again = await lead(harness.ledger, picture_request())
        assert (again.attempt, again.phase, again.submit_no) == (2, Phase.CLAIMED, 0)

    async def test_failure_that_is_said_twice_is_one(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        assert await harness.ledger.fail(picture_request().generation_key, held.fence, failure())
        assert await harness.ledger.fail(picture_request().generation_key, held.fence, failure())
        assert (await harness.ledger.generation_stats()).total_failed == 1

    async def test_submit_that_is_known_to_be_free_is_not_counted(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        await harness.ledger.begin_submit(picture_request().generation_key, held.fence, submit_no=1, provider="p")
        await harness.ledger.fail(picture_request().generation_key, held.fence, failure(billed=False))
        assert (await harness.ledger.generation_stats()).total_api_calls_made == 0

    @pytest.mark.parametrize(
        ("failure_class", "attempt"), [("rate_limited", 1), ("account", 1), ("transient", 2), ("moderated", 2)]
    )
    async def test_limited_rate_and_our_account_cost_no_attempt(
        self, harness: LedgerHarness, failure_class: str, attempt: int
    ) -> None:
        held = await lead(harness.ledger, picture_request())
        await harness.ledger.fail(
            picture_request().generation_key, held.fence, failure(FailureClass(failure_class), rest=1)
        )
        await harness.advance(2)
        assert (await lead(harness.ledger, picture_request())).attempt == attempt

    async def test_attempts_are_counted_anew_after_a_day(self, harness: LedgerHarness) -> None:
        for _ in range(2):
            held = await lead(harness.ledger, picture_request())
            await harness.ledger.fail(picture_request().generation_key, held.fence, failure(rest=1))
            await harness.advance(2)
        await harness.advance(86_400)
        assert (await lead(harness.ledger, picture_request())).attempt == 1

    async def test_new_attempt_begins_without_what_the_failed_one_left(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        await ledger.intend_upload(key, held.fence, upload("left"), usage={})
        await ledger.begin_decode(key, held.fence, decode_no=1)
        await ledger.fail(key, held.fence, failure(rest=1))
        await harness.advance(2)
        again = await lead(ledger, picture_request())
        assert (again.job, again.intent, again.decode_no) == (None, None, 0)
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("left").path}

    async def test_missing_original_reopens_the_generation_at_once_but_only_once_a_day(
        self, harness: LedgerHarness
    ) -> None:
        original = await complete(harness.ledger, picture_request(), "first")
        await record(harness.ledger, original, picture_request(), "jpg")
        assert await harness.ledger.report_missing(original)
        again = await complete(harness.ledger, picture_request(), "second")
        assert await harness.ledger.report_missing(again)
        negative = await acquire(harness.ledger, picture_request())
        assert isinstance(negative, Negative)
        assert negative.failure_class is FailureClass.MISSING_OBJECT
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == {
            upload("first").path,
            upload("second").path,
            upload("jpg", "jpg").path,
        }

    async def test_missing_rendition_is_made_again_from_the_original(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        made = await record(harness.ledger, original, picture_request(), "jpg")
        assert await harness.ledger.report_missing(made)
        assert await acquire(harness.ledger, picture_request()) == Hit(entry=original)

    async def test_report_about_an_entry_that_changed_meanwhile_is_ignored(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, picture_request())
        assert await harness.ledger.report_missing(original)
        assert not await harness.ledger.report_missing(original)
        entry = await complete(harness.ledger, picture_request(), "second")
        assert not await harness.ledger.report_missing(original)
        assert await acquire(harness.ledger, picture_request()) == Hit(entry=entry)
