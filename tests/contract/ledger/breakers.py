"""What every ledger promises of the breaker of a provider."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit, Lead, Negative
from copperplate.model import Job
from tests.contract.ledger.harness import LEASE, acquire_with_services, complete, fail_at, failure, finish, lead
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class BreakerContract:
    """A provider that fails and fails is left alone for a while, by everybody."""

    async def test_five_failures_in_a_row_open_the_breaker_for_half_a_minute(self, harness: LedgerHarness) -> None:
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.TRANSIENT
        assert timedelta(seconds=20) < refused.retry_after <= timedelta(seconds=30)
        # Nothing was written: whoever asks by another provider leads, at its first attempt.
        other = await lead(harness.ledger, picture_request("another picture"))
        assert other.attempt == 1

    async def test_failures_after_its_rest_are_counted_from_none(self, harness: LedgerHarness) -> None:
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        await harness.advance(31)
        for number in range(4):  # each may be its prompt's fault; a fifth would be the service's
            await fail_at(harness, f"prompt {number}", FailureClass.INVALID)
        assert isinstance(await acquire_with_services(harness, "another picture"), Lead)

    async def test_job_that_was_put_off_while_it_is_open_says_nothing_new_afterwards(
        self, harness: LedgerHarness
    ) -> None:
        key = picture_request("late").generation_key
        late = await acquire_with_services(harness, "late")
        assert isinstance(late, Lead)
        assert await harness.ledger.begin_submit(key, late.fence, submit_no=1, provider="painter")
        assert await harness.ledger.note_request(key, late.fence, Job(request_id="r-1", urls={}))
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        put_off = failure(FailureClass.UNCOLLECTED, rest=1)
        assert await harness.ledger.fail(key, late.fence, put_off)
        await harness.advance(31)
        again = await acquire_with_services(harness, "late")
        assert isinstance(again, Lead)
        assert await harness.ledger.fail(key, again.fence, put_off)
        assert isinstance(await acquire_with_services(harness, "another picture"), Lead)

    async def test_failures_that_speak_of_the_prompt_do_not_count(self, harness: LedgerHarness) -> None:
        for number in range(8):
            await fail_at(harness, f"picture {number}", FailureClass.MODERATED)
        assert isinstance(await acquire_with_services(harness, "another picture"), Lead)

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_same_failure_of_five_pictures_opens_the_breaker(
        self, harness: LedgerHarness, failure_class: FailureClass
    ) -> None:
        for number in range(5):
            assert isinstance(await fail_at(harness, f"picture {number}", failure_class), Lead)
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        # That no prompt is accepted is no fault of the next one, and that it would be rubbish is not certain.
        expected = FailureClass.ACCOUNT if failure_class is FailureClass.INVALID else FailureClass.TRANSIENT
        assert refused.failure_class is expected

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_one_picture_that_cannot_be_had_opens_nothing_however_often_it_is_asked(
        self, harness: LedgerHarness, failure_class: FailureClass
    ) -> None:
        for number in range(4):
            await fail_at(harness, f"picture {number}", FailureClass.BAD_OUTPUT)
        for _ in range(3):
            await harness.advance(61)
            await fail_at(harness, "picture 0", failure_class)
        assert isinstance(await acquire_with_services(harness, "another picture"), Lead)

    async def test_completed_picture_ends_the_row_of_failures(self, harness: LedgerHarness) -> None:
        for number in range(4):
            await fail_at(harness, f"picture {number}")
        await complete(harness.ledger, picture_request("made"))
        await fail_at(harness, "one more")
        assert isinstance(await acquire_with_services(harness, "another picture"), Lead)

    async def test_stored_pictures_are_served_while_the_breaker_is_open(self, harness: LedgerHarness) -> None:
        entry = await complete(harness.ledger, picture_request("made"))
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        assert await acquire_with_services(harness, "made") == Hit(entry=entry)

    async def test_job_that_is_known_is_collected_while_the_breaker_is_open(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request("paid").generation_key
        held = await lead(ledger, picture_request("paid"))
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        await harness.advance(LEASE.total_seconds() + 1)
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        resumed = await acquire_with_services(harness, "paid")
        assert isinstance(resumed, Lead)
        assert resumed.job == Job(request_id="r")

    async def test_after_its_rest_one_caller_at_a_time_tries(self, harness: LedgerHarness) -> None:
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        await harness.advance(31)
        results = await asyncio.gather(*(acquire_with_services(harness, f"other {number}") for number in range(10)))
        assert Counter(type(result) for result in results) == {Lead: 1, Negative: 9}
        # The one that tries dies; its lease bounds how long the others wait for it.
        await harness.advance(LEASE.total_seconds() + 1)
        assert isinstance(await acquire_with_services(harness, "the next"), Lead)

    async def test_try_that_fails_doubles_the_rest_up_to_two_minutes(self, harness: LedgerHarness) -> None:
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        for number, seconds in enumerate((30, 60, 120, 120)):
            refused = await acquire_with_services(harness, "another picture")
            assert isinstance(refused, Negative)
            assert seconds - 10 < refused.retry_after.total_seconds() <= seconds
            await harness.advance(seconds + 1)
            await fail_at(harness, f"try {number}")

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.AMBIGUOUS])
    async def test_refused_caller_is_told_no_answer_that_only_others_had(
        self, harness: LedgerHarness, failure_class: FailureClass
    ) -> None:
        for number in range(5):
            await fail_at(harness, f"picture {number}", failure_class)
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.TRANSIENT

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_try_that_fails_as_what_opened_the_breaker_rests_again(
        self, harness: LedgerHarness, failure_class: FailureClass
    ) -> None:
        for number in range(5):
            await fail_at(harness, f"picture {number}", failure_class)
        await harness.advance(31)
        await fail_at(harness, "tried", failure_class)
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.retry_after > timedelta(seconds=30)

    async def test_try_that_succeeds_closes_the_breaker(self, harness: LedgerHarness) -> None:
        for number in range(5):
            await fail_at(harness, f"picture {number}")
        await harness.advance(31)
        tried = await acquire_with_services(harness, "tried")
        assert isinstance(tried, Lead)
        await finish(harness.ledger, picture_request("tried"), tried)
        assert isinstance(await acquire_with_services(harness, "one"), Lead)
        assert isinstance(await acquire_with_services(harness, "two"), Lead)
