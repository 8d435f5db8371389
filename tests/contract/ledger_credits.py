"""What every ledger promises of credits: reserved with the lead, settled once, never given back after delivery."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from copperplate.errors import LedgerUnavailable
from copperplate.model import (
    AcquireResult,
    Charge,
    Condition,
    Credits,
    Entry,
    FailureClass,
    Hit,
    IdempotencyRecord,
    InsufficientCredits,
    Lead,
    Miss,
    Outcome,
    PictureRequest,
    Wait,
)
from tests.contract.ledger import LEASE, failure, use
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger import Desk

ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
ANSWER = {"url": "https://example.com/a.png", "cached": False}


async def ask(ledger: Any, asked: PictureRequest, user: UUID, *, leader: UUID | None = None) -> AcquireResult:
    """Acquire, to be paid by `user`."""
    charges = [Charge(user=user)]
    result: AcquireResult = await ledger.acquire(asked, leader=leader or uuid4(), lease_duration=LEASE, charges=charges)
    return result


async def ask_and_complete(ledger: Any, asked: PictureRequest, user: UUID, name: str = "a") -> Entry:
    """Lead on somebody's account, and complete."""
    held = await ask(ledger, asked, user)
    assert isinstance(held, Lead), held
    return await finish(ledger, asked, held, name)


async def finish(ledger: Any, asked: PictureRequest, held: Lead, name: str = "a") -> Entry:
    key, fence = asked.generation_key, held.fence
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="p", estimate_micro_usd=50)
    assert await ledger.intend_upload(key, fence, upload(name), usage={}, cost_micro_usd=40)
    entry: Entry | None = await ledger.complete(key, fence, upload(name), url=None)
    assert entry is not None
    return entry


async def has(ledger: Any, user: UUID) -> tuple[int, int]:
    """Balance and held, after everything was audited."""
    audit = await ledger.audit_credits()
    assert audit["faults"] == []
    assert audit["balance"] == audit["granted"] - audit["settled"] + audit["refunded"]
    found: Credits = await ledger.credits(user)
    return found.balance, found.held


async def spend(
    ledger: Any, asked: PictureRequest, *, estimate: int | None, cost: int | None, submit_no: int = 1
) -> None:
    """One submit, and what is known of its price."""
    leader, key = UUID(int=17), asked.generation_key
    held = await ledger.acquire(asked, leader=leader, lease_duration=LEASE)  # of one and the same holder, the same lead
    assert await ledger.begin_submit(key, held.fence, submit_no=submit_no, provider="p", estimate_micro_usd=estimate)
    if cost is not None:
        await ledger.intend_upload(key, held.fence, upload(key), usage={}, cost_micro_usd=cost)


class CreditContract:
    """The suite."""

    async def test_nobody_has_credits_before_they_are_granted_some(self, desk: Desk) -> None:
        assert await desk.ledger.credits(ALICE) == Credits(balance=0, held=0)
        assert await ask(desk.ledger, picture_request(), ALICE) == InsufficientCredits()
        assert await desk.ledger.peek(picture_request().generation_key, picture_request().rendition_key) == Miss()

    async def test_a_grant_counts_once_per_reference(self, desk: Desk) -> None:
        for _ in range(3):
            assert await desk.ledger.grant_credits(ALICE, 5, "order 1") == Credits(balance=5, held=0)
        assert await desk.ledger.grant_credits(ALICE, 2, "order 2") == Credits(balance=7, held=0)

    async def test_a_reference_that_names_its_user_is_refused_as_it_outlives_them(self, desk: Desk) -> None:
        for spelled in (str(ALICE), str(ALICE).upper(), ALICE.hex):
            with pytest.raises(LedgerUnavailable):
                await desk.ledger.grant_credits(ALICE, 1, f"welcome {spelled}")
        assert await has(desk.ledger, ALICE) == (0, 0)

    async def test_a_lead_holds_and_a_completion_settles(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 2, "g")
        held = await ask(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        assert await has(ledger, ALICE) == (2, 1)
        entry = await finish(ledger, picture_request(), held)
        assert await has(ledger, ALICE) == (1, 0)
        # Said again: the same answer, and nothing is settled twice.
        assert await ledger.complete(picture_request().generation_key, held.fence, upload("a"), url=None) == entry
        assert await has(ledger, ALICE) == (1, 0)

    async def test_a_hit_costs_nothing_with_or_without_credits(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        entry = await ask_and_complete(ledger, picture_request(), ALICE)
        assert await ask(ledger, picture_request(), ALICE) == Hit(entry=entry)
        assert await ask(ledger, picture_request(), BOB) == Hit(entry=entry)
        assert await has(ledger, ALICE) == (0, 0)

    async def test_a_repeated_acquire_of_the_holder_reserves_once(self, desk: Desk) -> None:
        ledger, leader = desk.ledger, uuid4()
        await ledger.grant_credits(ALICE, 3, "g")
        first = await ask(ledger, picture_request(), ALICE, leader=leader)
        assert await ask(ledger, picture_request(), ALICE, leader=leader) == first
        assert await has(ledger, ALICE) == (3, 1)

    async def test_a_follower_waits_without_credit_and_pays_nothing(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        held = await ask(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        assert isinstance(await ask(ledger, picture_request(), BOB), Wait)
        entry = await finish(ledger, picture_request(), held)
        assert await ask(ledger, picture_request(), BOB) == Hit(entry=entry)
        assert (await has(ledger, ALICE), await has(ledger, BOB)) == ((0, 0), (0, 0))

    async def test_the_last_credit_is_reserved_once(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        verdicts = await asyncio.gather(*(ask(ledger, picture_request(f"picture {n}"), ALICE) for n in range(10)))
        assert sorted(type(each).__name__ for each in verdicts) == ["InsufficientCredits"] * 9 + ["Lead"]
        assert await has(ledger, ALICE) == (1, 1)

    async def test_whoever_is_denied_leaves_nothing_behind(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert await ask(ledger, picture_request(), BOB) == InsufficientCredits()
        assert isinstance(await ask(ledger, picture_request(), ALICE), Lead)

    async def test_a_takeover_inherits_what_was_reserved(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await ask(ledger, picture_request(), ALICE), Lead)
        await desk.advance(21)
        held = await ask(desk.ledger, picture_request(), BOB)  # who has no credit of his own
        assert isinstance(held, Lead)
        assert await has(ledger, ALICE) == (1, 1)
        await finish(ledger, picture_request(), held)
        assert (await has(ledger, ALICE), await has(ledger, BOB)) == ((0, 0), (0, 0))

    async def test_a_failure_releases_and_the_next_attempt_is_paid_by_who_makes_it(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        await ledger.grant_credits(BOB, 1, "h")
        held = await ask(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        for _ in range(2):  # said twice, it is released once
            assert await ledger.fail(key, held.fence, failure(FailureClass.TRANSIENT, rest=5))
        assert await has(ledger, ALICE) == (1, 0)
        await desk.advance(6)
        await ask_and_complete(ledger, picture_request(), BOB)
        assert (await has(ledger, ALICE), await has(ledger, BOB)) == ((1, 0), (0, 0))

    async def test_a_stale_leader_settles_and_releases_nothing(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        old = await ask(ledger, picture_request(), ALICE)
        assert isinstance(old, Lead)
        await desk.advance(21)
        new = await ask(ledger, picture_request(), BOB)
        assert isinstance(new, Lead)
        assert not await ledger.fail(key, old.fence, failure())
        assert await ledger.complete(key, old.fence, upload("old"), url=None) is None
        assert await has(ledger, ALICE) == (1, 1)

    async def test_the_sweep_releases_what_nobody_works_on_and_leaves_what_is_led(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 2, "g")
        assert isinstance(await ask(ledger, picture_request("dead"), ALICE), Lead)
        living = await ask(ledger, picture_request("alive"), ALICE)
        assert isinstance(living, Lead)
        await desk.advance(901)
        held = await ask(ledger, picture_request("alive"), ALICE)
        assert isinstance(held, Lead)
        await ledger.sweep(100)
        assert await has(ledger, ALICE) == (2, 1)
        await finish(ledger, picture_request("alive"), held)
        assert await has(ledger, ALICE) == (1, 0)

    async def test_what_lapsed_is_free_before_any_sweep(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request("dead").generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await ask(ledger, picture_request("dead"), ALICE), Lead)
        await desk.advance(890)
        assert await ask(ledger, picture_request("another"), ALICE) == InsufficientCredits()
        await desk.advance(11)
        assert await has(ledger, ALICE) == (1, 0)
        assert (await ledger.audit_credits())["held"] == 0
        assert (await ledger.deliver(ALICE, key, ANSWER, None))["credits"] == 1
        # Her own ask settles it: what was held is released with the new reservation.
        held = await ask(ledger, picture_request("another"), ALICE)
        assert isinstance(held, Lead)
        assert await has(ledger, ALICE) == (1, 1)
        await finish(ledger, picture_request("another"), held)
        assert await has(ledger, ALICE) == (0, 0)

    async def test_a_leader_that_is_slow_but_alive_keeps_what_it_holds(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        slow = await ask(ledger, picture_request("slow"), ALICE)
        assert isinstance(slow, Lead)
        assert await ledger.heartbeat(picture_request("slow").generation_key, slow.fence, timedelta(seconds=950))
        await desk.advance(940)
        assert await has(ledger, ALICE) == (1, 1)
        assert await ask(ledger, picture_request("another"), ALICE) == InsufficientCredits()
        await finish(ledger, picture_request("slow"), slow)
        assert await has(ledger, ALICE) == (0, 0)

    async def test_a_takeover_of_what_lapsed_is_paid_by_who_takes_it_over(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        await ledger.grant_credits(BOB, 1, "h")
        assert isinstance(await ask(ledger, picture_request(), ALICE), Lead)
        await desk.advance(901)
        held = await ask(ledger, picture_request(), BOB)
        assert isinstance(held, Lead)
        assert (await has(ledger, ALICE), await has(ledger, BOB)) == ((1, 0), (1, 1))
        await finish(ledger, picture_request(), held)
        assert (await has(ledger, ALICE), await has(ledger, BOB)) == ((1, 0), (0, 0))

    async def test_who_cannot_pay_leaves_even_what_lapsed_as_it_was(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await ask(ledger, picture_request(), ALICE), Lead)
        await desk.advance(901)
        assert await ask(ledger, picture_request(), BOB) == InsufficientCredits()
        assert await has(ledger, ALICE) == (1, 0)
        assert isinstance(await ask(ledger, picture_request(), ALICE), Lead)
        assert await has(ledger, ALICE) == (1, 1)

    async def test_a_job_collected_after_the_release_is_paid_by_who_collects(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await ask(ledger, picture_request(), ALICE), Lead)
        await desk.advance(901)
        await ledger.sweep(100)
        assert await ask(ledger, picture_request(), BOB) == InsufficientCredits()
        assert isinstance(await ask(ledger, picture_request(), ALICE), Lead)
        assert await has(ledger, ALICE) == (1, 1)

    async def test_a_picture_gone_before_it_was_delivered_is_refunded_once(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        entry = await ask_and_complete(ledger, picture_request(), ALICE)
        assert await has(ledger, ALICE) == (0, 0)
        for _ in range(2):
            await ledger.report_missing(entry)
        assert await has(ledger, ALICE) == (1, 0)
        assert (await ledger.audit_credits())["refunded"] == 1

    async def test_nothing_is_refunded_after_delivery(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 3, "g")
        entry = await ask_and_complete(ledger, picture_request(), ALICE)
        assert await ledger.deliver(ALICE, key, ANSWER, None) == {**ANSWER, "credits": 2}
        assert await ledger.report_missing(entry)
        assert await has(ledger, ALICE) == (2, 0)

    async def test_delivery_to_somebody_else_is_none(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        entry = await ask_and_complete(ledger, picture_request(), ALICE)
        assert await ledger.deliver(BOB, key, ANSWER, None) == {**ANSWER, "credits": 0}
        await ledger.report_missing(entry)
        assert await has(ledger, ALICE) == (1, 0)

    async def test_a_refund_of_nothing_is_refused(self, desk: Desk) -> None:
        assert not await desk.ledger.refund_credits(uuid4())

    async def test_an_ask_under_a_key_has_one_answer(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 2, "g")
        assert await ledger.begin_request(ALICE, key, "k") == IdempotencyRecord(is_conflict=False, answer=None)
        await ask_and_complete(ledger, picture_request(), ALICE)
        first = await ledger.deliver(ALICE, key, ANSWER, "k")
        assert first == {**ANSWER, "credits": 1}
        await ledger.grant_credits(ALICE, 1, "h")
        assert await ledger.deliver(ALICE, key, {**ANSWER, "cached": True}, "k") == first
        assert await ledger.begin_request(ALICE, key, "k") == IdempotencyRecord(is_conflict=False, answer=first)

    async def test_a_key_stands_for_one_generation_of_one_user_for_a_day(self, desk: Desk) -> None:
        ledger, key, other = desk.ledger, picture_request().generation_key, picture_request("another").generation_key
        await ledger.begin_request(ALICE, key, "k")
        assert await ledger.begin_request(ALICE, other, "k") == IdempotencyRecord(is_conflict=True, answer=None)
        assert await ledger.begin_request(BOB, other, "k") == IdempotencyRecord(is_conflict=False, answer=None)
        await desk.advance(86_401)
        assert await ledger.begin_request(ALICE, other, "k") == IdempotencyRecord(is_conflict=False, answer=None)

    async def test_an_ask_without_a_key_is_remembered_for_a_day_from_the_last_time(self, desk: Desk) -> None:
        key = picture_request().generation_key
        for _ in range(3):
            assert await desk.ledger.begin_request(BOB, key, None) == IdempotencyRecord(is_conflict=False, answer=None)
            await desk.advance(80_000)
        await desk.ledger.sweep(100)
        assert await desk.ledger.is_requested_by(BOB, key)
        await desk.advance(80_000)
        await desk.ledger.sweep(100)
        assert not await desk.ledger.is_requested_by(BOB, key)

    async def test_only_who_asked_or_paid_is_told_of_a_generation(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        assert not await ledger.is_requested_by(ALICE, key)
        await ask(ledger, picture_request(), ALICE)
        await ledger.begin_request(BOB, key, None)
        assert await ledger.is_requested_by(ALICE, key)
        assert await ledger.is_requested_by(BOB, key)
        assert not await ledger.is_requested_by(UUID(int=3), key)

    async def test_the_sweep_forgets_asks_of_yesterday(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.begin_request(BOB, key, None)
        await desk.advance(86_401)
        await ledger.sweep(100)
        assert not await ledger.is_requested_by(BOB, key)

    async def test_a_user_who_is_forgotten_leaves_sums_and_no_name(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 5, "g")
        await ledger.begin_request(ALICE, key, "k")
        await ask_and_complete(ledger, picture_request(), ALICE)
        before = await ledger.audit_credits()
        assert await ledger.forget_user(ALICE)
        assert not await ledger.forget_user(ALICE)
        assert await ledger.audit_credits() == before
        assert await ledger.credits(ALICE) == Credits(balance=0, held=0)
        assert not await ledger.is_requested_by(ALICE, key)

    async def test_a_generation_under_way_of_a_forgotten_user_is_settled(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        held = await ask(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        await ledger.forget_user(ALICE)
        await finish(ledger, picture_request(), held)
        audit = await ledger.audit_credits()
        assert (audit["balance"], audit["held"], audit["settled"], audit["faults"]) == (0, 0, 1, [])


class SpendContract:
    """What submits cost: the report counts, else the estimate, and nothing where it is known not to be billed."""

    async def test_a_reported_cost_stands_for_the_estimate(self, desk: Desk) -> None:
        await desk.ledger.grant_credits(ALICE, 1, "g")
        held = await ask(desk.ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        await desk.ledger.begin_submit(
            picture_request().generation_key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50
        )
        assert await desk.spent(picture_request().generation_key) == 50
        await desk.ledger.intend_upload(
            picture_request().generation_key, held.fence, upload("a"), usage={}, cost_micro_usd=40
        )
        assert await desk.spent(picture_request().generation_key) == 40

    async def test_a_second_submit_counts_beside_the_lost_one(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        for number in (1, 2, 2):
            await ledger.begin_submit(key, held.fence, submit_no=number, provider="p", estimate_micro_usd=50)
        await ledger.intend_upload(key, held.fence, upload("a"), usage={}, cost_micro_usd=40)
        assert await desk.spent(key) == 90

    async def test_a_submit_that_is_not_billed_costs_nothing(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50)
        await ledger.fail(key, held.fence, failure(FailureClass.RATE_LIMITED, billed=False))
        assert await desk.spent(key) == 0

    async def test_a_picture_that_was_here_keeps_its_cost_when_its_job_is_refused_later(self, desk: Desk) -> None:
        """Its leader died before it was stored; collected again, the job is known to the provider no longer."""
        ledger, key = desk.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50)
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"out": 7}, cost_micro_usd=40)
        await ledger.fail(key, held.fence, failure(FailureClass.TRANSIENT, billed=False))
        assert await desk.spent(key) == 40
        assert (await ledger.generation_stats()).total_api_calls_made == 1

    async def test_a_picture_that_was_billed_and_is_not_usable_costs_what_was_reported(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p", estimate_micro_usd=50)
        bad = replace(failure(FailureClass.BAD_OUTPUT), usage={"out": 7}, cost_micro_usd=45)
        await ledger.fail(key, held.fence, bad)
        assert await desk.spent(key) == 45
        assert await desk.usage(key) == {"out": 7}

    async def test_savings_are_what_was_served_without_a_call_at_the_price_of_its_picture(self, desk: Desk) -> None:
        ledger = desk.ledger
        await spend(ledger, picture_request("billed"), estimate=50, cost=40)
        await spend(ledger, picture_request("estimated"), estimate=50, cost=None)
        await spend(ledger, picture_request("unknown"), estimate=None, cost=None)
        for prompt in ("billed", "estimated", "unknown"):
            asked = picture_request(prompt)
            await ledger.record_usage([use(asked, Outcome.GENERATED, 1), use(asked, Outcome.COALESCED, 2)])
            await ledger.record_usage([use(asked, Outcome.HIT, 1), use(asked, Outcome.FAILED, 9)])
        [image, memoji] = await ledger.savings()
        assert (image.kind, image.served, image.saved) == ("image", 12, 9)
        assert image.efficiency_percent == 75.0
        assert (image.spent_micro_usd, image.saved_micro_usd) == (90, 3 * 40 + 3 * 50)
        assert (image.estimated, image.unpriced, image.unpriced_saved) == (1, 1, 3)
        assert (memoji.kind, memoji.served, memoji.saved_micro_usd) == ("memoji", 0, 0)
        assert memoji.efficiency_percent is None

    async def test_five_users_of_one_link_save_four_fifths(self, desk: Desk) -> None:
        ledger = desk.ledger
        await spend(ledger, picture_request(), estimate=3_000, cost=3_000)
        await ledger.record_usage(
            [use(picture_request(), Outcome.GENERATED, 1), use(picture_request(), Outcome.COALESCED, 4)]
        )
        stats, [image, _] = await ledger.generation_stats(), await ledger.savings()
        assert (stats.total_api_calls_saved, stats.efficiency_percent) == (4, 80.0)
        assert image.efficiency_percent == 80.0
        assert image.saved_micro_usd == 4 * image.spent_micro_usd == 12_000

    async def test_failures_save_nothing_whatever_they_cost(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.record_usage([use(picture_request("refused"), Outcome.FAILED, 30)])
        await spend(ledger, picture_request("twice"), estimate=50, cost=None)
        await spend(ledger, picture_request("twice"), estimate=50, cost=50, submit_no=2)
        await ledger.record_usage([use(picture_request("twice"), Outcome.GENERATED, 1)])
        stats, [image, _] = await ledger.generation_stats(), await ledger.savings()
        assert (stats.total_requests, stats.total_api_calls_saved) == (31, 0)
        assert (image.saved, image.saved_micro_usd, image.spent_micro_usd) == (0, 0, 100)

    async def test_what_was_spent_and_saved_outlives_its_generation(self, desk: Desk) -> None:
        ledger = desk.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        await ask_and_complete(ledger, picture_request(), ALICE)
        await ledger.record_usage(
            [use(picture_request(), Outcome.GENERATED, 1), use(picture_request(), Outcome.HIT, 3)]
        )
        before = await ledger.savings()
        assert before[0].spent_micro_usd == 40
        gone = await ledger.purge(Condition(key=picture_request().generation_key), 10, is_dry_run=False)
        assert gone.generations == 1
        # Counts of a picture that is gone by now arrive late, and count.
        await ledger.record_usage([use(picture_request(), Outcome.HIT, 1)])
        [after, _] = await ledger.savings()
        assert (after.spent_micro_usd, after.saved_micro_usd) == (40, 4 * 40)

    async def test_totals_of_money_are_by_kind_provider_and_model(self, desk: Desk) -> None:
        ledger = desk.ledger
        await spend(ledger, picture_request(), estimate=50, cost=40)
        await ledger.record_usage([use(picture_request(), Outcome.HIT, 2)])
        [row] = (await ledger.usage_totals()).money
        assert (row.kind, row.provider, row.model) == ("image", "p", picture_request().model)
        counts = ("submits", "estimated", "unpriced", "spent_micro_usd", "saved", "unpriced_saved", "saved_micro_usd")
        assert [getattr(row, name) for name in counts] == [1, 0, 0, 40, 2, 0, 80]

    async def test_a_price_nobody_knows_is_unknown_and_not_zero(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await ledger.acquire(picture_request(), leader=uuid4(), lease_duration=LEASE)
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await desk.spent(key) is None
