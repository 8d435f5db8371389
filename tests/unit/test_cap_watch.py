"""The lines of budgets that are nearly used up: once a day, and none of a person."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.budgets import Budget, NearCap, Refusal, RefusalReason, Spending
from copperplate.denials import BudgetExhausted
from copperplate.generation.cap_watch import CapWatch
from copperplate.generation.lookup import LookupOptions
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.permits import permit
from tests.support.pictures import picture_request

NEAR, FULL = NearCap(budget="all", permille=812), NearCap(budget="all", permille=1_000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def watch(clock: FakeClock) -> CapWatch:
    return CapWatch(clock)


def refusal(budget: str, reason: RefusalReason = RefusalReason.USED_UP) -> Refusal:
    return Refusal(reason=reason, budget=budget, retry_after=timedelta(hours=1))


def test_each_of_both_lines_is_logged_once_a_day(
    watch: CapWatch, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.near((NEAR,))
        for _ in range(3):
            watch.near((FULL,))
            watch.refused(refusal("all"))
        assert caplog.messages == ["budget all: 80 % of its cap is used", "budget all: 100 % of its cap is used"]
        clock._seconds += 86_400
        watch.refused(refusal("all"))
        watch.near((NEAR,))
    assert caplog.messages[2:] == ["budget all: 100 % of its cap is used", "budget all: 80 % of its cap is used"]


def test_each_budget_has_lines_of_its_own(watch: CapWatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        watch.near((NEAR, NearCap(budget="provider:fal", permille=999)))
        watch.refused(refusal("prepaid/key:1"))
    assert [message.split(":")[0] for message in caplog.messages] == [
        "budget all",
        "budget provider",
        "budget prepaid/key",
    ]
    assert "100 %" in caplog.messages[-1]


@pytest.mark.parametrize("budget", ["address", "user:9a5c"])
def test_nobody_is_named(watch: CapWatch, caplog: pytest.LogCaptureFixture, budget: str) -> None:
    with caplog.at_level(logging.DEBUG):
        watch.refused(refusal(budget))
    assert caplog.messages == []


@pytest.mark.parametrize("reason", [RefusalReason.IN_FLIGHT, RefusalReason.TOO_MANY])
def test_what_is_only_busy_is_not_used_up(
    watch: CapWatch, caplog: pytest.LogCaptureFixture, reason: RefusalReason
) -> None:
    with caplog.at_level(logging.DEBUG):
        watch.refused(refusal("all", reason))
    assert caplog.messages == []


async def test_a_process_logs_the_budgets_that_its_submits_and_refusals_tell_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = CoordinatorHarness()
    process = harness.process()
    budgets = (Budget(name="key:1", cap_pictures=9, is_own=True), Budget(name="all", cap_pictures=5))
    options = LookupOptions(permit=permit(Spending(payer="key:1", amount_micro_usd=1, budgets=budgets)))
    with caplog.at_level(logging.WARNING, logger="copperplate.generation.cap_watch"):
        for number in range(5):
            await process.find(picture_request(f"prompt {number}"), options)
            assert len(caplog.messages) == max(0, number - 2), caplog.messages
        for _ in range(3):
            with pytest.raises(BudgetExhausted):
                await process.find(picture_request("one more"), options)
    assert caplog.messages == ["budget all: 80 % of its cap is used", "budget all: 100 % of its cap is used"]


async def test_a_refusal_before_any_submit_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    spending = Spending(payer="key:1", amount_micro_usd=1, budgets=(Budget(name="all", cap_pictures=0),))
    with caplog.at_level(logging.WARNING, logger="copperplate.generation.cap_watch"), pytest.raises(BudgetExhausted):
        await CoordinatorHarness().process().find(picture_request(), LookupOptions(permit=permit(spending)))
    assert caplog.messages == ["budget all: 100 % of its cap is used"]
