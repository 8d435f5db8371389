"""Takedowns in a history: an owner takes pictures down at any moment, and lifts some; and every promise about that."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.ledger_answers import Gone
from tests.simulation.loop import run_now

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from tests.simulation.world import Request, World


class Takedowns:
    """What is taken down, as its owner knows it."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Of its own, so that it changes nothing of the story before the first takedown.
        self._random = random.Random(f"what is taken down in {world.seed}")
        self._taken_at: dict[str, float] = {}
        self.count = 0

    async def play(self) -> None:
        """One or two takedowns; half of them are lifted, some at once."""
        for _ in range(self._random.randint(1, 2)):
            await asyncio.sleep(self._random.uniform(0, 45))
            asked = self._random.choice(self._world.picture_requests)
            self._take_down(asked)
            if self._random.random() < 0.5:
                await asyncio.sleep(self._random.choice((0.0, 0.5, 25.0)))
                self._lift(asked)

    def is_taken_down(self, key: str) -> bool:
        """Whether its owner wants it gone."""
        return key in self._taken_at

    def answers(self, key: str, result: Any) -> None:
        """The ledger answers a look or an election."""
        self._world.oracle.check(
            isinstance(result, Gone) == self.is_taken_down(key),
            "a picture that was taken down is found" if self.is_taken_down(key) else "gone, and not taken down",
        )

    def accepts(self, key: str, what: str) -> None:
        """The ledger accepts a write that costs, or that makes a picture."""
        self._world.oracle.check(not self.is_taken_down(key), f"{what} of a picture that was taken down")

    def serves(self, request: Request, patience: float) -> None:
        """A caller has the picture: who began before, or joined one that had, was on the way."""
        taken_at = self._taken_at.get(request.asked.generation_key)
        if taken_at is not None:
            was_under_way = request.began_at <= taken_at + patience + request.process.frozen_seconds
            self._world.oracle.check(was_under_way, "a picture that was taken down was served")

    def _take_down(self, asked: PictureRequest) -> None:
        world, key = self._world, asked.generation_key
        is_shown = asked.rendition_key in world.ledger._entries
        world.note("the owner takes the picture down")
        taken = run_now(world.ledger.take_down(asked.rendition_key if is_shown else key))
        world.oracle.check(taken.generation_key == key, "another picture was taken down")
        world.oracle.voids(key)
        self._taken_at[key] = world.loop.time()
        self.count += 1
        if world.money is not None:
            world.money.check("take_down")
        if world.copies is not None:
            world.copies.check()

    def _lift(self, asked: PictureRequest) -> None:
        self._world.note("the owner lifts it")
        self._world.oracle.check(run_now(self._world.ledger.lift_takedown(asked.generation_key)), "nothing to lift")
        self._taken_at.pop(asked.generation_key, None)


# --- bugs ----------------------------------------------------------------------------------------


def _leave_the_lease(self: Any, generation_key: str, _: Any) -> None:
    self._remove([name for name, kept in self._entries.items() if kept.entry.generation_key == generation_key])


def _forget_the_objects(self: Any, generation_key: str, row: Any) -> None:
    before = dict(self._discarded)
    MemoryLedger._remove_taken_down(self, generation_key, row)
    self._discarded = before


def _see_no_tombstone(self: Any, generation_key: str, rendition_key: str) -> Any:
    with patch.dict(self._takedowns, clear=True):
        return MemoryLedger._see(self, generation_key, rendition_key)


def _keep_what_is_held(self: Any, generation_key: str, row: Any) -> None:
    with patch.object(self.__class__, "_give_back_all", lambda *_: None):
        MemoryLedger._remove_taken_down(self, generation_key, row)


# What is planted where in the ledger, by what it is.
BUGS_OF_TAKEDOWNS = {
    "a takedown leaves the lease": ("_remove_taken_down", _leave_the_lease),
    "a takedown forgets the objects": ("_remove_taken_down", _forget_the_objects),
    "a takedown gives nothing back": ("_remove_taken_down", _keep_what_is_held),
    "a tombstone is not looked for": ("_see", _see_no_tombstone),
}
