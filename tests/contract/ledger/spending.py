"""What every ledger promises of the cost of submits, and of what serving without one saves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead
from copperplate.model import Condition, Outcome, PictureRequest
from tests.contract.ledger.credits import ALICE, acquire_charged, complete_charged
from tests.contract.ledger.harness import LEASE, failure, request_count
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


async def spend(
    ledger: Any, request: PictureRequest, *, estimate: int | None, cost: int | None, submit_no: int = 1
) -> None:
    """One submit, and what is known of its price."""
    leader, key = UUID(int=17), request.generation_key
    held = await ledger.acquire(
        request, leader=leader, lease_duration=LEASE
    )  # of one and the same holder, the same lead
    assert await ledger.begin_submit(key, held.fence, submit_no=submit_no, provider="p", estimate_micro_usd=estimate)
    if cost is not None:
        await ledger.intend_upload(key, held.fence, upload(key), usage={}, cost_micro_usd=cost)


class SpendContract:
    """What submits cost: the report counts, else the estimate, and nothing where it is known not to be billed."""

    async def test_a_reported_cost_stands_for_the_estimate(self, harness: LedgerHarness) -> None:
        await harness.ledger.grant_credits(ALICE, 1, "g")
        held = await acquire_charged(harness.ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        await harness.ledger.begin_submit(
            picture_request().generation_key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50
        )
        assert await harness.spent(picture_request().generation_key) == 50
        await harness.ledger.intend_upload(
            picture_request().generation_key, held.fence, upload("a"), usage={}, cost_micro_usd=40
        )
        assert await harness.spent(picture_request().generation_key) == 40

    async def test_a_second_submit_counts_beside_the_lost_one(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        for number in (1, 2, 2):
            await ledger.begin_submit(key, held.fence, submit_no=number, provider="p", estimate_micro_usd=50)
        await ledger.intend_upload(key, held.fence, upload("a"), usage={}, cost_micro_usd=40)
        assert await harness.spent(key) == 90

    async def test_a_submit_that_is_not_billed_costs_nothing(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50)
        await ledger.fail(key, held.fence, failure(FailureClass.RATE_LIMITED, billed=False))
        assert await harness.spent(key) == 0

    async def test_a_picture_that_was_here_keeps_its_cost_when_its_job_is_refused_later(
        self, harness: LedgerHarness
    ) -> None:
        """Its leader died before it was stored; collected again, the job is known to the provider no longer."""
        ledger, key = harness.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50)
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"out": 7}, cost_micro_usd=40)
        await ledger.fail(key, held.fence, failure(FailureClass.TRANSIENT, billed=False))
        assert await harness.spent(key) == 40
        assert (await ledger.generation_stats()).total_api_calls_made == 1

    async def test_a_picture_that_was_billed_and_is_not_usable_costs_what_was_reported(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50)
        bad = replace(failure(FailureClass.BAD_OUTPUT), usage={"out": 7}, cost_micro_usd=45)
        await ledger.fail(key, held.fence, bad)
        assert await harness.spent(key) == 45
        assert await harness.usage(key) == {"out": 7}

    async def test_savings_are_what_was_served_without_a_call_at_the_price_of_its_picture(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        await spend(ledger, picture_request("billed"), estimate=50, cost=40)
        await spend(ledger, picture_request("estimated"), estimate=50, cost=None)
        await spend(ledger, picture_request("unknown"), estimate=None, cost=None)
        for prompt in ("billed", "estimated", "unknown"):
            request = picture_request(prompt)
            await ledger.record_usage(
                [request_count(request, Outcome.GENERATED, 1), request_count(request, Outcome.COALESCED, 2)]
            )
            await ledger.record_usage(
                [request_count(request, Outcome.HIT, 1), request_count(request, Outcome.FAILED, 9)]
            )
        [image, memoji, _] = await ledger.savings()
        assert (image.kind, image.served, image.saved) == ("image", 12, 9)
        assert image.efficiency_percent == 75.0
        assert (image.spent_micro_usd, image.saved_micro_usd) == (90, 3 * 40 + 3 * 50)
        assert (image.estimated, image.unpriced, image.unpriced_saved) == (1, 1, 3)
        assert (memoji.kind, memoji.served, memoji.saved_micro_usd) == ("memoji", 0, 0)
        assert memoji.efficiency_percent is None

    async def test_five_users_of_one_link_save_four_fifths(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await spend(ledger, picture_request(), estimate=3_000, cost=3_000)
        await ledger.record_usage(
            [
                request_count(picture_request(), Outcome.GENERATED, 1),
                request_count(picture_request(), Outcome.COALESCED, 4),
            ]
        )
        stats, [image, *_] = await ledger.generation_stats(), await ledger.savings()
        assert (stats.total_api_calls_saved, stats.efficiency_percent) == (4, 80.0)
        assert image.efficiency_percent == 80.0
        assert image.saved_micro_usd == 4 * image.spent_micro_usd == 12_000

    async def test_failures_save_nothing_whatever_they_cost(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.record_usage([request_count(picture_request("refused"), Outcome.FAILED, 30)])
        await spend(ledger, picture_request("twice"), estimate=50, cost=None)
        await spend(ledger, picture_request("twice"), estimate=50, cost=50, submit_no=2)
        await ledger.record_usage([request_count(picture_request("twice"), Outcome.GENERATED, 1)])
        stats, [image, *_] = await ledger.generation_stats(), await ledger.savings()
        assert (stats.total_requests, stats.total_api_calls_saved) == (31, 0)
        assert (image.saved, image.saved_micro_usd, image.spent_micro_usd) == (0, 0, 100)

    async def test_what_was_spent_and_saved_outlives_its_generation(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        await complete_charged(ledger, picture_request(), ALICE)
        await ledger.record_usage(
            [request_count(picture_request(), Outcome.GENERATED, 1), request_count(picture_request(), Outcome.HIT, 3)]
        )
        before = await ledger.savings()
        assert before[0].spent_micro_usd == 40
        removed = await ledger.purge(Condition(key=picture_request().generation_key), 10, is_dry_run=False)
        assert removed.generations == 1
        # Counts of a picture that is gone by now arrive late, and count.
        await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 1)])
        [after, *_] = await ledger.savings()
        assert (after.spent_micro_usd, after.saved_micro_usd) == (40, 4 * 40)

    async def test_totals_of_money_are_by_kind_provider_and_model(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await spend(ledger, picture_request(), estimate=50, cost=40)
        await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 2)])
        [row] = (await ledger.usage_totals()).money
        assert (row.kind, row.provider, row.model) == ("image", "p", picture_request().model)
        counts = ("submits", "estimated", "unpriced", "spent_micro_usd", "saved", "unpriced_saved", "saved_micro_usd")
        assert [getattr(row, name) for name in counts] == [1, 0, 0, 40, 2, 0, 80]

    async def test_a_price_nobody_knows_is_unknown_and_not_zero(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await harness.spent(key) is None
