"""What every ledger promises of requests under an idempotency key, and of users who are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from copperplate.budgets import Credits
from copperplate.ledger_answers import Lead
from copperplate.model import IdempotencyRecord
from tests.contract.ledger.credits import ALICE, ANSWER, BOB, acquire_charged, complete_charged, finish
from tests.contract.ledger.wishing import memoji, new_batch
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class UserRequestContract:
    """A request of a user has one answer; a user who is forgotten leaves sums and no name."""

    async def test_an_ask_under_a_key_has_one_answer(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 2, "g")
        assert await ledger.begin_request(ALICE, key, "k") == IdempotencyRecord(is_conflict=False, answer=None)
        await complete_charged(ledger, picture_request(), ALICE)
        first = await ledger.deliver(ALICE, key, ANSWER, "k")
        assert first == {**ANSWER, "credits": 1}
        await ledger.grant_credits(ALICE, 1, "h")
        assert await ledger.deliver(ALICE, key, {**ANSWER, "cached": True}, "k") == first
        assert await ledger.begin_request(ALICE, key, "k") == IdempotencyRecord(is_conflict=False, answer=first)

    async def test_a_key_stands_for_one_generation_of_one_user_for_a_day(self, harness: LedgerHarness) -> None:
        ledger, key, other = harness.ledger, picture_request().generation_key, picture_request("another").generation_key
        await ledger.begin_request(ALICE, key, "k")
        assert await ledger.begin_request(ALICE, other, "k") == IdempotencyRecord(is_conflict=True, answer=None)
        assert await ledger.begin_request(BOB, other, "k") == IdempotencyRecord(is_conflict=False, answer=None)
        await harness.advance(86_401)
        assert await ledger.begin_request(ALICE, other, "k") == IdempotencyRecord(is_conflict=False, answer=None)

    async def test_an_ask_without_a_key_is_remembered_for_a_day_from_the_last_time(
        self, harness: LedgerHarness
    ) -> None:
        key = picture_request().generation_key
        for _ in range(3):
            assert await harness.ledger.begin_request(BOB, key, None) == IdempotencyRecord(
                is_conflict=False, answer=None
            )
            await harness.advance(80_000)
        await harness.ledger.sweep(100)
        assert await harness.ledger.is_requested_by(BOB, key)
        await harness.advance(80_000)
        await harness.ledger.sweep(100)
        assert not await harness.ledger.is_requested_by(BOB, key)

    async def test_only_who_asked_or_paid_is_told_of_a_generation(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 1, "g")
        assert not await ledger.is_requested_by(ALICE, key)
        await acquire_charged(ledger, picture_request(), ALICE)
        await ledger.begin_request(BOB, key, None)
        assert await ledger.is_requested_by(ALICE, key)
        assert await ledger.is_requested_by(BOB, key)
        assert not await ledger.is_requested_by(UUID(int=3), key)

    async def test_a_member_of_a_batch_is_told_to_who_asked_for_the_batch(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, memoji()
        await ledger.create_batch(new_batch(asked, owner=f"user:{ALICE}"))
        assert await ledger.is_requested_by(ALICE, asked.generation_key)
        assert not await ledger.is_requested_by(ALICE, memoji("long").generation_key)
        assert not await ledger.is_requested_by(BOB, asked.generation_key)

    async def test_the_sweep_forgets_asks_of_yesterday(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.begin_request(BOB, key, None)
        await harness.advance(86_401)
        await ledger.sweep(100)
        assert not await ledger.is_requested_by(BOB, key)

    async def test_a_user_who_is_forgotten_leaves_sums_and_no_name(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        await ledger.grant_credits(ALICE, 5, "g")
        await ledger.begin_request(ALICE, key, "k")
        await complete_charged(ledger, picture_request(), ALICE)
        before = await ledger.audit_credits()
        assert await ledger.forget_user(ALICE)
        assert not await ledger.forget_user(ALICE)
        assert await ledger.audit_credits() == before
        assert await ledger.credits(ALICE) == Credits(balance=0, held=0)
        assert not await ledger.is_requested_by(ALICE, key)

    async def test_a_generation_under_way_of_a_forgotten_user_is_settled(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        held = await acquire_charged(ledger, picture_request(), ALICE)
        assert isinstance(held, Lead)
        await ledger.forget_user(ALICE)
        await finish(ledger, picture_request(), held)
        audit = await ledger.audit_credits()
        assert (audit["balance"], audit["held"], audit["settled"], audit["faults"]) == (0, 0, 1, [])
