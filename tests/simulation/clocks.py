"""Clocks of a history: each process has its own."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from copperplate.adapters.memory.clock import START

if TYPE_CHECKING:
    from tests.simulation.world import World


class ProcessClock:
    """A process's own clock: it starts anywhere, its wall clock may be an hour off, and it drifts a little."""

    def __init__(self, world: World) -> None:
        self._loop = world.loop
        self._offset = world.random.uniform(-10_000, 10_000)
        self._wrong = timedelta(seconds=world.random.choice((0, -3_600, 3_600)))
        self._rate = world.random.choice((0.97, 1.0, 1.03))

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time()) + self._wrong

    def monotonic(self) -> float:
        return self._offset + self._loop.time() * self._rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)


class WorldClock:
    """The ledger's clock. Where there are budgets, its first day ends soon."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._loop = world.loop

    def now(self) -> datetime:
        budgets = self._world.budgets
        began_at = START if budgets is None else START - timedelta(seconds=budgets.seconds_to_midnight)
        return began_at + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the ledger never sleeps")
