"""What every ledger promises of credits: reserved with the lead, settled once, never given back after delivery."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from copperplate.budgets import Charge, Credits
from copperplate.errors import LedgerUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import AcquireResult, Hit, InsufficientCredits, Lead, Miss, Wait
from tests.contract.ledger.harness import LEASE, failure
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.model import Entry, PictureRequest
    from tests.contract.ledger.harness import LedgerHarness

ALICE, BOB = UUID(int=0xA11CE), UUID(int=0xB0B)
ANSWER = {"url": "https://example.com/a.png", "cached": False}


async def acquire_charged(
    ledger: Any, request: PictureRequest, user: UUID, *, leader: UUID | None = None
) -> AcquireResult:
    """Acquire, to be paid by `user`."""
    charges = [Charge(user=user)]
    result: AcquireResult = await ledger.acquire(
        request, leader=leader or uuid4(), lease_duration=LEASE, charges=charges
    )
    return result


async def complete_charged(ledger: Any, request: PictureRequest, user: UUID, name: str = "a") -> Entry:
    """Lead on somebody's account, and complete."""
    held = await acquire_charged(ledger, request, user)
    assert isinstance(held, Lead), held
    return await finish(ledger, request, held, name)


async def finish(ledger: Any, request: PictureRequest, held: Lead, name: str = "a") -> Entry:
    key, fence = request.generation_key, held.fence
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="p", estimate_micro_usd=50)
    assert await ledger.intend_upload(key, fence, upload(name), usage={}, cost_micro_usd=40)
    entry: Entry | None = await ledger.complete(key, fence, upload(name), url=None)
    assert entry is not None
    return entry


async def balance_and_held(ledger: Any, user: UUID) -> tuple[int, int]:
    """Balance and held, after everything was audited."""
    audit = await ledger.audit_credits()
    assert audit["faults"] == []
    assert audit["balance"] == audit["granted"] - audit["settled"] + audit["refunded"]
    found: Credits = await ledger.credits(user)
    return found.balance, found.held


class CreditContract:
    """Grants, reservations, settlement and refunds."""

    async def test_nobody_has_credits_before_they_are_granted_some(self, harness: LedgerHarness) -> None:
        assert await harness.ledger.credits(ALICE) == Credits(balance=0, held=0)
        assert await acquire_charged(harness.ledger, picture_request(), ALICE) == InsufficientCredits()
        assert await harness.ledger.peek(picture_request().generation_key, picture_request().rendition_key) == Miss()

    async def test_a_grant_counts_once_per_reference(self, harness: LedgerHarness) -> None:
        for _ in range(3):
            assert await harness.ledger.grant_credits(ALICE, 5, "order 1") == Credits(balance=5, held=0)
        assert await harness.ledger.grant_credits(ALICE, 2, "order 2") == Credits(balance=7, held=0)

    async def test_a_reference_that_names_its_user_is_refused_as_it_outlives_them(self, harness: LedgerHarness) -> None:
        for spelled in (str(ALICE), str(ALICE).upper(), ALICE.hex):
            with pytest.raises(LedgerUnavailable):
                await harness.ledger.grant_credits(ALICE, 1, f"welcome {spelled}")
        assert await balance_and_held(harness.ledger, ALICE) == (0, 0)

    async def test_a_lead_holds_and_a_completion_settles(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 2, "g")
        held = await acquire_charged(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        assert await balance_and_held(ledger, ALICE) == (2, 1)
        entry = await finish(ledger, picture_request(), held)
        assert await balance_and_held(ledger, ALICE) == (1, 0)
        # Said again: the same answer, and nothing is settled twice.
        assert await ledger.complete(picture_request().generation_key, held.fence, upload("a"), url=None) == entry
        assert await balance_and_held(ledger, ALICE) == (1, 0)

    async def test_a_hit_costs_nothing_with_or_without_credits(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        entry = await complete_charged(ledger, picture_request(), ALICE)
        assert await acquire_charged(ledger, picture_request(), ALICE) == Hit(entry=entry)
        assert await acquire_charged(ledger, picture_request(), BOB) == Hit(entry=entry)
        assert await balance_and_held(ledger, ALICE) == (0, 0)

    async def test_a_repeated_acquire_of_the_holder_reserves_once(self, harness: LedgerHarness) -> None:
        ledger, leader = harness.ledger, uuid4()
        await ledger.grant_credits(ALICE, 3, "g")
        first = await acquire_charged(ledger, picture_request(), ALICE, leader=leader)
        assert await acquire_charged(ledger, picture_request(), ALICE, leader=leader) == first
        assert await balance_and_held(ledger, ALICE) == (3, 1)

    async def test_a_follower_waits_without_credit_and_pays_nothing(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        held = await acquire_charged(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        assert isinstance(await acquire_charged(ledger, picture_request(), BOB), Wait)
        entry = await finish(ledger, picture_request(), held)
        assert await acquire_charged(ledger, picture_request(), BOB) == Hit(entry=entry)
        assert (await balance_and_held(ledger, ALICE), await balance_and_held(ledger, BOB)) == ((0, 0), (0, 0))

    async def test_the_last_credit_is_reserved_once(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        results = await asyncio.gather(
            *(acquire_charged(ledger, picture_request(f"picture {n}"), ALICE) for n in range(10))
        )
        assert sorted(type(each).__name__ for each in results) == ["InsufficientCredits"] * 9 + ["Lead"]
        assert await balance_and_held(ledger, ALICE) == (1, 1)

    async def test_whoever_is_denied_leaves_nothing_behind(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert await acquire_charged(ledger, picture_request(), BOB) == InsufficientCredits()
        assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)

    async def test_a_takeover_inherits_what_was_reserved(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
        await harness.advance(21)
        held = await acquire_charged(harness.ledger, picture_request(), BOB)  # who has no credit of his own
        assert isinstance(held, Lead)
        assert await balance_and_held(ledger, ALICE) == (1, 1)
        await finish(ledger, picture_request(), held)
        assert (await balance_and_held(ledger, ALICE), await balance_and_held(ledger, BOB)) == ((0, 0), (0, 0))

    async def test_a_failure_releases_and_the_next_attempt_is_paid_by_who_makes_it(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        await ledger.grant_credits(BOB, 1, "h")
        held = await acquire_charged(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        for _ in range(2):  # said twice, it is released once
            assert await ledger.fail(key, held.fence, failure(FailureClass.TRANSIENT, rest=5))
        assert await balance_and_held(ledger, ALICE) == (1, 0)
        await harness.advance(6)
        await complete_charged(ledger, picture_request(), BOB)
        assert (await balance_and_held(ledger, ALICE), await balance_and_held(ledger, BOB)) == ((1, 0), (0, 0))

    async def test_a_stale_leader_settles_and_releases_nothing(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        old = await acquire_charged(ledger, picture_request(), ALICE)
        assert isinstance(old, Lead)
        await harness.advance(21)
        new = await acquire_charged(ledger, picture_request(), BOB)
        assert isinstance(new, Lead)
        assert not await ledger.fail(key, old.fence, failure())
        assert await ledger.complete(key, old.fence, upload("old"), url=None) is None
        assert await balance_and_held(ledger, ALICE) == (1, 1)

    async def test_the_sweep_releases_what_nobody_works_on_and_leaves_what_is_led(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 2, "g")
        assert isinstance(await acquire_charged(ledger, picture_request("dead"), ALICE), Lead)
        living = await acquire_charged(ledger, picture_request("alive"), ALICE)
        assert isinstance(living, Lead)
        await harness.advance(901)
        held = await acquire_charged(ledger, picture_request("alive"), ALICE)
        assert isinstance(held, Lead)
        await ledger.sweep(100)
        assert await balance_and_held(ledger, ALICE) == (2, 1)
        await finish(ledger, picture_request("alive"), held)
        assert await balance_and_held(ledger, ALICE) == (1, 0)

    async def test_what_lapsed_is_free_before_any_sweep(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request("dead").generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await acquire_charged(ledger, picture_request("dead"), ALICE), Lead)
        await harness.advance(890)
        assert await acquire_charged(ledger, picture_request("another"), ALICE) == InsufficientCredits()
        await harness.advance(11)
        assert await balance_and_held(ledger, ALICE) == (1, 0)
        assert (await ledger.audit_credits())["held"] == 0
        assert (await ledger.deliver(ALICE, key, ANSWER, None))["credits"] == 1
        # Her own ask settles it: what was held is released with the new reservation.
        held = await acquire_charged(ledger, picture_request("another"), ALICE)
        assert isinstance(held, Lead)
        assert await balance_and_held(ledger, ALICE) == (1, 1)
        await finish(ledger, picture_request("another"), held)
        assert await balance_and_held(ledger, ALICE) == (0, 0)

    async def test_a_leader_that_is_slow_but_alive_keeps_what_it_holds(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        slow = await acquire_charged(ledger, picture_request("slow"), ALICE)
        assert isinstance(slow, Lead)
        assert await ledger.heartbeat(picture_request("slow").generation_key, slow.fence, timedelta(seconds=950))
        await harness.advance(940)
        assert await balance_and_held(ledger, ALICE) == (1, 1)
        assert await acquire_charged(ledger, picture_request("another"), ALICE) == InsufficientCredits()
        await finish(ledger, picture_request("slow"), slow)
        assert await balance_and_held(ledger, ALICE) == (0, 0)

    async def test_a_takeover_of_what_lapsed_is_paid_by_who_takes_it_over(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        await ledger.grant_credits(BOB, 1, "h")
        assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
        await harness.advance(901)
        held = await acquire_charged(ledger, picture_request(), BOB)
        assert isinstance(held, Lead)
        assert (await balance_and_held(ledger, ALICE), await balance_and_held(ledger, BOB)) == ((1, 0), (1, 1))
        await finish(ledger, picture_request(), held)
        assert (await balance_and_held(ledger, ALICE), await balance_and_held(ledger, BOB)) == ((1, 0), (0, 0))

    async def test_who_cannot_pay_leaves_even_what_lapsed_as_it_was(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
        await harness.advance(901)
        assert await acquire_charged(ledger, picture_request(), BOB) == InsufficientCredits()
        assert await balance_and_held(ledger, ALICE) == (1, 0)
        assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
        assert await balance_and_held(ledger, ALICE) == (1, 1)

    async def test_a_job_collected_after_the_release_is_paid_by_who_collects(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
        await harness.advance(901)
        await ledger.sweep(100)
        assert await acquire_charged(ledger, picture_request(), BOB) == InsufficientCredits()
        assert isinstance(await acquire_charged(ledger, picture_request(), ALICE), Lead)
        assert await balance_and_held(ledger, ALICE) == (1, 1)

    async def test_a_picture_gone_before_it_was_delivered_is_refunded_once(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        entry = await complete_charged(ledger, picture_request(), ALICE)
        assert await balance_and_held(ledger, ALICE) == (0, 0)
        for _ in range(2):
            await ledger.report_missing(entry)
        assert await balance_and_held(ledger, ALICE) == (1, 0)
        assert (await ledger.audit_credits())["refunded"] == 1

    async def test_nothing_is_refunded_after_delivery(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 3, "g")
        entry = await complete_charged(ledger, picture_request(), ALICE)
        assert await ledger.deliver(ALICE, key, ANSWER, None) == {**ANSWER, "credits": 2}
        assert await ledger.report_missing(entry)
        assert await balance_and_held(ledger, ALICE) == (2, 0)

    async def test_delivery_to_somebody_else_is_none(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        entry = await complete_charged(ledger, picture_request(), ALICE)
        assert await ledger.deliver(BOB, key, ANSWER, None) == {**ANSWER, "credits": 0}
        await ledger.report_missing(entry)
        assert await balance_and_held(ledger, ALICE) == (1, 0)

    async def test_a_refund_of_nothing_is_refused(self, harness: LedgerHarness) -> None:
        assert not await harness.ledger.refund_credits(uuid4())
