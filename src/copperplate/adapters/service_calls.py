"""Calls to a service: tried again where the error of a try says that this may help, and our error where none did."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from copperplate.adapters.system_clock import SystemClock
from copperplate.repeats import repeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")


class _Transient(Exception):
    """Holds our error of a try after which another may help."""

    def __init__(self, ours: Exception) -> None:
        super().__init__(str(ours))
        self.ours = ours


async def call_service(
    work: Callable[[], Awaitable[T]],
    *,
    translate: Callable[[Exception], tuple[Exception, bool]],
    pauses: Iterable[float],
    within_seconds: float,
) -> T:
    """The answer of `work`, which bounds its own time; tried again after each of `pauses` (seconds, ±50 %).

    `translate` answers our error for a foreign one, and whether another try may help; it raises what it does not know.
    No try begins after `within_seconds`.
    """

    async def attempt() -> T:
        try:
            return await work()
        except Exception as error:
            ours, may_help = translate(error)
            raise (_Transient(ours) if may_help else ours) from error

    jittered = (pause * random.uniform(0.5, 1.5) for pause in pauses)  # noqa: S311 - not a secret
    try:
        return await repeat(
            attempt, errors=(_Transient,), pauses=jittered, within_seconds=within_seconds, clock=SystemClock()
        )
    except _Transient as failed:
        raise failed.ours from failed.__cause__
