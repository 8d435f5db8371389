"""What every ledger promises of budgets: own ones reserved with the lead, all of them booked by each submit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from copperplate.budgets import Budget, Charge, Refusal, RefusalReason, Refused, Spending, SubmitGranted
from copperplate.errors import CopperplateError
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit, Lead, Miss, Wait
from copperplate.model import Condition, Job
from tests.contract.ledger.credits import ALICE, balance_and_held
from tests.contract.ledger.harness import LEASE, failure, peek
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.budgets import SubmitResult
    from copperplate.ledger_answers import AcquireResult
    from copperplate.model import PictureRequest
    from tests.contract.ledger.harness import LedgerHarness

DAY = 86_400.0
PRICE = 100
KEY, OTHER_KEY = Budget(name="key:1", is_own=True), Budget(name="key:2", is_own=True)
ADDRESS = Budget(name="address:192.0.2.1", share_of="anonymous", permille=100, is_own=True)
OTHER_ADDRESS = Budget(name="address:192.0.2.2", share_of="anonymous", permille=100, is_own=True)
ANONYMOUS = Budget(name="anonymous", share_of="all", permille=500, is_own=True)
WALL = Budget(name="all")
UNUSED, ONE, TWO = (0, 0), (PRICE, 1), (2 * PRICE, 2)


def capped(budget: Budget, micro_usd: int | None = None, pictures: int | None = None) -> Budget:
    """The same with caps."""
    return Budget(
        name=budget.name,
        cap_micro_usd=micro_usd,
        cap_pictures=pictures,
        share_of=budget.share_of,
        permille=budget.permille,
        is_own=budget.is_own,
    )


def spending(*budgets: Budget, amount: int = PRICE, most: int | None = None) -> Spending:
    """One picture, booked to these."""
    return Spending(payer="somebody", amount_micro_usd=amount, budgets=budgets, max_in_flight=most)


async def ask(ledger: Any, request: PictureRequest, paid: Spending, **named: Any) -> AcquireResult:
    """Acquire, to be booked to budgets."""
    arguments = {"leader": uuid4(), "lease_duration": LEASE, **named}
    result: AcquireResult = await ledger.acquire(request, spending=paid, **arguments)
    return result


async def elect(ledger: Any, request: PictureRequest, paid: Spending, **named: Any) -> Lead:
    """Acquire, and lead."""
    held = await ask(ledger, request, paid, **named)
    assert isinstance(held, Lead), held
    return held


async def submit(ledger: Any, request: PictureRequest, held: Lead, paid: Spending | None, no: int = 1) -> SubmitResult:
    """Write a submit ahead."""
    result: SubmitResult = await ledger.begin_submit(
        request.generation_key, held.fence, submit_no=no, provider="p", estimate_micro_usd=PRICE, spending=paid
    )
    return result


async def spend(ledger: Any, request: PictureRequest, paid: Spending) -> Lead:
    """Lead and submit."""
    held = await elect(ledger, request, paid)
    assert isinstance(await submit(ledger, request, held, paid), SubmitGranted)
    return held


async def finish(ledger: Any, request: PictureRequest, held: Lead, *, bill: int | None = None) -> None:
    """Store what was submitted, at this bill."""
    key = request.generation_key
    assert await ledger.intend_upload(key, held.fence, upload(key), usage={}, cost_micro_usd=bill)
    assert await ledger.complete(key, held.fence, upload(key), url=None)


async def used(ledger: Any, budget: Budget) -> tuple[int, int]:
    """Money and pictures that a budget counts; every counter is what the book says."""
    await sums_agree(ledger)
    [state, *_] = await ledger.read_budgets([budget])
    return state.used_micro_usd, state.used_pictures


async def sums_agree(ledger: Any) -> None:
    assert (await ledger.audit_budgets())["faults"] == []


def refusal_of(result: object) -> Refusal:
    assert isinstance(result, Refused), result
    return result.refusal


async def away_from_midnight(harness: LedgerHarness) -> None:
    """Of a ledger with real time, so that the day of a test ends where it says."""
    if (datetime.now(UTC) + timedelta(minutes=20)).date() != datetime.now(UTC).date():
        await harness.advance(1_500)


class BudgetContract:
    """Elections and submits against budgets."""

    async def test_a_refusal_is_a_read_and_leaves_nothing_behind(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, request = harness.ledger, picture_request()
        for short in (spending(KEY, capped(WALL, pictures=0)), spending(capped(KEY, PRICE - 1), WALL)):
            assert isinstance(await ask(ledger, request, short), Refused)
            assert await peek(ledger, request) == Miss()
        assert await used(ledger, KEY) == await used(ledger, WALL) == UNUSED
        assert isinstance(await ask(ledger, request, spending(KEY, WALL)), Lead)

    async def test_a_refusal_says_what_is_left_and_when_it_resets(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, wall = harness.ledger, capped(WALL, 250, 7)
        paid = spending(KEY, wall)
        for prompt in ("one", "two"):
            await finish(ledger, picture_request(prompt), await spend(ledger, picture_request(prompt), paid))
        refusal = refusal_of(await ask(ledger, picture_request("three"), paid))
        assert (refusal.reason, refusal.budget) == (RefusalReason.USED_UP, "all")
        assert (refusal.cap_micro_usd, refusal.left_micro_usd) == (250, 50)
        assert (refusal.cap_pictures, refusal.left_pictures) == (7, 5)
        assert refusal.resets_at is not None
        assert (refusal.resets_at.utcoffset(), refusal.resets_at.hour) == (timedelta(0), 0)
        assert timedelta(0) < refusal.retry_after <= timedelta(days=1)

    async def test_a_refusal_names_no_cap_where_there_is_none(self, harness: LedgerHarness) -> None:
        refusal = refusal_of(await ask(harness.ledger, picture_request(), spending(capped(KEY, pictures=0), WALL)))
        assert (refusal.budget, refusal.cap_micro_usd, refusal.left_micro_usd) == ("key:1", None, None)
        assert (refusal.cap_pictures, refusal.left_pictures) == (0, 0)

    async def test_a_refusal_names_no_address(self, harness: LedgerHarness) -> None:
        wall = capped(WALL, 20 * PRICE - 1)  # half of it, and a tenth of that, is less than one picture
        refusal = refusal_of(await ask(harness.ledger, picture_request(), spending(ADDRESS, ANONYMOUS, wall)))
        assert refusal.budget == "address"
        assert "192.0.2" not in repr(refusal)

    async def test_a_lead_reserves_its_own_budgets_once(self, harness: LedgerHarness) -> None:
        ledger, request, leader = harness.ledger, picture_request(), uuid4()
        first = await elect(ledger, request, spending(KEY, WALL), leader=leader)
        assert await ask(ledger, request, spending(KEY, WALL), leader=leader) == first
        assert isinstance(await ask(ledger, request, spending(OTHER_KEY, WALL)), Wait)
        assert await used(ledger, KEY) == ONE
        assert await used(ledger, OTHER_KEY) == await used(ledger, WALL) == UNUSED

    async def test_a_submit_books_every_budget_and_a_repeat_none(self, harness: LedgerHarness) -> None:
        ledger, request, paid = harness.ledger, picture_request(), spending(KEY, WALL)
        held = await spend(ledger, request, paid)
        assert isinstance(await submit(ledger, request, held, paid), SubmitGranted)
        assert await used(ledger, KEY) == await used(ledger, WALL) == ONE
        await finish(ledger, request, held)
        assert await used(ledger, KEY) == await used(ledger, WALL) == ONE

    async def test_each_of_two_own_budgets_is_reserved_and_refuses(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        both = spending(capped(KEY, pictures=2), capped(ANONYMOUS, pictures=1), WALL)
        await elect(ledger, picture_request("one"), both)
        assert await used(ledger, KEY) == await used(ledger, ANONYMOUS) == ONE
        assert refusal_of(await ask(ledger, picture_request("two"), both)).budget == "anonymous"
        assert await used(ledger, KEY) == ONE

    async def test_of_many_at_once_exactly_as_many_submit_as_there_is_room_for(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        paid = spending(capped(KEY, pictures=7), capped(WALL, 5 * PRICE))

        async def one(number: int) -> bool:
            request = picture_request(f"prompt {number}")
            held = await ask(harness.ledger, request, paid)
            granted = isinstance(held, Lead) and await submit(harness.ledger, request, held, paid)
            return isinstance(granted, SubmitGranted)

        assert sum(await asyncio.gather(*(one(number) for number in range(12)))) == 5
        assert await used(harness.ledger, WALL) == await used(harness.ledger, KEY) == (5 * PRICE, 5)

    async def test_what_a_dead_leader_reserved_is_free_without_a_sweep(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, paid = harness.ledger, spending(capped(KEY, pictures=1), WALL)
        await elect(ledger, picture_request("dead"), paid)
        assert refusal_of(await ask(ledger, picture_request(), paid)).reason is RefusalReason.IN_FLIGHT
        await harness.advance(21)
        assert await used(ledger, KEY) == UNUSED
        await elect(ledger, picture_request(), paid)
        assert await used(ledger, KEY) == ONE
        assert isinstance(await ask(ledger, picture_request("dead"), paid), Refused), "it has no room of its own"

    async def test_a_sweep_gives_back_what_dead_leaders_reserved(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        await elect(harness.ledger, picture_request(), spending(KEY, WALL))
        await harness.advance(700)
        await harness.ledger.sweep(10)
        assert await used(harness.ledger, KEY) == UNUSED

    async def test_a_takeover_inherits_each_budget_it_shares_with_its_predecessor(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, request = harness.ledger, picture_request()
        strangers = capped(ANONYMOUS, pictures=1)
        held = await elect(ledger, request, spending(ADDRESS, strangers, WALL))
        assert await ledger.heartbeat(request.generation_key, held.fence, timedelta(0))
        await elect(ledger, request, spending(OTHER_ADDRESS, strangers, WALL))
        assert await used(ledger, ANONYMOUS) == ONE
        assert (await used(ledger, ADDRESS), await used(ledger, OTHER_ADDRESS)) == (UNUSED, ONE)

    async def test_a_takeover_that_only_collects_is_refused_by_nothing_and_reserves_nothing(
        self, harness: LedgerHarness
    ) -> None:
        ledger, request = harness.ledger, picture_request()
        held = await spend(ledger, request, spending(KEY, WALL))
        assert await ledger.note_request(request.generation_key, held.fence, Job(request_id="job"))
        await harness.advance(21)
        collecting = await elect(ledger, request, spending(capped(OTHER_KEY, 0), capped(WALL, 0)))
        assert collecting.job == Job(request_id="job")
        await finish(ledger, request, collecting)
        assert (await used(ledger, KEY), await used(ledger, OTHER_KEY)) == (ONE, UNUSED)

    async def test_a_second_submit_is_booked_beside_the_first(self, harness: LedgerHarness) -> None:
        ledger, request, paid = harness.ledger, picture_request(), spending(KEY, WALL)
        held = await spend(ledger, request, paid)
        assert isinstance(await submit(ledger, request, held, paid, 2), SubmitGranted)
        assert await used(ledger, KEY) == await used(ledger, WALL) == TWO

    async def test_a_second_submit_is_refused_as_the_first_is(self, harness: LedgerHarness) -> None:
        ledger, request, paid = harness.ledger, picture_request(), spending(KEY, capped(WALL, pictures=1))
        held = await spend(ledger, request, paid)
        assert isinstance(await submit(ledger, request, held, paid, 2), Refused)
        assert await used(ledger, KEY) == await used(ledger, WALL) == ONE
        assert await submit(ledger, request, held, spending(KEY, WALL), 2) is None, "the lease was given back"

    async def test_a_submit_that_is_refused_gives_everything_back_and_is_not_remembered(
        self, harness: LedgerHarness
    ) -> None:
        ledger, request, paid = harness.ledger, picture_request(), spending(KEY, capped(WALL, pictures=1))
        await ledger.grant_credits(ALICE, 1, "g")
        held = await elect(ledger, request, paid, charges=[Charge(user=ALICE)])
        await spend(ledger, picture_request("faster"), spending(OTHER_KEY, capped(WALL, pictures=1)))
        refusal = refusal_of(await submit(ledger, request, held, paid))
        assert (refusal.reason, refusal.budget) == (RefusalReason.IN_FLIGHT, "all")
        assert await used(ledger, KEY) == UNUSED
        assert await balance_and_held(ledger, ALICE) == (1, 0)
        assert await peek(ledger, request) == Miss()
        assert (await ledger.generation_stats()).total_failed == 0
        again = await elect(ledger, request, spending(OTHER_KEY, WALL))
        assert (again.attempt, again.submit_no) == (1, 0)

    async def test_pictures_under_way_refuse_for_a_moment_and_finished_ones_for_the_day(
        self, harness: LedgerHarness
    ) -> None:
        await away_from_midnight(harness)
        ledger, paid = harness.ledger, spending(KEY, capped(WALL, pictures=1))
        held = await spend(ledger, picture_request("one"), paid)
        busy = refusal_of(await ask(ledger, picture_request("two"), paid))
        assert (busy.reason, busy.retry_after) == (RefusalReason.IN_FLIGHT, timedelta(seconds=5))
        await finish(ledger, picture_request("one"), held)
        assert refusal_of(await ask(ledger, picture_request("two"), paid)).reason is RefusalReason.USED_UP

    async def test_a_budget_that_is_used_up_is_told_before_one_that_is_busy(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await elect(ledger, picture_request("one"), spending(KEY, WALL))
        refusal = refusal_of(
            await ask(ledger, picture_request("two"), spending(capped(KEY, pictures=1), capped(WALL, pictures=0)))
        )
        assert (refusal.reason, refusal.budget) == (RefusalReason.USED_UP, "all")

    async def test_of_budgets_that_are_used_up_the_widest_is_told(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger = harness.ledger
        one = (capped(ADDRESS, pictures=1), capped(ANONYMOUS, pictures=1))
        await finish(ledger, picture_request("one"), await spend(ledger, picture_request("one"), spending(*one, WALL)))
        refusal = refusal_of(await ask(ledger, picture_request("two"), spending(*one, WALL)))
        assert (refusal.reason, refusal.budget) == (RefusalReason.USED_UP, "anonymous")
        assert refusal.resets_at is not None
        refusal = refusal_of(await ask(ledger, picture_request("two"), spending(*one, capped(WALL, PRICE))))
        assert (refusal.budget, refusal.is_of_house) == ("all", True)

    async def test_a_caller_has_no_more_under_way_than_one_caller_may(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger = harness.ledger
        paid = spending(KEY, WALL, most=2)
        held = await spend(ledger, picture_request("one"), paid)
        await elect(ledger, picture_request("two"), paid)
        refusal = refusal_of(await ask(ledger, picture_request("three"), paid))
        assert (refusal.reason, refusal.budget) == (RefusalReason.TOO_MANY, "key:1")
        assert refusal.retry_after == timedelta(seconds=5)
        await elect(ledger, picture_request("another's"), spending(OTHER_KEY, WALL, most=2))
        await finish(ledger, picture_request("one"), held)
        await elect(ledger, picture_request("three"), paid)

    async def test_a_stored_picture_is_a_hit_for_whoever_has_nothing_left(self, harness: LedgerHarness) -> None:
        ledger, request, paid = harness.ledger, picture_request(), spending(KEY, WALL)
        await finish(ledger, request, await spend(ledger, request, paid))
        assert isinstance(await ask(ledger, request, spending(capped(KEY, 0), capped(WALL, 0))), Hit)

    async def test_a_failure_gives_back_what_was_reserved_and_keeps_what_was_booked(
        self, harness: LedgerHarness
    ) -> None:
        ledger, paid = harness.ledger, spending(KEY, WALL)
        reserved, booked = picture_request("reserved"), picture_request("booked")
        held = await elect(ledger, reserved, paid)
        assert await ledger.fail(reserved.generation_key, held.fence, failure(FailureClass.INVALID))
        assert await used(ledger, KEY) == UNUSED
        held = await spend(ledger, booked, paid)
        assert await ledger.fail(booked.generation_key, held.fence, failure(FailureClass.MODERATED))
        assert await used(ledger, KEY) == await used(ledger, WALL) == ONE

    async def test_what_was_booked_outlives_its_generation_and_a_reservation_does_not(
        self, harness: LedgerHarness
    ) -> None:
        ledger, paid = harness.ledger, spending(KEY, WALL)
        await spend(ledger, picture_request("booked"), paid)
        await elect(ledger, picture_request("reserved"), paid)
        assert await used(ledger, KEY) == TWO
        for prompt in ("booked", "reserved"):
            key = picture_request(prompt).generation_key
            assert (await ledger.purge(Condition(key=key), 10, is_dry_run=False)).generations == 1
        assert await used(ledger, KEY) == await used(ledger, WALL) == ONE

    async def test_who_has_no_credit_is_told_so_and_who_is_refused_holds_none(self, harness: LedgerHarness) -> None:
        ledger, request = harness.ledger, picture_request()
        await ledger.grant_credits(ALICE, 1, "g")
        pays = {"charges": [Charge(user=ALICE)]}
        assert isinstance(await ask(ledger, request, spending(capped(WALL, 0)), **pays), Refused)
        assert await balance_and_held(ledger, ALICE) == (1, 0)
        nobody = {"charges": [Charge(user=UUID(int=7))]}
        assert not isinstance(await ask(ledger, request, spending(KEY, WALL), **nobody), Lead)
        assert await used(ledger, KEY) == UNUSED
        held = await elect(ledger, request, spending(WALL), **pays)
        assert isinstance(await submit(ledger, request, held, spending(WALL)), SubmitGranted)
        await finish(ledger, request, held)
        assert await balance_and_held(ledger, ALICE) == (0, 0)
        assert await used(ledger, WALL) == ONE

    async def test_a_submit_without_spending_gives_back_what_its_lead_reserved(self, harness: LedgerHarness) -> None:
        held = await elect(harness.ledger, picture_request(), spending(KEY, WALL))
        assert isinstance(await submit(harness.ledger, picture_request(), held, None), SubmitGranted)
        assert await used(harness.ledger, KEY) == UNUSED

    async def test_an_amount_that_cannot_be_is_no_lead(self, harness: LedgerHarness) -> None:
        for amount in (-1, 10**15 + 1, 10**30):
            with pytest.raises(CopperplateError):
                await ask(harness.ledger, picture_request(), spending(WALL, amount=amount))
        assert await peek(harness.ledger, picture_request()) == Miss()
