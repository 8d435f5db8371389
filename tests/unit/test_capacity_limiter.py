"""A room of so many places and bytes."""

from __future__ import annotations

import asyncio
import contextlib

from copperplate.imaging.capacity_limiter import CapacityLimiter


async def entering(room: CapacityLimiter, size_bytes: int) -> asyncio.Task[None]:
    task = asyncio.create_task(room.acquire(size_bytes))
    await asyncio.sleep(0)
    return task


async def test_work_is_admitted_while_there_is_memory_for_it() -> None:
    room = CapacityLimiter(places=9, size_bytes=100)
    first, second, third = [await entering(room, 40) for _ in range(3)]
    assert (first.done(), second.done(), third.done()) == (True, True, False)
    room.release(40)
    await third


async def test_work_is_admitted_while_there_is_a_place_for_it() -> None:
    room = CapacityLimiter(places=1, size_bytes=100)
    await room.acquire(1)
    second = await entering(room, 1)
    assert not second.done()
    room.release(1)
    await second


async def test_nobody_overtakes_the_largest() -> None:
    room = CapacityLimiter(places=9, size_bytes=100)
    await room.acquire(60)
    largest = await entering(room, 100)
    small = await entering(room, 1)
    assert not largest.done()
    assert not small.done()
    room.release(60)
    await largest
    assert not small.done()
    room.release(100)
    await small


async def test_who_goes_away_while_waiting_takes_nothing_and_holds_up_nobody() -> None:
    room = CapacityLimiter(places=9, size_bytes=100)
    await room.acquire(60)
    largest = await entering(room, 100)
    small = await entering(room, 40)
    largest.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await largest
    await asyncio.wait_for(small, 30)


async def test_who_goes_away_in_the_moment_of_admission_gives_it_back() -> None:
    room = CapacityLimiter(places=1, size_bytes=100)
    await room.acquire(100)
    second = await entering(room, 100)
    room.release(100)  # admits the second, which has not run since
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second
    await asyncio.wait_for(room.acquire(100), 30)
