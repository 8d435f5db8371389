"""What every ledger promises of services that refuse us."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead, Negative
from copperplate.model import Job
from tests.contract.ledger.harness import LEASE, REST, STORAGE, acquire_with_services, fail_at, failure, finish, lead
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.ledger_answers import AcquireResult
    from tests.contract.ledger.harness import LedgerHarness


async def refuse_at(harness: LedgerHarness, prompt: str) -> bool:
    """Ask the painter for a picture, which refuses us; whether that began a rest."""
    held = await acquire_with_services(harness, prompt)
    assert isinstance(held, Lead), held
    key = picture_request(prompt).generation_key
    assert await harness.ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
    is_first: bool = await harness.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
    account = failure(FailureClass.ACCOUNT, rest=REST.total_seconds(), billed=False)
    assert await harness.ledger.fail(key, held.fence, account)
    return is_first


class RefusalContract:
    """A service that refuses us, whatever it is asked, rests for seconds, for everybody, and is then tried by one."""

    @pytest.mark.parametrize(("name", "expected"), [("painter", "account"), (STORAGE, "store")])
    async def test_refusal_lets_every_prompt_rest_and_tells_whose_it_is(
        self, harness: LedgerHarness, name: str, expected: str
    ) -> None:
        assert await harness.ledger.report_refusal(name, FailureClass(expected), "no money", REST)
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass(expected)
        assert timedelta(seconds=5) < refused.retry_after <= REST
        # Nothing was written, and whoever needs another service is not kept.
        assert (await lead(harness.ledger, picture_request("another picture"))).attempt == 1

    async def test_of_many_reports_one_begins_the_rest(self, harness: LedgerHarness) -> None:
        reports = (harness.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST) for _ in range(20))
        assert Counter(await asyncio.gather(*reports)) == {True: 1, False: 19}
        await harness.advance(16)
        assert await harness.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)

    async def test_refused_generation_is_free_again_when_the_rest_is_over_and_cost_nothing(
        self, harness: LedgerHarness
    ) -> None:
        await refuse_at(harness, "picture")
        refused = await acquire_with_services(harness, "picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.ACCOUNT
        await harness.advance(16)
        again = await acquire_with_services(harness, "picture")
        assert isinstance(again, Lead)
        assert (again.attempt, again.submit_no) == (1, 0)
        assert (await harness.ledger.generation_stats()).total_api_calls_made == 0
        assert await harness.spent(picture_request("picture").generation_key) in (0, None)

    async def test_after_a_rest_one_caller_at_a_time_tries_each_service(self, harness: LedgerHarness) -> None:
        await harness.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await harness.ledger.report_refusal(STORAGE, FailureClass.STORE, "no bucket", REST)
        await harness.advance(16)
        results = await asyncio.gather(*(acquire_with_services(harness, f"other {number}") for number in range(10)))
        assert Counter(type(result) for result in results) == {Lead: 1, Negative: 9}
        # Whoever needs one of them alone is no second try of it.
        alone = await harness.ledger.acquire(
            picture_request("alone"), leader=uuid4(), lease_duration=LEASE, breakers=(STORAGE,)
        )
        assert isinstance(alone, Negative)

    async def test_try_that_is_refused_begins_the_next_rest_and_no_longer_one(self, harness: LedgerHarness) -> None:
        for _ in range(4):
            assert await refuse_at(harness, "picture")
            refused = await acquire_with_services(harness, "another picture")
            assert isinstance(refused, Negative)
            assert refused.retry_after <= REST
            await harness.advance(16)

    async def test_try_that_fails_for_its_prompt_lets_the_next_caller_try_both_services(
        self, harness: LedgerHarness
    ) -> None:
        await harness.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await harness.ledger.report_refusal(STORAGE, FailureClass.STORE, "no bucket", REST)
        await harness.advance(16)
        await fail_at(harness, "tried", FailureClass.MODERATED)
        assert isinstance(await acquire_with_services(harness, "the next"), Lead)

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_try_whose_prompt_may_be_at_fault_prolongs_no_rest_but_five_in_a_row_are_one(
        self, harness: LedgerHarness, failure_class: FailureClass
    ) -> None:
        await refuse_at(harness, "picture")
        await harness.advance(16)
        for number in range(5):
            await fail_at(harness, f"prompt {number}", failure_class)
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.retry_after > timedelta(seconds=15)

    async def test_rest_for_another_failure_keeps_no_words_of_the_last(self, harness: LedgerHarness) -> None:
        await refuse_at(harness, "picture")
        assert await harness.reason("painter") == "no money"
        await harness.advance(16)
        await fail_at(harness, "tried")
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.TRANSIENT
        assert await harness.reason("painter") == ""

    async def test_refused_model_rests_and_the_providers_others_are_made(self, harness: LedgerHarness) -> None:
        model = f"painter/{picture_request('one').recipe['model']}"
        breakers = ("painter", model, STORAGE)
        assert await harness.ledger.report_refusal(model, FailureClass.ACCOUNT, "no such model", REST)

        async def ask(prompt: str, names: tuple[str, ...]) -> AcquireResult:
            result: AcquireResult = await harness.ledger.acquire(
                picture_request(prompt), leader=uuid4(), lease_duration=LEASE, breakers=names
            )
            return result

        assert isinstance(await ask("one", breakers), Negative)
        assert isinstance(await ask("of another model", ("painter", "painter/other", STORAGE)), Lead)
        await harness.advance(16)
        # The try frees all that it took, and a picture ends the rest of its model, too.
        tried = await ask("one", breakers)
        assert isinstance(tried, Lead)
        key = picture_request("one").generation_key
        assert await harness.ledger.begin_submit(key, tried.fence, submit_no=1, provider="painter")
        assert await harness.ledger.fail(key, tried.fence, failure(FailureClass.MODERATED))
        tried = await ask("two", breakers)
        assert isinstance(tried, Lead)
        await finish(harness.ledger, picture_request("two"), tried)
        assert isinstance(await ask("three", breakers), Lead)
        assert isinstance(await ask("four", breakers), Lead)

    async def test_picture_ends_the_rests_of_all_it_needed(self, harness: LedgerHarness) -> None:
        await harness.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await harness.ledger.report_refusal(STORAGE, FailureClass.STORE, "no bucket", REST)
        await harness.advance(16)
        tried = await acquire_with_services(harness, "tried")
        assert isinstance(tried, Lead)
        await finish(harness.ledger, picture_request("tried"), tried)
        assert isinstance(await acquire_with_services(harness, "one"), Lead)
        assert isinstance(await acquire_with_services(harness, "two"), Lead)

    async def test_picture_asked_for_before_the_refusal_says_nothing_of_the_account(
        self, harness: LedgerHarness
    ) -> None:
        held = await lead(harness.ledger, picture_request("asked before"))
        await harness.ledger.begin_submit(
            picture_request("asked before").generation_key, held.fence, submit_no=1, provider="painter"
        )
        await harness.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await finish(harness.ledger, picture_request("asked before"), held)
        assert isinstance(await acquire_with_services(harness, "another picture"), Negative)

    @pytest.mark.parametrize("left", ["job", "object"])
    async def test_what_is_paid_for_is_led_on_whatever_rests(self, harness: LedgerHarness, left: str) -> None:
        ledger, key = harness.ledger, picture_request("paid").generation_key
        held = await lead(ledger, picture_request("paid"))
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
        if left == "job":
            await ledger.note_request(key, held.fence, Job(request_id="r"))
        else:
            await ledger.intend_upload(key, held.fence, upload("paid"), usage={})
        await harness.advance(LEASE.total_seconds() + 1)
        for name, failure_class in (("painter", FailureClass.ACCOUNT), (STORAGE, FailureClass.STORE)):
            await ledger.report_refusal(name, failure_class, "no", REST)
        resumed = await acquire_with_services(harness, "paid")
        assert isinstance(resumed, Lead)
        assert (resumed.job or resumed.intent) is not None

    async def test_late_failure_changes_neither_the_rest_nor_what_is_told(self, harness: LedgerHarness) -> None:
        late = await acquire_with_services(harness, "late")
        assert isinstance(late, Lead)
        await refuse_at(harness, "picture")
        key = picture_request("late").generation_key
        await harness.ledger.begin_submit(key, late.fence, submit_no=1, provider="painter")
        await harness.ledger.fail(key, late.fence, failure())
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.ACCOUNT
        assert refused.retry_after <= REST
