"""Plays one seed: a troubled time, a healing, an audit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.serving.renditions import Renditions
from tests.simulation.copies import few_known
from tests.simulation.faults import NAP_SECONDS
from tests.simulation.world import PATIENCE, Process, World

if TYPE_CHECKING:
    from collections.abc import Iterator


TROUBLED_SECONDS = 90.0
# Longer than any pause, and than a wait that began at its end.
HEALING_SECONDS = NAP_SECONDS + 3 * PATIENCE
GRACE_SECONDS = 3_601.0


@dataclass(frozen=True, slots=True)
class Report:
    """What one seed showed."""

    seed: int
    violations: list[str]
    trace: list[str]
    submits: int
    second_submits: int
    requests: int
    refusals: int
    faults: int
    debits: int
    budget_refusals: int
    takedowns: int
    # Answers from copies.
    hits: int
    stale: int


def play(seed: int) -> Report:
    """Play one history and check every promise."""
    with _seeded(seed), few_known(seed):
        world = World(seed)
        _trouble(world)
        world.loop.run(TROUBLED_SECONDS)
        world.heal()
        world.loop.run(HEALING_SECONDS)
        _audit(world)
        world.loop.finish(list(world.processes))
    return Report(
        seed,
        world.oracle.violations,
        world.trace,
        world.oracle.submits,
        world.oracle.second_submits,
        len(world.requests),
        world.oracle.refusals,
        world.faults.drawn,
        world.money.debits if world.money is not None else 0,
        world.budgets.refusals if world.budgets is not None else 0,
        world.takedowns.count if world.takedowns is not None else 0,
        world.copies.hits if world.copies is not None else 0,
        world.copies.stale if world.copies is not None else 0,
    )


def _trouble(world: World) -> None:
    for _ in range(world.random.randint(2, 5)):
        world.begin(None, _server(world))
    if world.random.random() < 0.4 or world.budgets is not None:
        world.begin(None, _people(world))
    if world.random.random() < 0.3:
        world.begin(None, _disk(world))
    if world.random.random() < 0.5:
        world.begin(None, _cron(world))
    if world.takedowns is not None:
        world.begin(None, world.takedowns.play())
    if world.copies is not None:
        world.begin(None, world.copies.play())


async def _server(world: World) -> None:
    """A process, its callers, and the one that replaces it when it dies."""
    await asyncio.sleep(world.random.choice((0.0, 0.0, world.random.uniform(0, 60))))
    while world.loop.time() < TROUBLED_SECONDS:
        process, serving = world.start_process()
        for _ in range(world.draw_asks()):
            if process.is_dead:
                break
            world.begin(process, world.ask(process, serving, world.draw_want()))
            await asyncio.sleep(world.draw_pause())
        await asyncio.sleep(5)
        if not process.is_dead:
            return
        world.note(f"{process.name} is dead and replaced")


async def _people(world: World) -> None:
    for _ in range(2 if world.budgets is None else 12):
        await asyncio.sleep(world.random.uniform(0, 60 if world.budgets is None else 12))
        world.declare_wrong(world.random.choice(world.picture_requests))


async def _disk(world: World) -> None:
    for _ in range(12):
        await asyncio.sleep(world.random.uniform(0, 8))
        world.harm_an_object()


async def _cron(world: World) -> None:
    for seconds in (world.random.uniform(0, 60), 1_200.0, world.random.uniform(GRACE_SECONDS, NAP_SECONDS + 90)):
        await asyncio.sleep(seconds - world.loop.time() if seconds > world.loop.time() else 0)
        process, _ = world.start_process()
        keep = timedelta(seconds=world.random.choice((30, 86_400)))
        world.begin(process, world.clean(process, keep=keep))


def _audit(world: World) -> None:
    """Everyone was answered, everything is whole, and nothing is left lying about."""
    _everybody_was_answered(world)
    if world.money is not None:
        process, _ = world.start_process()
        world.begin(process, world.clean(process, keep=timedelta(days=30)))
        world.loop.run(60)
        world.money.is_over()
    if world.budgets is not None:
        world.budgets.is_over()
    # Whatever failed has rested by then; what was left half done was taken up and may have failed once more.
    world.provider.failing, world.provider.seconds = 0.0, 0.5
    for _ in range(2):
        world.loop.run(2 * 86_400)
        for asked in world.picture_requests:
            process, serving = world.start_process()
            world.begin(process, world.ask(process, serving, asked))
            if world.is_outage:
                world.loop.run(PATIENCE)  # while the breaker is open, one at a time may try
        world.loop.run(2 * PATIENCE)
    for request in world.requests[-len(world.picture_requests) :]:
        is_gone = world.takedowns is not None and world.takedowns.is_taken_down(request.asked.generation_key)
        is_right = request.answer == "TakenDown" if is_gone else "picture" in request.answer
        world.oracle.check(is_right, f"a picture cannot be had any more: {request.answer or 'silence'}")
    world.oracle.everything_is_whole(world.ledger.entries(), world.store.peek)
    for _ in range(2):
        world.loop.run(GRACE_SECONDS)
        process, _ = world.start_process()
        world.begin(process, world.clean(process, keep=timedelta(days=30)))
        world.loop.run(60)
    world.oracle.no_orphans(world.store.paths())
    for complaint in world.loop.complaints:
        world.oracle.broken(complaint)


def _everybody_was_answered(world: World) -> None:
    for request in world.requests:
        if not request.process.is_dead:
            world.oracle.check(bool(request.answer), f"a caller of {request.process.name} was never answered")


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The jitter of the program itself follows the seed too."""
    state = random.getstate()
    random.seed(seed)
    logging.disable(logging.WARNING)  # lost objects are part of the play
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        random.setstate(state)


__all__ = ["Process", "Renditions", "Report", "play"]
