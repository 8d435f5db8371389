"""The work step: due wishes are made and settled, late ones are put back, and one bad wish stops no other."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import weakref
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from copperplate.access.gate import Gate
from copperplate.budgets import Budget, Charge, Spending
from copperplate.errors import LedgerUnavailable, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.timings import Timings
from copperplate.settings import Settings
from copperplate.testing import GENERATE
from copperplate.wishes import NewWish, WishStatus
from copperplate.work.promises import new_wish
from copperplate.work.step import SWEEP_ROWS, Report, WorkStep
from tests.support.cdns import cdn_purges
from tests.support.coordinator_harness import CoordinatorHarness, ScriptedProvider
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import CanonicalValue, InputPicture, Job, PictureRequest, ProviderResult
    from copperplate.wishes import Settlement

LEASE: Final = timedelta(seconds=20)
ALICE: Final = UUID(int=1)
SPENDING: Final = Spending(
    payer=f"user:{ALICE}", amount_micro_usd=3_000, budgets=(Budget(name=f"user:{ALICE}", is_own=True),)
)


class CrowdedProvider(ScriptedProvider):
    """Counts how many pictures it makes at once."""

    at_once = most_at_once = 0

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await super().submit(recipe, inputs)
        finally:
            self.at_once -= 1


async def _as_it_is(request: PictureRequest) -> PictureRequest:
    return request


class Harness:
    """One ledger, and as many processes that work on it as a test wants."""

    def __init__(self, **provider: Any) -> None:
        self.harness = CoordinatorHarness(**provider)
        self.provider = CrowdedProvider(self.harness.clock, **provider)
        self.harness.kinds["image"] = replace(self.harness.kinds["image"], provider=self.provider)
        self.ledger, self.clock = self.harness.ledger, self.harness.clock
        self.coordinator = self.harness.process()
        self.work = self.step_over(self.coordinator)

    def step_over(self, coordinator: Coordinator, **changed: Any) -> WorkStep:
        settings = Settings.from_env({"COPPERPLATE_DAILY_BUDGET_USD": "off"})
        kinds = self.harness.kinds
        parts = {
            "ledger": self.ledger,
            "coordinator": coordinator,
            "gate": Gate(settings=settings, kinds=kinds, clock=self.clock),
            "kinds": kinds,
            "clock": self.clock,
            "lease": LEASE,
            "in_flight": 4,
            "with_input": _as_it_is,
            "cdn_purges": cdn_purges(self.ledger),
        }
        return WorkStep(**{**parts, **changed})

    async def wish(self, *prompts: str, **fields: Any) -> list[int]:
        """Wishes that are due now."""
        given = {"owner": f"user:{ALICE}", "spending": SPENDING, **fields}
        requests = [picture_request(prompt) for prompt in prompts]
        wishes = [NewWish(**{"generation_key": r.generation_key, "recipe": r.recipe, **given}) for r in requests]
        return [await self.ledger.make_wish(wish, held_for=timedelta(0)) for wish in wishes]

    def ended(self) -> list[tuple[WishStatus, str | None]]:
        return [(row.status, row.code) for row in self.ledger._wishes.values()]

    async def begin(self, work: Coroutine[Any, Any, Report]) -> asyncio.Task[Report]:
        task = asyncio.create_task(work)
        await self.clock.settle()
        return task


async def test_what_is_due_is_made_and_settled() -> None:
    harness = Harness()
    await harness.wish("a fox", "an owl")
    assert await harness.work.run(within_seconds=60) == Report(made=2)
    assert harness.ended() == [(WishStatus.COMPLETED, None)] * 2
    assert harness.provider.submits == 2
    assert await harness.work.run(within_seconds=60) == Report()


async def test_no_more_are_in_flight_than_may_be_and_the_rest_follows() -> None:
    harness = Harness(seconds=3)
    await harness.wish(*(f"fox {number}" for number in range(10)))
    step = await harness.begin(harness.work.run(within_seconds=600, in_flight=3))
    await harness.clock.advance(30)
    assert await step == Report(made=10)
    assert harness.provider.most_at_once == 3


async def test_twenty_steps_at_once_make_each_wish_once() -> None:
    harness = Harness(seconds=3)
    await harness.wish(*(f"fox {number}" for number in range(10)))
    steps = [
        await harness.begin(harness.step_over(harness.harness.process()).run(within_seconds=600)) for _ in range(20)
    ]
    await harness.clock.advance(60)
    reports = [await step for step in steps]
    assert sum(report.made for report in reports) == 10
    assert harness.provider.submits == 10
    assert harness.provider.most_at_once <= 4


async def test_a_step_takes_at_most_so_many() -> None:
    harness = Harness()
    await harness.wish("a fox", "an owl", "a hare")
    assert await harness.work.run(within_seconds=60, at_most=2) == Report(made=2)
    assert await harness.ledger.is_work_due()


async def test_a_step_takes_at_most_so_many_though_several_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(seconds=1)
    await harness.wish(*(f"fox {number}" for number in range(20)))
    settle_wish = harness.ledger.settle_wish

    async def settle_and_answer_late(wish: int, settlement: Settlement) -> bool:
        """Settled in the ledger, while all but the first flight do not know yet."""
        is_settled = await settle_wish(wish, settlement)
        if wish > 1:
            await harness.clock.sleep(1)
        return is_settled

    monkeypatch.setattr(harness.ledger, "settle_wish", settle_and_answer_late)
    step = await harness.begin(harness.work.run(within_seconds=60, in_flight=5, at_most=5))
    await harness.clock.advance(20)
    assert await step == Report(made=5)
    assert harness.provider.submits == 5


async def test_a_step_does_not_take_what_it_is_making(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    find = harness.coordinator.find

    async def find_late(*arguments: Any) -> LookupResult:
        # Its hold is over before somebody leads.
        await harness.clock.sleep(30)
        return await find(*arguments)

    monkeypatch.setattr(harness.coordinator, "find", find_late)
    await harness.wish("a fox")
    step = await harness.begin(harness.work.run(within_seconds=600))
    await harness.clock.advance(40)
    assert await step == Report(made=1)
    [row] = harness.ledger._wishes.values()
    assert row.tries == 2  # taken, and then looked over


async def test_a_bad_wish_is_put_back_for_longer_each_time_and_keeps_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    recipe = {**picture_request("a very private fox").recipe, "kind": "hologram"}
    await harness.wish("a bad one", recipe=recipe, generation_key="0" * 64)
    await harness.wish("a fox")
    assert await harness.work.run(within_seconds=60) == Report(made=1, put_back=1)
    bad = harness.ledger._wishes[1]
    assert bad.due_at - harness.clock.monotonic() == 60
    await harness.clock.advance(61)
    assert await harness.work.run(within_seconds=60) == Report(put_back=1)
    assert bad.due_at - harness.clock.monotonic() == 120
    assert "unexpected error in a work step" in caplog.text
    assert "private" not in caplog.text


async def test_a_recipe_that_is_not_the_keys_makes_nothing() -> None:
    harness = Harness()
    await harness.wish("a fox", generation_key="0" * 64)
    assert await harness.work.run(within_seconds=60) == Report(put_back=1)
    assert harness.provider.submits == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "a model of tomorrow"},
        {"kind": "memoji", "size": "64x64", "background": "auto"},
    ],
)
async def test_what_nobody_makes_here_waits_for_a_process_that_does(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    from copperplate.recipes import provider_input
    from copperplate.recipes.canonical import cache_key

    monkeypatch.setattr(provider_input, "describe", lambda _: "somebody")
    harness = Harness()
    recipe = {**picture_request().recipe, **changed}
    await harness.wish("a fox", recipe=recipe, generation_key=cache_key(recipe))
    assert await harness.work.run(within_seconds=60) == Report(put_back=1)
    assert harness.ended() == [(WishStatus.OPEN, None)]
    assert harness.provider.submits == 0
    # For a minute, then for longer, and never for so long that a neighbour has to wait for it.
    await harness.clock.advance(61)
    for _ in range(9):
        assert await harness.ledger.is_work_due()
        assert await harness.work.run(within_seconds=60) == Report(put_back=1)
        assert not await harness.ledger.is_work_due()
        await harness.clock.advance(601)
    await harness.clock.advance(86_400)
    await harness.work.run(within_seconds=60)
    assert harness.ended() == [(WishStatus.FAILED, "abandoned")]


async def test_a_wait_that_is_over_ends_no_generation() -> None:
    harness = Harness(seconds=5)
    impatient = harness.harness.process(timings=Timings(wait=timedelta(milliseconds=50)))
    await harness.wish("a fox")
    step = await harness.begin(harness.step_over(impatient).run(within_seconds=600))
    await asyncio.sleep(0.1)  # the wait is real time, the rest is not
    assert not step.done()
    await harness.clock.advance(10)
    assert await step == Report(made=1)
    assert harness.provider.submits == 1


async def test_what_is_late_is_put_back_and_its_generation_goes_on() -> None:
    harness = Harness(seconds=30)
    await harness.wish("a fox")
    step = await harness.begin(harness.work.run(within_seconds=5))
    await harness.clock.advance(6)
    assert await step == Report(put_back=1)
    assert harness.ended() == [(WishStatus.OPEN, None)]
    assert not await harness.ledger.is_work_due()  # its generation is under way
    await harness.clock.advance(30)
    assert await harness.work.run(within_seconds=5) == Report(made=1)
    assert harness.provider.submits == 1


async def test_at_the_end_of_the_process_wishes_are_put_back_at_once() -> None:
    harness = Harness(seconds=30)
    await harness.wish("a fox", "an owl")
    step = await harness.begin(harness.work.run(within_seconds=math.inf))
    harness.work.stop()
    await harness.coordinator.shut_down(within_seconds=0)
    await harness.work.shut_down(within_seconds=0)
    assert await step == Report(put_back=2)
    assert await harness.ledger.is_work_due()
    assert await harness.work.run(within_seconds=60) == Report()  # this process takes no more
    successor = await harness.begin(harness.step_over(harness.harness.process()).run(within_seconds=60))
    await harness.clock.advance(31)
    assert await successor == Report(made=2)


async def test_a_step_that_is_cancelled_leaves_what_it_took_to_the_process() -> None:
    harness = Harness(seconds=5)
    await harness.wish("a fox")
    step = await harness.begin(harness.work.run(within_seconds=math.inf))
    step.cancel()
    await harness.clock.advance(6)
    assert harness.ended() == [(WishStatus.COMPLETED, None)]


async def test_a_failure_for_good_ends_the_wish_with_its_class(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(failures=[ProviderFailed(FailureClass.MODERATED, "the words of the provider")])
    await harness.wish("a very private fox")
    assert await harness.work.run(within_seconds=60) == Report(failed=1)
    assert harness.ended() == [(WishStatus.FAILED, "moderated")]
    assert "code=moderated" in caplog.text
    assert "private" not in caplog.text


async def test_a_failure_that_passes_puts_the_wish_back_with_its_pause() -> None:
    limit = ProviderFailed(FailureClass.RATE_LIMITED, "slow", billed=False, retry_after=timedelta(seconds=30))
    harness = Harness(failures=[limit])
    await harness.wish("a fox")
    assert await harness.work.run(within_seconds=60) == Report(put_back=1)
    assert not await harness.ledger.is_work_due()
    await harness.clock.advance(31)
    assert await harness.work.run(within_seconds=60) == Report(made=1)


async def test_a_strangers_wish_is_not_put_back_where_its_generation_fails() -> None:
    limit = ProviderFailed(FailureClass.RATE_LIMITED, "slow", billed=False, retry_after=timedelta(seconds=30))
    harness = Harness(failures=[limit])
    spending = replace(SPENDING, payer="anonymous", budgets=(Budget(name="anonymous", is_own=True),))
    await harness.wish("a fox", owner="anonymous", spending=spending)
    assert await harness.work.run(within_seconds=60) == Report(failed=1)
    assert harness.ended() == [(WishStatus.FAILED, "rate_limited")]


async def test_what_was_billed_too_often_is_not_pending_for_a_day() -> None:
    harness = Harness(failures=[ProviderFailed(FailureClass.TRANSIENT, "500")] * 3)
    await harness.wish("a fox")
    for _ in range(2):
        assert await harness.work.run(within_seconds=60) == Report(put_back=1)
        await harness.clock.advance(60)
    assert await harness.work.run(within_seconds=60) == Report(failed=1)
    assert harness.ended() == [(WishStatus.FAILED, "transient")]


async def test_a_rate_limit_without_an_end_costs_few_calls_a_day() -> None:
    limit = ProviderFailed(FailureClass.RATE_LIMITED, "slow", billed=False)
    harness = Harness(failures=[limit] * 1_000)
    await harness.wish("a fox")
    [row] = harness.ledger._wishes.values()
    while row.is_open:
        await harness.clock.advance(max(0.0, row.due_at - harness.clock.monotonic()))
        await harness.work.run(within_seconds=60)
    assert harness.ended() == [(WishStatus.FAILED, "abandoned")]
    assert harness.provider.submits < 50


async def test_a_charge_is_of_whom_the_wish_says() -> None:
    harness = Harness()
    await harness.wish("a fox", charge=Charge(user=ALICE))
    assert await harness.work.run(within_seconds=60) == Report(failed=1)
    assert harness.ended() == [(WishStatus.FAILED, "not_enough_credits")]
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.wish("an owl", charge=Charge(user=ALICE))
    assert await harness.work.run(within_seconds=60) == Report(made=1)
    assert (await harness.ledger.credits(ALICE)).balance == 0


async def test_what_is_stored_already_costs_nothing() -> None:
    harness = Harness()
    await harness.coordinator.find(picture_request("a fox"), GENERATE)
    await harness.wish("a fox", charge=Charge(user=ALICE))
    assert await harness.work.run(within_seconds=60) == Report(made=1)
    assert harness.provider.submits == 1


async def test_an_outage_is_raised_where_nothing_is_under_way_and_else_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(seconds=5)
    take = harness.ledger.take_wishes
    asked = 0

    async def answer_once(**options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise LedgerUnavailable("away")
        return await take(**options)

    monkeypatch.setattr(harness.ledger, "take_wishes", answer_once)
    await harness.wish("a fox")
    step = await harness.begin(harness.work.run(within_seconds=60))
    await harness.clock.advance(4)
    assert not step.done()
    await harness.clock.advance(2)
    with pytest.raises(LedgerUnavailable):
        await step
    assert harness.ended() == [(WishStatus.COMPLETED, None)]


async def test_abandoned_generations_are_swept_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    sweeps = []

    async def sweep(limit: int) -> int:
        sweeps.append(limit)
        raise LedgerUnavailable("correctness does not depend on it")

    monkeypatch.setattr(harness.ledger, "sweep", sweep)
    for _ in range(3):
        await harness.work.run(within_seconds=60)
    assert len(sweeps) == 1
    await harness.clock.advance(61)
    await harness.work.run(within_seconds=60)
    assert len(sweeps) == 2


async def test_a_promise_whose_leader_died_is_made_by_the_next_step() -> None:
    harness = Harness(seconds=30)
    request = picture_request()
    wish = new_wish(request, GENERATE, owner="anonymous")
    await harness.ledger.make_wish(replace(wish, spending=SPENDING), held_for=LEASE)
    assert await harness.work.run(within_seconds=60) == Report()
    await harness.clock.advance(LEASE.total_seconds() + 1)
    step = await harness.begin(harness.work.run(within_seconds=60))
    await harness.clock.advance(31)
    assert await step == Report(made=1)


async def test_that_work_is_due_is_noted_until_the_next_step(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness = Harness()
    assert not harness.work.is_due
    harness.work.note_due()
    assert harness.work.is_due
    await harness.work.run(within_seconds=60)
    assert not harness.work.is_due


async def test_a_run_keeps_nothing_of_what_has_ended_and_sweeps_on(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    sweeps = []

    async def sweep(limit: int) -> int:
        sweeps.append(limit)
        return 0

    monkeypatch.setattr(harness.ledger, "sweep", sweep)
    await harness.wish("picture 0")
    ended: list[weakref.ref[Any]] = []
    settle_wish = harness.ledger.settle_wish

    async def then_another(wish: int, settlement: Settlement) -> bool:
        """Each wish that is settled makes another one due: the run does not end."""
        ended.append(weakref.ref(asyncio.current_task()))
        is_settled = await settle_wish(wish, settlement)
        if len(ended) < 50:
            await harness.wish(f"picture {len(ended)}")
            await harness.clock.advance(2)
        return is_settled

    monkeypatch.setattr(harness.ledger, "settle_wish", then_another)
    run = asyncio.create_task(harness.work.run(within_seconds=math.inf))
    async with asyncio.timeout(10):
        while len(ended) < 40:
            await asyncio.sleep(0)
    gc.collect()
    assert sum(task() is not None for task in ended) < 10
    assert await run == Report(made=50)
    assert sweeps.count(SWEEP_ROWS) == 2  # the coordinator sweeps as well
