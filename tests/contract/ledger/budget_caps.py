"""What every ledger promises of caps, days and bills of budgets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.budgets import Budget, NearCap, RefusalReason, Refused, SubmitGranted
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead
from copperplate.model import Job
from tests.contract.ledger.budgets import (
    ADDRESS,
    ANONYMOUS,
    DAY,
    KEY,
    ONE,
    OTHER_KEY,
    PRICE,
    TWO,
    UNUSED,
    WALL,
    ask,
    away_from_midnight,
    capped,
    elect,
    finish,
    refusal_of,
    spend,
    spending,
    submit,
    sums_agree,
    used,
)
from tests.contract.ledger.credits import ALICE
from tests.contract.ledger.harness import LEASE, failure
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from tests.contract.ledger.harness import LedgerHarness

HUGE = 10**15


async def pictures_until_refused(ledger: Any, paid: Any, *, bill: int | None = None, most: int = 20) -> int:
    """How many are made before the first refusal."""
    for number in range(most):
        request = picture_request(f"prompt {number}")
        if isinstance(held := await ask(ledger, request, paid), Refused):
            return number
        assert isinstance(held, Lead)
        assert isinstance(await submit(ledger, request, held, paid), SubmitGranted)
        await finish(ledger, request, held, bill=bill)
    return most


class BudgetCapContract:
    """Caps by programs and by operators, days, bills."""

    @pytest.mark.parametrize(("bill", "made"), [(None, 6), (50, 11), (100, 6), (150, 4)])
    async def test_a_bill_stands_for_what_was_booked(self, harness: LedgerHarness, bill: int | None, made: int) -> None:
        """Of 600: four bills of 150, or eleven of 50, as what is left then is less than an estimate."""
        await away_from_midnight(harness)
        paid = spending(KEY, capped(WALL, 600))
        assert await pictures_until_refused(harness.ledger, paid, bill=bill) == made
        assert await used(harness.ledger, WALL) == await used(harness.ledger, KEY) == (made * (bill or PRICE), made)

    async def test_a_bill_above_the_cap_is_counted_and_nothing_is_left(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, request, paid = harness.ledger, picture_request("dear"), spending(KEY, capped(WALL, PRICE))
        held = await spend(ledger, request, paid)
        await finish(ledger, request, held, bill=5 * PRICE)
        assert await used(ledger, WALL) == (5 * PRICE, 1)
        assert refusal_of(await ask(ledger, picture_request(), paid)).left_micro_usd == 0

    async def test_a_bill_takes_the_room_that_a_dead_leader_had_reserved(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, paid = harness.ledger, spending(capped(KEY, 2 * PRICE), WALL)
        await elect(ledger, picture_request("dead"), paid)
        held = await spend(ledger, picture_request("dear"), paid)
        await finish(ledger, picture_request("dear"), held, bill=2 * PRICE)
        await harness.advance(21)
        assert isinstance(await ask(ledger, picture_request("dead"), paid), Refused)

    async def test_a_leader_that_was_taken_for_dead_has_no_reservation_any_more(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, frozen, paid = harness.ledger, picture_request("frozen"), spending(capped(KEY, pictures=1), WALL)
        held = await elect(ledger, frozen, paid)
        await harness.advance(21)
        await elect(ledger, picture_request(), paid)
        assert await ledger.heartbeat(frozen.generation_key, held.fence, LEASE)
        assert await used(ledger, KEY) == ONE
        assert isinstance(await submit(ledger, frozen, held, paid), Refused)

    async def test_a_leader_that_collects_a_job_told_of_late_gives_its_reservation_back(
        self, harness: LedgerHarness
    ) -> None:
        ledger, request, leader = harness.ledger, picture_request(), uuid4()
        slow = await spend(ledger, request, spending(KEY, WALL))
        await harness.advance(21)
        paid = spending(OTHER_KEY, WALL)
        held = await elect(ledger, request, paid, leader=leader)
        assert not await ledger.note_request(request.generation_key, slow.fence, Job(request_id="late"))
        assert await submit(ledger, request, held, paid, 2) is None
        await finish(ledger, request, await elect(ledger, request, paid, leader=leader))
        assert (await used(ledger, KEY), await used(ledger, OTHER_KEY)) == (ONE, UNUSED)

    async def test_a_bill_that_is_told_again_is_counted_once(self, harness: LedgerHarness) -> None:
        ledger, request = harness.ledger, picture_request()
        held = await spend(ledger, request, spending(KEY, WALL))
        for bill in (150, 150, 70):
            assert await ledger.intend_upload(
                request.generation_key, held.fence, upload("a"), usage={}, cost_micro_usd=bill
            )
            assert await used(ledger, WALL) == (bill, 1)

    async def test_a_free_submit_is_given_back_with_its_picture(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, request = harness.ledger, picture_request()
        paid = spending(capped(KEY, pictures=1), capped(WALL, PRICE))
        held = await spend(ledger, request, paid)
        limited = failure(FailureClass.RATE_LIMITED, billed=False)
        assert await ledger.fail(request.generation_key, held.fence, limited)
        assert await used(ledger, KEY) == await used(ledger, WALL) == UNUSED
        await spend(ledger, picture_request("next"), paid)

    async def test_a_free_second_submit_leaves_the_first_one_booked(self, harness: LedgerHarness) -> None:
        ledger, request, paid = harness.ledger, picture_request(), spending(KEY, WALL)
        held = await spend(ledger, request, paid)
        await submit(ledger, request, held, paid, 2)
        assert await ledger.fail(request.generation_key, held.fence, failure(billed=False))
        assert await used(ledger, KEY) == await used(ledger, WALL) == ONE

    async def test_a_day_begins_with_all_its_caps(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, paid = harness.ledger, spending(capped(KEY, PRICE), capped(WALL, pictures=1))
        await spend(ledger, picture_request("one"), paid)
        assert isinstance(await ask(ledger, picture_request("two"), paid), Refused)
        await harness.advance(DAY)
        assert await used(ledger, WALL) == UNUSED
        await spend(ledger, picture_request("two"), paid)
        assert await used(ledger, WALL) == await used(ledger, KEY) == ONE

    async def test_a_submit_belongs_to_the_day_of_its_begin_submit(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, request, paid = harness.ledger, picture_request(), spending(ADDRESS, ANONYMOUS, capped(WALL, HUGE))
        held = await elect(ledger, request, paid)
        await harness.advance(DAY)
        assert isinstance(await submit(ledger, request, held, paid), SubmitGranted)
        assert await used(ledger, ANONYMOUS) == await used(ledger, ADDRESS) == await used(ledger, WALL) == ONE

    async def test_a_bill_is_settled_in_the_day_of_its_submit(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, request = harness.ledger, picture_request()
        held = await spend(ledger, request, spending(KEY, WALL))
        await harness.advance(DAY)
        await finish(ledger, request, held, bill=5 * PRICE)
        assert await used(ledger, KEY) == await used(ledger, WALL) == UNUSED

    async def test_a_reservation_of_yesterday_takes_nothing_from_today(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, request = harness.ledger, picture_request()
        paid = spending(capped(KEY, pictures=1), WALL)
        held = await elect(ledger, request, paid)
        await harness.advance(DAY)
        await spend(ledger, picture_request("today"), paid)
        assert isinstance(await submit(ledger, request, held, paid), Refused)
        assert await used(ledger, KEY) == ONE

    async def test_a_prepaid_cap_stands_beside_the_daily_one_and_nothing_resets_it(
        self, harness: LedgerHarness
    ) -> None:
        await away_from_midnight(harness)
        ledger, paid = harness.ledger, spending(KEY, WALL)
        await ledger.set_budget("prepaid/key:1", 2 * PRICE, None)
        for prompt in ("one", "two"):
            request = picture_request(prompt)
            await finish(ledger, request, await spend(ledger, request, paid))
            await harness.advance(DAY)
        refusal = refusal_of(await ask(ledger, picture_request("three"), paid))
        assert (refusal.reason, refusal.budget, refusal.resets_at) == (RefusalReason.USED_UP, "prepaid/key:1", None)
        assert (refusal.cap_micro_usd, refusal.left_micro_usd) == (2 * PRICE, 0)
        assert await used(ledger, KEY) == UNUSED
        assert await used(ledger, Budget(name="prepaid/key:1")) == TWO
        await ledger.set_budget("prepaid/key:1", 3 * PRICE, None)
        await spend(ledger, picture_request("three"), paid)

    async def test_what_a_lead_reserved_of_a_prepaid_cap_is_free_once_its_leader_is_dead(
        self, harness: LedgerHarness
    ) -> None:
        ledger, paid = harness.ledger, spending(KEY, WALL)
        await ledger.set_budget("prepaid/key:1", None, 1)
        await elect(ledger, picture_request("dead"), paid)
        assert isinstance(await ask(ledger, picture_request(), paid), Refused)
        await harness.advance(DAY)
        await spend(ledger, picture_request(), paid)
        assert await used(ledger, Budget(name="prepaid/key:1")) == ONE

    async def test_a_cap_of_zero_refuses_whatever_was_reset(self, harness: LedgerHarness) -> None:
        ledger, request = harness.ledger, picture_request()
        await ledger.set_budget("key:1", 0, None)
        await ledger.reset_budget("key:1")
        assert refusal_of(await ask(ledger, request, spending(KEY, WALL, amount=0))).budget == "key:1"
        await ledger.set_budget("key:1", None, 0)
        assert refusal_of(await ask(ledger, request, spending(KEY, WALL, amount=0))).left_pictures == 0

    @pytest.mark.parametrize("closed", ["all", "anonymous"])
    async def test_what_is_closed_is_told_before_its_shares_and_no_midnight_opens_it(
        self, harness: LedgerHarness, closed: str
    ) -> None:
        ledger, paid = harness.ledger, spending(ADDRESS, ANONYMOUS, capped(WALL, 10 * PRICE))
        await ledger.set_budget(closed, 0, None)
        refusal = refusal_of(await ask(ledger, picture_request(), paid))
        assert (refusal.reason, refusal.budget) == (RefusalReason.USED_UP, closed)
        assert (refusal.cap_micro_usd, refusal.resets_at, refusal.is_closed) == (0, None, True)
        assert refusal.retry_after == timedelta(hours=1)

    async def test_a_closed_key_is_told_so_though_the_wall_is_used_up_too(self, harness: LedgerHarness) -> None:
        paid = spending(capped(KEY, pictures=0), capped(WALL, PRICE - 1))
        refusal = refusal_of(await ask(harness.ledger, picture_request(), paid))
        assert (refusal.budget, refusal.resets_at) == ("key:1", None)

    async def test_caps_and_amounts_as_high_as_they_may_be_are_counted(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger = harness.ledger
        paid = spending(capped(KEY, HUGE, HUGE), capped(WALL, HUGE), amount=HUGE)
        await spend(ledger, picture_request("one"), paid)
        assert await used(ledger, WALL) == (HUGE, 1)
        assert isinstance(await ask(ledger, picture_request("two"), paid), Refused)
        await spend(ledger, picture_request("three"), spending(KEY, WALL, amount=HUGE))
        assert await used(ledger, KEY) == (2 * HUGE, 2)

    async def test_a_share_is_of_whatever_the_whole_is(self, harness: LedgerHarness) -> None:
        """A tenth of a half of the wall: of what the program sends, of what the operator sets, of nothing."""
        ledger, request = harness.ledger, picture_request()

        async def share(wall: Budget) -> int | None:
            [address, *_] = await ledger.read_budgets([ADDRESS, ANONYMOUS, wall])
            assert address.budget == "address"
            cap: int | None = address.cap_micro_usd
            return cap

        assert await share(capped(WALL, 2_000)) == 100
        assert await share(WALL) is None
        await ledger.set_budget("all", 10_000, None)
        assert await share(capped(WALL, 2_000)) == 500
        await ledger.set_budget("anonymous", 999, None)
        assert await share(WALL) == 99
        assert refusal_of(await ask(ledger, request, spending(ADDRESS, ANONYMOUS, WALL))).cap_micro_usd == 99

    async def test_what_an_operator_sets_stands_above_what_the_program_sends(self, harness: LedgerHarness) -> None:
        ledger, paid = harness.ledger, spending(KEY, capped(WALL, PRICE, 1))
        await ledger.set_budget("all", 3 * PRICE, None)
        for prompt in ("one", "two"):
            found = await ask(ledger, picture_request(prompt), paid)
            assert isinstance(found, Lead) is (prompt == "one"), "of pictures the program's cap stands"
            if isinstance(found, Lead):
                await submit(ledger, picture_request(prompt), found, paid)
        await ledger.set_budget("all", 3 * PRICE, 9)
        await spend(ledger, picture_request("two"), paid)
        await ledger.set_budget("all", None, None)
        assert isinstance(await ask(ledger, picture_request("three"), paid), Refused)

    async def test_an_override_stands_until_its_end(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger, paid = harness.ledger, spending(KEY, capped(WALL, PRICE))
        await spend(ledger, picture_request("one"), paid)
        now = datetime.fromtimestamp((await ledger.check_setup())["now"], UTC)
        await ledger.override_budget("all", 2 * PRICE, None, now + timedelta(minutes=5))
        await spend(ledger, picture_request("two"), paid)
        await ledger.override_budget("all", 9 * PRICE, None, now + timedelta(minutes=5))
        assert not isinstance(await ask(ledger, picture_request("three"), paid), Refused)
        await harness.advance(301)
        assert isinstance(await ask(ledger, picture_request("four"), paid), Refused)

    async def test_a_reset_gives_the_day_its_cap_again_and_leaves_the_book_as_it_is(
        self, harness: LedgerHarness
    ) -> None:
        await away_from_midnight(harness)
        ledger, paid = harness.ledger, spending(KEY, capped(WALL, 2 * PRICE))
        assert await pictures_until_refused(ledger, paid) == 2
        await ledger.reset_budget("all")
        [state] = await ledger.read_budgets([capped(WALL, 2 * PRICE)])
        assert (state.used_micro_usd, state.left_micro_usd) == (0, 2 * PRICE)
        await spend(ledger, picture_request("more"), paid)
        await spend(ledger, picture_request("still more"), paid)
        assert isinstance(await ask(ledger, picture_request("too much"), paid), Refused)
        assert await used(ledger, KEY) == (4 * PRICE, 4)

    async def test_budgets_that_are_nearly_used_up_are_told_by_the_submit(self, harness: LedgerHarness) -> None:
        await away_from_midnight(harness)
        ledger = harness.ledger
        paid = spending(capped(ADDRESS, 10), capped(ANONYMOUS, 10, 5), capped(WALL, 10), amount=2)

        async def near(prompt: str) -> Any:
            request: PictureRequest = picture_request(prompt)
            granted = await submit(ledger, request, await elect(ledger, request, paid), paid)
            assert isinstance(granted, SubmitGranted)
            return granted.near_caps

        assert [await near(prompt) for prompt in "abc"] == [(), (), ()]
        assert await near("d") == (NearCap(budget="anonymous", permille=800), NearCap(budget="all", permille=800))
        assert await near("e") == (NearCap(budget="anonymous", permille=1_000), NearCap(budget="all", permille=1_000))

    async def test_a_user_who_is_forgotten_leaves_no_name_and_every_sum(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.grant_credits(ALICE, 1, "g")
        user = Budget(name=f"user:{ALICE}", is_own=True)
        paid = spending(user, WALL)
        held = await spend(ledger, picture_request("booked"), paid)
        await elect(ledger, picture_request("reserved"), paid)
        assert await used(ledger, user) == TWO
        assert await ledger.forget_user(ALICE)
        assert await used(ledger, user) == UNUSED
        await finish(ledger, picture_request("booked"), held, bill=3 * PRICE)
        assert await used(ledger, user) == UNUSED
        assert await used(ledger, WALL) == (3 * PRICE, 1)
        await sums_agree(ledger)

    async def test_a_user_who_is_forgotten_spends_nothing_with_a_token_that_is_still_good(
        self, harness: LedgerHarness
    ) -> None:
        ledger, user = harness.ledger, Budget(name=f"user:{ALICE}", is_own=True)
        paid, request = spending(user, WALL), picture_request("reserved")
        held = await elect(ledger, request, paid)
        await ledger.forget_user(ALICE)
        refusal = refusal_of(await submit(ledger, request, held, paid))
        assert (refusal.reason, refusal.cap_micro_usd) == (RefusalReason.USED_UP, 0)
        assert isinstance(await ask(ledger, picture_request("next"), paid), Refused)
        assert await used(ledger, WALL) == await used(ledger, user) == UNUSED
        assert isinstance(await ask(ledger, request, spending(KEY, WALL)), Lead)
