"""Bounded repeats: work that may fail for a moment, done again after a pause, for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from typing import Any

    from copperplate.ports import Clock

T = TypeVar("T")


async def repeat(
    work: Callable[[], Awaitable[T]],
    *,
    errors: tuple[type[Exception], ...],
    pauses: Iterable[float],
    within_seconds: float,
    clock: Clock,
) -> T:
    """The answer of `work`, which is awaited again after each of `pauses` (in seconds) while it raises one of `errors`.

    Raises the error of the last try: after the last pause, or where the next try would begin after `within_seconds`.
    """
    give_up_at = clock.monotonic() + within_seconds
    for pause in pauses:
        try:
            return await work()
        except errors:
            if clock.monotonic() + pause > give_up_at:
                raise
        await clock.sleep(pause)
    return await work()


def growing_pauses(first_seconds: float, *, factor: float = 2.0, max_seconds: float) -> Iterator[float]:
    """Pauses without end, each `factor` times the one before, none above `max_seconds`."""
    pause = first_seconds
    while True:
        yield pause
        pause = min(pause * factor, max_seconds)


async def nap(clock: Clock, seconds: float, hint: asyncio.Event, tasks: Iterable[asyncio.Task[Any]] = ()) -> None:
    """Pause until the `seconds` are over, the `hint` is set (which clears it), or one of the `tasks` is done."""
    naps = (asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(hint.wait()))
    try:
        await asyncio.wait((*naps, *tasks), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in naps:
            each.cancel()
    hint.clear()
