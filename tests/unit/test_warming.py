"""A run of warming: batches of a bounded size, worked on here, until they have ended or somebody stops it."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import LedgerMisconfigured, LedgerUnavailable, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions
from copperplate.operations import warming, warming_plan
from copperplate.operations.warming import Warmed, Warming
from copperplate.testing import GENERATE
from copperplate.wishes import Priority, Purpose, State
from copperplate.work.promises import new_wish
from tests.support.memory_services import MemoryServices, memory_services
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from copperplate.wishes import NewWish

OWNER = "owner"


class HurriedClock(SystemClock):
    """Nobody waits for its naps, and they pass all the same."""

    skipped = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    async def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "LOOK_SECONDS", 0.005)


@pytest.fixture
async def services() -> AsyncIterator[MemoryServices]:
    made = memory_services()
    yield made
    await made.request_meter.close()


def wishes_of(services: MemoryServices, *texts: str) -> list[NewWish]:
    asked = [picture_request(text) for text in texts]
    permits = [services.gate.permit_of_owner(each) for each in asked]
    return [
        new_wish(each, LookupOptions(permit=permit), owner=OWNER, priority=Priority.LOW)
        for each, permit in zip(asked, permits, strict=True)
    ]


def texts(number: int) -> list[str]:
    return [f"picture {each}" for each in range(number)]


async def run(
    services: MemoryServices,
    wishes: Sequence[NewWish],
    *,
    steps: Any = None,
    stop: asyncio.Event | None = None,
    in_flight: int = 4,
) -> tuple[Warmed, list[int]]:
    """What the run came to, and what it said on its way."""
    said: list[int] = []
    run_ = Warming(wishes, owner=OWNER, ledger=services.ledger, clock=HurriedClock())
    warmed = await run_.run(
        steps or services.work, in_flight=in_flight, stop=stop or asyncio.Event(), on_look=said.append
    )
    return warmed, said


async def test_what_is_chosen_is_made_and_booked_to_the_owner(services: MemoryServices) -> None:
    warmed, said = await run(services, wishes_of(services, *texts(10)))
    assert (warmed.made, warmed.existed, warmed.left, warmed.failures) == (10, 0, 0, [])
    assert (warmed.booked_micro_usd, services.image_provider.submits) == (30_000, 10)
    assert said[-1] == 10
    assert said == sorted(said)
    [wall] = await services.ledger.read_budgets([services.gate._wall])
    assert (wall.used_micro_usd, wall.used_pictures) == (30_000, 10)
    [batch] = services.ledger._wish_batches.values()
    assert (batch.asked.purpose, batch.asked.owner) == (Purpose.WARM, OWNER)


async def test_two_batches_are_kept_at_a_time_and_all_are_made(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming_plan, "CHUNK", 3)
    open_batches: list[int] = []
    keep = services.ledger.create_batch

    async def note(batch: Any) -> Any:
        made = await keep(batch)
        found = [await services.ledger.find_batch(each) for each in services.ledger._wish_batches]
        open_batches.append(sum(each is not None and not each.is_final for each in found))
        return made

    monkeypatch.setattr(services.ledger, "create_batch", note)
    warmed, _ = await run(services, wishes_of(services, *texts(10)))
    assert (warmed.made, len(warmed.batches), max(open_batches)) == (10, 4, 2)
    assert [len(row.asked.wishes) for row in services.ledger._wish_batches.values()] == [3, 3, 3, 1]


async def test_with_few_places_batches_are_small_enough_to_be_made_before_they_are_abandoned(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "WISHES_A_PLACE", 2)
    await run(services, wishes_of(services, *texts(5)), in_flight=1)
    assert [len(row.asked.wishes) for row in services.ledger._wish_batches.values()] == [2, 2, 1]


async def test_one_failure_is_a_result_and_the_others_are_made(services: MemoryServices) -> None:
    services.image_provider.failures = [ProviderFailed(FailureClass.MODERATED, "no")]
    wishes = wishes_of(services, *texts(5))
    warmed, _ = await run(services, wishes)
    assert (warmed.made, warmed.left, warmed.failed_by_code) == (4, 0, {"moderated": 1})
    assert warmed.failures == [(wishes[0].generation_key, "moderated")]
    assert warmed.booked_micro_usd == 12_000


async def test_behind_the_wall_nothing_more_is_made_and_the_run_ends() -> None:
    services = memory_services(environ={"COPPERPLATE_DAILY_BUDGET_USD": "0.006"})
    warmed, _ = await run(services, wishes_of(services, *texts(4)), in_flight=1)
    assert (warmed.made, warmed.failed_by_code, warmed.left) == (2, {"budget_exhausted": 2}, 0)
    assert services.image_provider.submits == 2
    await services.request_meter.close()


async def test_what_somebody_else_made_since_the_plan_costs_nothing(services: MemoryServices) -> None:
    await services.coordinator.find(picture_request("picture 0"), GENERATE)
    warmed, _ = await run(services, wishes_of(services, *texts(3)))
    assert (warmed.existed, warmed.made, warmed.booked_micro_usd) == (1, 2, 6_000)
    assert services.image_provider.submits == 3


async def test_a_run_of_nothing_keeps_no_batch(services: MemoryServices) -> None:
    warmed, _ = await run(services, [])
    assert (warmed.made, warmed.batches, services.ledger._wish_batches) == (0, [], {})


class Hanging:
    """A step that makes one picture, and then holds another for as long as it may."""

    def __init__(self, services: MemoryServices, stop: asyncio.Event) -> None:
        self._services = services
        self._stop = stop

    async def run(self, *, within_seconds: float, in_flight: int | None = None) -> None:
        await self._services.work.run(within_seconds=60, in_flight=1, at_most=1)
        await self._services.ledger.take_wishes(in_flight=1, held_for=self._services.settings.lease)
        self._stop.set()
        await asyncio.Event().wait()


async def test_a_run_that_is_stopped_withdraws_what_is_not_begun(services: MemoryServices) -> None:
    stop = asyncio.Event()
    warmed, _ = await run(services, wishes_of(services, *texts(6)), steps=Hanging(services, stop), stop=stop)
    assert (warmed.made, warmed.left) == (1, 5)
    found = await services.ledger.find_batch(warmed.batches[0])
    assert found is not None
    # One is under way: it is paid, and goes on.
    assert (found.counts[State.CANCELED], found.counts[State.COMPLETED]) == (4, 1)
    assert await services.ledger.take_wishes(in_flight=100, held_for=services.settings.lease) == []


async def test_what_was_withdrawn_is_made_by_the_next_run_and_nothing_twice(services: MemoryServices) -> None:
    stop = asyncio.Event()
    wishes = wishes_of(services, *texts(6))
    await run(services, wishes, steps=Hanging(services, stop), stop=stop)
    for row in services.ledger._wishes.values():  # the process that held one is gone
        row.held_until = 0.0
    plan = await warming_plan.plan_warming(wishes, ledger=services.ledger, price_of=lambda _: 3_000)
    warmed, _ = await run(services, plan.chosen)
    assert (plan.existing, warmed.made, warmed.left) == (1, 5, 0)
    assert services.image_provider.submits == 6


async def test_open_wishes_of_a_run_that_was_killed_are_no_second_bill(services: MemoryServices) -> None:
    wishes = wishes_of(services, *texts(6))
    left_behind = Warming(wishes, owner=OWNER, ledger=services.ledger, clock=HurriedClock())
    assert not await left_behind._is_over()
    warmed, _ = await run(services, wishes)
    assert (warmed.made, services.image_provider.submits) == (6, 6)
    await services.work.run(within_seconds=60)
    assert services.image_provider.submits == 6


async def test_a_short_outage_of_the_ledger_is_waited_for(
    services: MemoryServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = itertools.count()
    find = services.ledger.find_batch

    async def fail_at_first(batch: Any) -> Any:
        if next(asked) < 8:
            raise LedgerUnavailable
        return await find(batch)

    monkeypatch.setattr(services.ledger, "find_batch", fail_at_first)
    warmed, _ = await run(services, wishes_of(services, *texts(3)))
    assert (warmed.made, next(asked) > 8) == (3, True)


async def test_a_long_outage_ends_the_run(services: MemoryServices, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(batch: Any) -> Any:
        raise LedgerUnavailable

    monkeypatch.setattr(services.ledger, "find_batch", fail)
    with pytest.raises(LedgerUnavailable):
        await asyncio.wait_for(run(services, wishes_of(services, *texts(3))), 30)


async def test_steps_that_cannot_work_end_the_run(services: MemoryServices) -> None:
    class Broken:
        async def run(self, *, within_seconds: float, in_flight: int | None = None) -> None:
            raise LedgerMisconfigured("no right")

    with pytest.raises(LedgerMisconfigured):
        await asyncio.wait_for(run(services, wishes_of(services, *texts(3)), steps=Broken()), 30)


async def test_a_batch_whose_row_is_gone_is_not_waited_for(services: MemoryServices) -> None:
    class Removing:
        async def run(self, *, within_seconds: float, in_flight: int | None = None) -> None:
            services.ledger._wish_batches.clear()
            services.ledger._wishes.clear()

    warmed, _ = await asyncio.wait_for(run(services, wishes_of(services, *texts(3)), steps=Removing()), 30)
    assert (warmed.made, warmed.left) == (0, 3)
