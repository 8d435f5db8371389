"""Cleaning up: bounded, repeatable, safe beside itself, and never of what is needed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.adapters.fake_clock import FakeClock
from copperplate.care import clean
from copperplate.errors import StoreUnavailable
from memory_services import MemoryServices, memory_services
from pictures import want

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = 86_400.0


async def filled(prompts: int) -> tuple[FakeClock, MemoryServices]:
    clock = FakeClock()
    services = memory_services(clock=clock)
    for number in range(prompts):
        await services.serving.read(want(f"picture {number}"))
    return clock, services


async def test_what_is_used_stays() -> None:
    clock, services = await filled(3)
    await clock.advance(29 * DAY)
    cleaned = await clean(services.ledger, [services.store])
    assert (cleaned.images, cleaned.generations, cleaned.objects, cleaned.is_complete) == (0, 0, 0, True)


async def test_what_is_old_goes_with_its_objects_after_an_hour() -> None:
    clock, services = await filled(3)
    await clock.advance(31 * DAY)
    first = await clean(services.ledger, [services.store])
    assert (first.images, first.generations, first.objects) == (3, 3, 0)
    await clock.advance(3_601)
    second = await clean(services.ledger, [services.store])
    assert (second.images, second.generations, second.objects, second.is_complete) == (0, 0, 6, True)
    assert services.store._objects == {}


async def test_runs_beside_each_other_count_nothing_twice() -> None:
    clock, services = await filled(5)
    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store])
    await clock.advance(3_601)
    runs = await asyncio.gather(*(clean(services.ledger, [services.store]) for _ in range(5)))
    assert sum(run.objects for run in runs) == 10
    assert services.store._objects == {}


async def test_a_run_is_bounded_and_says_so() -> None:
    clock, services = await filled(2)
    await clock.advance(31 * DAY)
    cleaned = await clean(services.ledger, [services.store], rounds=1)
    assert cleaned.images == 2
    assert not cleaned.is_complete


async def test_a_store_that_is_away_loses_no_row() -> None:
    clock, services = await filled(1)
    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store])
    await clock.advance(3_601)
    remove = services.store.remove
    services.store.remove = _away  # type: ignore[method-assign]
    cleaned = await clean(services.ledger, [services.store])
    assert (cleaned.objects, cleaned.is_complete) == (0, False)
    services.store.remove = remove  # type: ignore[method-assign]
    await clock.advance(301)  # the claim ran out
    assert (await clean(services.ledger, [services.store])).objects == 2


async def _away(paths: Sequence[str]) -> frozenset[str]:
    raise StoreUnavailable("the store is down")


async def test_objects_of_a_bucket_we_do_not_hold_are_left_alone() -> None:
    clock, services = await filled(1)
    await clock.advance(31 * DAY)
    await clean(services.ledger, [services.store])
    await clock.advance(3_601)
    cleaned = await clean(services.ledger, [])
    assert (cleaned.objects, cleaned.is_complete) == (0, False)
    assert len(services.store._objects) == 2


async def test_the_age_can_be_chosen() -> None:
    clock, services = await filled(1)
    await clock.advance(2 * DAY)
    assert (await clean(services.ledger, [services.store], keep=timedelta(days=1))).images == 1
