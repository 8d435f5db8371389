"""A store that answers too late, not at all, or with something else: nothing is paid for twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.store import MemoryStore
from copperplate.errors import GenerationFailed, ObjectConflict, StoreUnavailable
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit
from copperplate.model import Outcome
from copperplate.recipes.objects import original_key
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import BUCKET, CoordinatorHarness
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator


class ForgetfulStore(MemoryStore):
    """Stores, and does not say so the first three times."""

    silent = 3

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        await super().put(path, body, media_type=media_type)
        if self.silent:
            self.silent -= 1
            raise StoreUnavailable("written, and the answer was lost")


class TakenStore(MemoryStore):
    """Says of every path that other bytes are there, as a duplicate or a body too large is refused for good."""

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        raise ObjectConflict(path)


class RefusingStore(MemoryStore):
    """Takes nothing, and notes when each object was brought."""

    def __init__(self, harness: CoordinatorHarness) -> None:
        super().__init__(BUCKET)
        self._clock = harness.clock
        self.tries: dict[str, list[float]] = {}

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        self.tries.setdefault(path, []).append(self._clock.monotonic())
        raise StoreUnavailable("the store is down")


class SlowStore(MemoryStore):
    """Takes three leases for a picture."""

    def __init__(self, harness: CoordinatorHarness) -> None:
        super().__init__(BUCKET)
        self._clock = harness.clock

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        await self._clock.sleep(60)
        await super().put(path, body, media_type=media_type)


@pytest.fixture
def harness() -> CoordinatorHarness:
    return CoordinatorHarness()


def over(harness: CoordinatorHarness, store: MemoryStore) -> Coordinator:
    """A process that stores there."""
    harness.kinds["image"] = replace(harness.kinds["image"], store=store)
    return harness.process()


async def test_write_whose_answer_was_lost_is_repeated_at_the_same_path(harness: CoordinatorHarness) -> None:
    store = ForgetfulStore(BUCKET)
    task = await harness.begin(over(harness, store), picture_request())
    await harness.clock.advance(10)
    assert (await task).outcome is Outcome.GENERATED
    assert harness.provider.submits == 1
    rendition = (await task).entry
    original = await harness.ledger.peek(
        picture_request().generation_key, original_key(picture_request().generation_key)
    )
    assert isinstance(original, Hit)
    [beside] = set(store._objects) - {rendition.path, original.entry.path}
    assert beside.endswith(".webp")


async def test_store_in_trouble_is_tried_at_growing_distances_while_callers_wait(harness: CoordinatorHarness) -> None:
    store = RefusingStore(harness)
    task = await harness.begin(over(harness, store), picture_request())
    await harness.clock.advance(7)
    with pytest.raises(StoreUnavailable):
        await task
    for tries in (tries for path, tries in store.tries.items() if path.endswith(".png")):
        assert [round(later - earlier, 3) for earlier, later in pairwise(tries)] == [0.2, 0.4, 0.8, 1.6, 3.2]


async def test_path_that_is_taken_fails_the_generation_and_keeps_nothing(harness: CoordinatorHarness) -> None:
    store = TakenStore(BUCKET)
    process = over(harness, store)
    for _ in range(2):
        with pytest.raises(GenerationFailed) as failed:
            await process.find(picture_request(), GENERATE)
        assert failed.value.failure_class is FailureClass.TRANSIENT
    assert harness.provider.submits == 1
    assert (await harness.ledger.generation_stats()).total_completed == 0


async def test_slow_store_costs_the_leader_time_and_not_its_lease(harness: CoordinatorHarness) -> None:
    process, other = over(harness, SlowStore(harness)), harness.process()
    task = await harness.begin(process, picture_request())
    follower = await harness.begin(other, picture_request())
    for _ in range(13):
        await harness.clock.advance(5)
    done = await asyncio.gather(task, follower, return_exceptions=True)
    assert harness.provider.submits == 1
    assert (await harness.ledger.generation_stats()).total_completed == 1, done
    assert (await other.find(picture_request(), GENERATE)).outcome is Outcome.HIT
