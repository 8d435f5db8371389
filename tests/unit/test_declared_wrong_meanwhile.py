"""Pictures that are declared wrong while they are read or made: nobody is answered with them, joiners neither."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from copperplate.denials import TakenDown
from copperplate.errors import LedgerMisconfigured, StillGenerating
from copperplate.feed import Tier
from copperplate.generation.lookup import LOOK_ONLY
from copperplate.model import Condition, Outcome, PictureFormat
from copperplate.recipes.objects import original_key
from copperplate.testing import GENERATE
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.tiers import Tiers
from tests.support.feeds import PartedClock
from tests.support.pictures import picture_request
from tests.support.tiers_harness import Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.generation.lookup import LookupResult
    from copperplate.serving.renditions import Renditions

JPG, WEBP = picture_request(), picture_request(picture_format=PictureFormat.WEBP)
KEY = JPG.generation_key


@pytest.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    monkeypatch.setattr("tests.support.coordinator_harness.FakeClock", PartedClock)
    made = Machine()
    made.count_calls(monkeypatch)
    await made.serving.read(JPG, GENERATE)
    yield made
    for tiers in made.opened:
        await tiers.close()


async def begin_reading(machine: Machine, serving: Renditions) -> asyncio.Task[LookupResult]:
    """A hit of the ledger whose bytes come slowly."""
    machine.objects.gate = asyncio.Event()
    reading = asyncio.create_task(serving.read(JPG, GENERATE))
    await machine.clock.settle()
    return reading


async def settle_and_open(machine: Machine) -> None:
    await machine.clock.settle()
    assert machine.objects.gate is not None
    machine.objects.gate.set()


async def test_slow_hit_of_what_was_taken_down_meanwhile_is_answered_to_nobody(machine: Machine) -> None:
    serving, _ = await machine.begin_process()
    reading = await begin_reading(machine, serving)
    await machine.ledger.take_down(KEY)
    await machine.pass_time(5)
    joining = [
        asyncio.create_task(serving.read(JPG, GENERATE)),
        asyncio.create_task(serving.find(JPG, GENERATE)),  # as for HEAD and If-None-Match
    ]
    await settle_and_open(machine)
    for task in (reading, *joining):
        with pytest.raises(TakenDown):
            await task


async def test_slow_hit_of_what_was_purged_meanwhile_is_made_anew_once_for_all(machine: Machine) -> None:
    serving, tiers = await machine.begin_process()
    reading = await begin_reading(machine, serving)
    await machine.ledger.purge(Condition(key=KEY), 1, is_dry_run=False)
    await machine.pass_time(5)
    joining = asyncio.create_task(serving.read(JPG, GENERATE))
    await settle_and_open(machine)
    assert {(await task).body for task in (reading, joining)} == {b"picture 2 as jpg"}
    assert machine.provider.submits == 2
    hot = tiers.find_hot(JPG.rendition_key)
    assert hot is not None
    assert hot.copy.body == b"picture 2 as jpg"


async def test_slow_hit_of_a_process_that_had_not_read_the_feed_is_looked_up_again_too(machine: Machine) -> None:
    memory = MemoryTier(machine.clock, max_pictures=5, max_bytes=10**6, max_age_seconds=60)
    tiers = Tiers(machine.feed, machine.clock, memory=memory)
    machine.opened.append(tiers)
    serving = machine.server(machine.process(tiers=tiers), tiers)
    reading = await begin_reading(machine, serving)
    assert tiers.begin_fill() is not None
    await machine.ledger.take_down(KEY)
    await machine.pass_time(5)
    await settle_and_open(machine)
    with pytest.raises(TakenDown):
        await reading


async def test_hit_of_the_ledger_is_answered_although_its_feed_cannot_be_read(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise LedgerMisconfigured("no such function")

    serving, _ = await machine.begin_process()
    monkeypatch.setattr(machine.feed, "read_feed", fail)
    await machine.pass_time(60)
    machine.asked.clear()
    found = await serving.read(JPG, GENERATE)
    assert (found.outcome, found.tier, machine.asked) == (Outcome.HIT, None, ["acquire"])


async def test_generation_is_not_looked_up_again_though_an_older_purge_is_read_of_meanwhile(machine: Machine) -> None:
    serving, _ = await machine.begin_process()
    await machine.ledger.purge(Condition(key=KEY), 1, is_dry_run=False)
    machine.provider.seconds = 3
    asking = [asyncio.create_task(serving.read(JPG, GENERATE)) for _ in range(2)]
    await machine.clock.settle()
    for _ in range(4):
        await machine.pass_time(0.5)
    machine.asked.clear()
    await machine.pass_time(2)
    assert {(await task).outcome for task in asking} == {Outcome.GENERATED, Outcome.COALESCED}
    assert "acquire" not in machine.asked


@pytest.mark.parametrize("way", ["read", "find"])
async def test_rendition_of_a_stale_original_is_confirmed_once_it_is_made(machine: Machine, way: str) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    await serving.read(WEBP, GENERATE)
    await tiers.shut_down(within_seconds=5)
    assert original_key(KEY) in machine.disk.copies
    avif = picture_request(picture_format=PictureFormat.AVIF)
    machine.stop_ledger()
    await machine.pass_time(10)
    machine.artist.gate = asyncio.Event()
    making = asyncio.create_task(getattr(serving, way)(avif, LOOK_ONLY))
    await machine.clock.settle()
    machine.feed.error = None
    await machine.ledger.take_down(KEY)
    await machine.pass_time(2)
    machine.artist.gate.set()
    with pytest.raises(TakenDown):
        await making


async def test_what_is_declared_wrong_again_and_again_is_answered_as_not_ready(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, _ = await machine.begin_process()
    get = machine.objects.get

    async def get_slowly(path: str) -> bytes:
        await machine.ledger.invalidate((Tier.STORAGE, Tier.MEMORY), (KEY,))
        await machine.pass_time(2)
        return await get(path)

    monkeypatch.setattr(machine.objects, "get", get_slowly)
    machine.asked.clear()
    with pytest.raises(StillGenerating):
        await serving.read(JPG, GENERATE)
    assert machine.asked.count("acquire") == 3


async def test_rendition_whose_picture_is_invalid_elsewhere_keeps_its_original(machine: Machine) -> None:
    """Whoever joins an encoding was told of the same original later: an older invalidation is no matter to them."""
    serving, _ = await machine.begin_process()
    machine.artist.gate, machine.objects.put_gate = asyncio.Event(), asyncio.Event()
    making = asyncio.create_task(serving.read(WEBP, GENERATE))
    await machine.clock.settle()
    await machine.ledger.invalidate((Tier.STORAGE,), (KEY,))
    await machine.pass_time(2)
    joining = asyncio.create_task(serving.read(WEBP, GENERATE))
    await machine.clock.settle()
    machine.artist.gate.set()
    assert {(await task).body for task in (making, joining)} == {b"picture 1 as webp"}
    machine.objects.put_gate.set()
    assert machine.artist.encodings == 2  # with the one of the first request, as jpg
