"""What operators set and read of budgets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.budgets import Budget, RefusalReason, Refused, Spending
from copperplate.errors import LedgerMisconfigured, LedgerUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead
from copperplate.model import Job
from copperplate.ports.budgets import MAX_CAP, BudgetState, BudgetUse
from tests.contract.ledger.harness import LEASE, failure
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.ledger_answers import AcquireResult
    from tests.contract.ledger.harness import LedgerHarness

DAY = 86_400.0
KEY = f"key:{uuid4()}"
WALL = Budget(name="all", cap_micro_usd=5_000_000)
UNKNOWN = Budget(name="anonymous", share_of="all", permille=500, is_own=True)
ADDRESS = Budget(name="address:192.0.2.7", share_of="anonymous", permille=100, is_own=True)
STRANGERS = (ADDRESS, UNKNOWN, WALL)
PRICE = 30_000


async def ask(ledger: Any, prompt: str, *budgets: Budget, micro_usd: int = PRICE) -> AcquireResult:
    spending = Spending(payer="somebody", amount_micro_usd=micro_usd, budgets=budgets)
    result: AcquireResult = await ledger.acquire(
        picture_request(prompt), leader=uuid4(), lease_duration=LEASE, spending=spending
    )
    return result


async def spend(ledger: Any, prompt: str, *budgets: Budget, micro_usd: int = PRICE) -> Lead:
    """Lead and submit."""
    held = await ask(ledger, prompt, *budgets, micro_usd=micro_usd)
    assert isinstance(held, Lead), held
    assert await ledger.begin_submit(
        picture_request(prompt).generation_key,
        held.fence,
        submit_no=1,
        provider="fal",
        spending=Spending(payer="somebody", amount_micro_usd=micro_usd, budgets=budgets),
    )
    return held


async def spend_for_good(ledger: Any, prompt: str, *budgets: Budget) -> None:
    """Lead, submit, and fail: nothing of it comes back."""
    held = await spend(ledger, prompt, *budgets)
    assert await ledger.fail(picture_request(prompt).generation_key, held.fence, failure(billed=True))


async def state_of(ledger: Any, name: str) -> BudgetState:
    """What the ledger alone says of it."""
    [state] = await ledger.read_budgets([Budget(name=name)])
    assert isinstance(state, BudgetState)
    return state


def reason_of(result: AcquireResult) -> RefusalReason:
    assert isinstance(result, Refused), result
    return result.refusal.reason


def left(state: BudgetState) -> tuple[int, int | None, int | None]:
    """Of money: used, cap, left."""
    return state.used_micro_usd, state.cap_micro_usd, state.left_micro_usd


class BudgetOperationContract:
    """Caps, overrides, resets; what is used and what is left."""

    async def test_shares_are_told_with_what_is_left_of_them_and_no_address_is(self, harness: LedgerHarness) -> None:
        await spend(harness.ledger, "a", *STRANGERS)
        states = await harness.ledger.read_budgets(STRANGERS)
        assert [(state.budget, *left(state)) for state in states] == [
            ("address", PRICE, 250_000, 220_000),
            ("anonymous", PRICE, 2_500_000, 2_470_000),
            ("all", PRICE, 5_000_000, 4_970_000),
        ]
        assert {state.used_pictures for state in states} == {1}
        assert {(state.cap_pictures, state.left_pictures, state.override_until) for state in states} == {
            (None, None, None)
        }

    async def test_shares_are_told_in_the_order_asked_with_the_whole_first_too(self, harness: LedgerHarness) -> None:
        await harness.ledger.set_budget("prepaid/anonymous", 1_000_000, None)
        whole_first = [WALL, UNKNOWN, Budget(name=KEY), STRANGERS[0]]
        states = await harness.ledger.read_budgets(whole_first)
        assert [(state.budget, state.cap_micro_usd) for state in states] == [
            ("all", 5_000_000),
            ("anonymous", 2_500_000),
            ("prepaid/anonymous", 1_000_000),
            (KEY, None),
            ("address", 250_000),
        ]

    async def test_a_day_ends_at_midnight_in_utc(self, harness: LedgerHarness) -> None:
        await spend(harness.ledger, "a", *STRANGERS)
        [*_, before] = await harness.ledger.read_budgets(STRANGERS)
        assert before.resets_at is not None
        assert (before.resets_at.astimezone(UTC).time().isoformat(), before.used_micro_usd) == ("00:00:00", PRICE)
        await harness.advance(DAY)
        [*_, after] = await harness.ledger.read_budgets(STRANGERS)
        assert left(after) == (0, 5_000_000, 5_000_000)
        assert after.resets_at == before.resets_at + timedelta(days=1)

    async def test_a_cap_that_is_set_stands_above_the_programs_and_none_gives_it_back(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        told = await ledger.set_budget("all", 60_000, 7)
        assert (told.budget, *left(told), told.cap_pictures, told.left_pictures) == ("all", 0, 60_000, 60_000, 7, 7)
        states = await ledger.read_budgets(STRANGERS)
        assert [state.cap_micro_usd for state in states] == [3_000, 30_000, 60_000]
        await spend(ledger, "a", WALL)
        await spend(ledger, "b", WALL)
        assert isinstance(await ask(ledger, "c", WALL), Refused)
        await ledger.set_budget("all", None, None)
        assert isinstance(await ask(ledger, "c", WALL), Lead)

    async def test_zero_is_a_cap_that_refuses_everything(self, harness: LedgerHarness) -> None:
        told = await harness.ledger.set_budget(KEY, 0, None)
        assert left(told) == (0, 0, 0)
        assert isinstance(await ask(harness.ledger, "a", Budget(name=KEY, is_own=True), micro_usd=0), Refused)

    async def test_a_prepaid_cap_counts_beside_the_daily_one_and_nothing_resets_it(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key = harness.ledger, Budget(name=KEY, cap_micro_usd=100_000, is_own=True)
        told = await ledger.set_budget(f"prepaid/{KEY}", 50_000, None)
        assert (told.budget, told.resets_at, *left(told)) == (f"prepaid/{KEY}", None, 0, 50_000, 50_000)
        await spend(ledger, "a", key)
        daily, prepaid = await ledger.read_budgets([key])
        assert (left(daily), left(prepaid)) == ((30_000, 100_000, 70_000), (30_000, 50_000, 20_000))
        await harness.advance(DAY)
        daily, prepaid = await harness.ledger.read_budgets([key])
        assert (left(daily), left(prepaid)) == ((0, 100_000, 100_000), (30_000, 50_000, 20_000))
        assert isinstance(await ask(harness.ledger, "b", key), Refused)

    async def test_a_prepaid_cap_that_is_taken_off_is_over_and_one_that_is_set_again_goes_on(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key, prepaid = harness.ledger, Budget(name=KEY, is_own=True), f"prepaid/{KEY}"
        await ledger.set_budget(prepaid, 50_000, None)
        await spend(ledger, "a", key)
        assert left(await ledger.set_budget(prepaid, None, None)) == (PRICE, None, None)
        await spend(ledger, "b", key)
        assert [state.budget for state in await ledger.read_budgets([key])] == [KEY]
        assert [use.budget for use in await ledger.list_budgets()] == [KEY]
        await ledger.set_budget(prepaid, 50_000, None)
        _, state = await ledger.read_budgets([key])
        assert left(state) == (PRICE, 50_000, 20_000)
        assert (await ledger.audit_budgets())["faults"] == []

    async def test_a_budget_without_caps_is_in_no_list(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        until = datetime.fromtimestamp((await ledger.check_setup())["now"] + 600, UTC)
        await ledger.set_budget("link:mistyped", 1, 1)
        await ledger.override_budget("link:mistyped", 5, None, until)
        await ledger.set_budget("link:mistyped", None, None)
        assert [use.budget for use in await ledger.list_budgets()] == ["link:mistyped"], "its override stands"
        await ledger.override_budget("link:mistyped", None, None, None)
        await ledger.reset_budget("prepaid/link:mistyped")
        assert await ledger.list_budgets() == []

    async def test_an_override_that_is_over_leaves_no_budget_behind(self, harness: LedgerHarness) -> None:
        now = datetime.fromtimestamp((await harness.ledger.check_setup())["now"], UTC)
        for name in ("link:mistyped", "prepaid/all"):
            await harness.ledger.override_budget(name, 5, None, now + timedelta(minutes=5))
        await harness.advance(DAY)
        await harness.ledger.sweep(100)
        assert await harness.ledger.list_budgets() == []

    async def test_a_reset_lets_the_caps_apply_anew_and_leaves_the_book_alone(self, harness: LedgerHarness) -> None:
        ledger, wall = harness.ledger, replace(WALL, cap_micro_usd=50_000, cap_pictures=2)
        await spend_for_good(ledger, "a", wall)
        assert isinstance(await ask(ledger, "b", wall), Refused)
        await ledger.reset_budget("all")
        [state] = await ledger.read_budgets([wall])
        assert (*left(state), state.used_pictures, state.left_pictures) == (0, 50_000, 50_000, 0, 2)
        await spend(ledger, "b", wall)
        [state] = await ledger.read_budgets([wall])
        assert (*left(state), state.used_pictures, state.left_pictures) == (30_000, 50_000, 20_000, 1, 1)
        assert (await ledger.audit_budgets())["faults"] == []

    async def test_a_reset_gives_no_room_twice_for_what_is_under_way_and_comes_back(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key, wall = harness.ledger, Budget(name=KEY, is_own=True), replace(WALL, cap_pictures=3)
        await spend_for_good(ledger, "a", key, wall)
        sent = await spend(ledger, "b", key, wall)
        await spend(ledger, "c", key, wall)
        assert isinstance(await ask(ledger, "reserved", key, WALL), Lead)
        for name in (KEY, "all"):
            await ledger.reset_budget(name)
        [of_key, of_all] = await ledger.read_budgets([key, wall])
        assert (of_key.used_pictures, of_all.used_pictures, of_all.left_pictures) == (3, 2, 1)
        assert await ledger.fail(picture_request("b").generation_key, sent.fence, failure(billed=False))
        # A dead leader's submit is asked for by whoever takes over, and may be found free.
        await harness.advance(21)
        for name in (KEY, "all"):
            await ledger.reset_budget(name)
        [of_key, of_all] = await ledger.read_budgets([key, wall])
        assert (of_key.used_pictures, of_all.used_pictures, of_all.left_pictures) == (1, 1, 2)
        taken = await ask(ledger, "c", key, wall)
        assert isinstance(taken, Lead)
        assert await ledger.fail(picture_request("c").generation_key, taken.fence, failure(billed=False))
        for prompt in "xyz":
            await spend(ledger, prompt, key, wall)
        assert isinstance(await ask(ledger, "one more", key, wall), Refused)
        assert (await ledger.audit_budgets())["faults"] == []

    async def test_a_reset_does_not_forgive_a_job_that_is_to_be_collected(self, harness: LedgerHarness) -> None:
        ledger, wall = harness.ledger, replace(WALL, cap_pictures=1)
        held, key = await spend(ledger, "a", wall), picture_request("a").generation_key
        assert await ledger.note_request(key, held.fence, Job(request_id="job"))
        assert await ledger.fail(key, held.fence, failure(FailureClass.UNCOLLECTED, rest=0))
        await ledger.reset_budget("all")
        # Whoever collects it may learn that it was free, and gives its room back.
        [of_all] = await ledger.read_budgets([wall])
        assert (of_all.used_pictures, of_all.left_pictures) == (1, 0)
        taken = await ask(ledger, "a", wall)
        assert isinstance(taken, Lead)
        assert await ledger.fail(key, taken.fence, failure(billed=False))
        await spend(ledger, "b", wall)
        assert isinstance(await ask(ledger, "c", wall), Refused)

    async def test_a_picture_whose_bill_is_known_is_not_under_way_for_a_budget(self, harness: LedgerHarness) -> None:
        ledger, wall = harness.ledger, replace(WALL, cap_pictures=1)
        held, key = await spend(ledger, "a", wall), picture_request("a").generation_key
        assert reason_of(await ask(ledger, "b", wall)) is RefusalReason.IN_FLIGHT
        assert await ledger.intend_upload(key, held.fence, upload(key), usage={}, cost_micro_usd=PRICE)
        assert reason_of(await ask(ledger, "b", wall)) is RefusalReason.USED_UP

    async def test_an_override_stands_until_its_end_or_until_it_is_ended(self, harness: LedgerHarness) -> None:
        await harness.ledger.set_budget("all", 10_000, 5)
        until = datetime.fromtimestamp((await harness.ledger.check_setup())["now"] + 600, UTC).replace(microsecond=0)
        told = await harness.ledger.override_budget("all", 100_000, None, until)
        assert (told.cap_micro_usd, told.cap_pictures, told.override_until) == (100_000, 5, until)
        assert isinstance(await ask(harness.ledger, "a", WALL), Lead)
        await harness.advance(601)
        over = await state_of(harness.ledger, "all")
        assert (over.cap_micro_usd, over.cap_pictures, over.override_until) == (10_000, 5, None)
        await harness.ledger.override_budget("all", 1, None, until + timedelta(hours=9))
        ended = await harness.ledger.override_budget("all", None, None, None)
        assert (ended.cap_micro_usd, ended.override_until) == (10_000, None)

    @pytest.mark.parametrize(
        "name",
        [
            *("", "wall", "All", "all ", "address:192.0.2.7", "address:*", "user:", "key", "tier:x", "prepaid/"),
            *("prepaid/prepaid/all", "prepaid/address:192.0.2.7", "user:a b", "model:" + "m" * 201, "all\n"),
        ],
    )
    async def test_what_is_no_name_of_a_budget_is_refused(self, harness: LedgerHarness, name: str) -> None:
        ledger = harness.ledger
        for call in (ledger.set_budget(name, 1, None), ledger.reset_budget(name)):
            with pytest.raises((LedgerUnavailable, LedgerMisconfigured)):
                await call
        assert await ledger.list_budgets() == []

    @pytest.mark.parametrize("cap", [-1, MAX_CAP + 1])
    async def test_caps_have_bounds(self, harness: LedgerHarness, cap: int) -> None:
        for caps in ((cap, None), (None, cap), (1, cap)):
            with pytest.raises((LedgerUnavailable, LedgerMisconfigured)):
                await harness.ledger.set_budget("all", *caps)
        assert (await harness.ledger.set_budget("all", MAX_CAP, 0)).cap_micro_usd == MAX_CAP

    async def test_an_override_without_an_end_ahead_or_without_a_cap_is_refused(self, harness: LedgerHarness) -> None:
        now = datetime.fromtimestamp((await harness.ledger.check_setup())["now"], UTC)
        for caps in ((1, None, None), (1, None, now - timedelta(seconds=5)), (None, None, now + timedelta(hours=1))):
            with pytest.raises((LedgerUnavailable, LedgerMisconfigured)):
                await harness.ledger.override_budget("all", *caps)
        assert (await state_of(harness.ledger, "all")).cap_micro_usd is None

    async def test_the_list_has_what_has_caps_or_was_used_today_and_sums_of_the_many(
        self, harness: LedgerHarness
    ) -> None:
        ledger, users = harness.ledger, [f"user:{uuid4()}" for _ in range(3)]
        await ledger.set_budget(users[0], 900_000, None)
        await ledger.set_budget("link:blog", 1, None)
        for number, user in enumerate(users):
            await spend(ledger, f"picture {number}", Budget(name=user, is_own=True), WALL)
        await spend(ledger, "of a stranger", *STRANGERS)
        listed = await ledger.list_budgets()
        assert {use.budget: (use.used_micro_usd, use.used_pictures) for use in listed} == {
            "all": (120_000, 4),
            "anonymous": (30_000, 1),
            "link:blog": (0, 0),
            users[0]: (30_000, 1),
            "user:*": (60_000, 2),
            "address:*": (30_000, 1),
        }
        assert {use.budget for use in listed if use.is_sum} == {"user:*", "address:*"}
        assert all(isinstance(use, BudgetUse) for use in listed)

    async def test_the_list_counts_from_the_last_reset(self, harness: LedgerHarness) -> None:
        await spend_for_good(harness.ledger, "a", WALL)
        await harness.ledger.reset_budget("all")
        await spend(harness.ledger, "b", WALL)
        # With a cap in the ledger or without.
        for caps in ((1_000_000, None), (None, None)):
            [use] = await harness.ledger.list_budgets()
            [state] = await harness.ledger.read_budgets([WALL])
            assert (use.used_micro_usd, use.used_pictures) == (state.used_micro_usd, state.used_pictures) == (PRICE, 1)
            await harness.ledger.set_budget("all", *caps)

    async def test_what_a_dead_leader_reserved_is_not_used(self, harness: LedgerHarness) -> None:
        assert isinstance(await ask(harness.ledger, "a", UNKNOWN, WALL), Lead)
        assert [state.used_micro_usd for state in await harness.ledger.read_budgets([UNKNOWN, WALL])] == [PRICE, 0]
        await harness.advance(21)
        assert [state.used_micro_usd for state in await harness.ledger.read_budgets([UNKNOWN, WALL])] == [0, 0]

    async def test_the_audit_counts_and_finds_no_fault(self, harness: LedgerHarness) -> None:
        await spend(harness.ledger, "a", *STRANGERS)
        found = await harness.ledger.audit_budgets()
        assert (found["counters"], found["faults"]) == (3, [])
