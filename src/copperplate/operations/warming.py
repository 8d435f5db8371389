"""Warming: pictures made before anybody asks for them, in batches that work steps of this process, and others, make."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from uuid import uuid4

from copperplate.errors import Unavailable
from copperplate.operations import warming_plan
from copperplate.operations.warming_plan import amount_of, chunks
from copperplate.repeats import growing_pauses, repeat
from copperplate.wishes import NewBatch, Purpose, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from uuid import UUID

    from copperplate.ports import Clock, Wishes
    from copperplate.wishes import Member, NewWish

# So many batches at a time: the next one begins before the last member of the one before it has ended.
BATCHES_AT_ONCE: Final = 2
# Wishes of one batch for each that may be in flight. A wish that is open for a day is abandoned: with two batches, a
# picture may take nearly three minutes.
WISHES_A_PLACE: Final = 250
LOOK_SECONDS: Final = 0.5
# How long a ledger that does not answer is waited for.
PATIENCE_SECONDS: Final = 60.0
# What is under way when a run is stopped has so long to land.
DRAIN_SECONDS: Final = 10.0
# Of one step: what is late at its end is put back and taken anew, so ends are rare.
STEP_SECONDS: Final = 600.0
PAGE: Final = 250

T = TypeVar("T")


class WorkSteps(Protocol):
    """Takes due wishes and makes them (`work.step`)."""

    async def run(self, *, within_seconds: float, in_flight: int | None = None) -> object:
        """Make due wishes until none is due or the time is over, no more than `in_flight` at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """What a run came to.

    `existed` were stored by others since the plan. `failures` has key and code of each generation that failed, `left`
    counts those that were not made since the run was stopped. `booked_micro_usd` is what those `made` were booked at.
    """

    made: int
    existed: int
    left: int
    booked_micro_usd: int
    failures: Sequence[tuple[str, str]] = ()
    batches: Sequence[UUID] = ()

    @property
    def failed_by_code(self) -> Mapping[str, int]:
        """How many failed, the most frequent code first."""
        return dict(Counter(code for _, code in self.failures).most_common())


@dataclass(slots=True)
class _Kept:
    """A batch of this run, and how many of its members had ended when it was last looked at."""

    id: UUID
    wishes: tuple[NewWish, ...] = field(repr=False)
    ended: int = 0
    is_final: bool = False


class Warming:
    """One run over the wishes of a plan, in their order."""

    def __init__(self, wishes: Sequence[NewWish], *, owner: str, ledger: Wishes, clock: Clock) -> None:
        self._wishes = wishes
        self._chunks: Iterator[tuple[NewWish, ...]] = chunks(wishes)
        self._owner = owner
        self._ledger = ledger
        self._clock = clock
        self._kept: list[_Kept] = []

    async def run(
        self, steps: WorkSteps, *, in_flight: int, stop: asyncio.Event, on_look: Callable[[int], None]
    ) -> Warmed:
        """Keep batches and work until all of them have ended, or `stop` is set: then what is not begun is withdrawn.

        `on_look` is told how many members have ended, again and again. Raises what the ledger raises once that lasts
        for a minute; what is kept by then is made by whoever works next.
        """
        self._chunks = chunks(self._wishes, min(warming_plan.CHUNK, in_flight * WISHES_A_PLACE))
        working = asyncio.create_task(_work(steps, in_flight, stop))
        try:
            while not stop.is_set() and not await self._is_over():
                on_look(self._ended())
                if working.done():
                    working.result()
                await _pause(stop)
            if stop.is_set():
                await self._withdraw()
            on_look(self._ended())
            return await self._sum_up()
        finally:
            working.cancel()
            await asyncio.wait((working,))

    async def _is_over(self) -> bool:
        """Look at the batches that go on, and keep the next ones; whether all there is to do is done."""
        for kept in self._going_on():
            await self._look(kept)
        while len(self._going_on()) < BATCHES_AT_ONCE and (chunk := next(self._chunks, ())):
            self._kept.append(_Kept(await self._keep(chunk), chunk))
        return not self._going_on()

    async def _keep(self, chunk: tuple[NewWish, ...]) -> UUID:
        # Under a key of its own, so that a call whose answer was lost is repeated, and not a second batch.
        batch = NewBatch(owner=self._owner, wishes=chunk, purpose=Purpose.WARM, idempotency_key=f"warm-{uuid4()}")
        made = await self._patiently(partial(self._ledger.create_batch, batch))
        assert made is not None  # noqa: S101 - nobody else has that key
        return made

    async def _look(self, kept: _Kept) -> None:
        found = await self._patiently(partial(self._ledger.find_batch, kept.id))
        if found is None:  # somebody removed its row
            kept.is_final = True
            return
        kept.ended = sum(number for state, number in found.counts.items() if state.is_final)
        kept.is_final = found.is_final

    async def _withdraw(self) -> None:
        """Withdraw what is not begun. What is under way is paid, and lands for a while; then it is left to others."""
        for kept in self._going_on():
            await self._patiently(partial(self._ledger.cancel_batch, kept.id))
        stop_at = self._clock.monotonic() + DRAIN_SECONDS
        while self._going_on() and self._clock.monotonic() < stop_at:
            for kept in self._going_on():
                await self._look(kept)
            await self._clock.sleep(LOOK_SECONDS)

    def _going_on(self) -> list[_Kept]:
        return [kept for kept in self._kept if not kept.is_final]

    def _ended(self) -> int:
        return sum(kept.ended for kept in self._kept)

    async def _sum_up(self) -> Warmed:
        made = existed = booked = 0
        failures: list[tuple[str, str]] = []
        for kept in self._kept:
            amounts = {wish.generation_key: amount_of(wish) for wish in kept.wishes}
            async for member in self._members(kept.id):
                match member.state:
                    case State.COMPLETED if member.cached:
                        existed += 1
                    case State.COMPLETED:
                        made += 1
                        booked += amounts[member.generation_key]
                    case State.FAILED:
                        failures.append((member.generation_key, str(member.code)))
        return Warmed(
            made=made,
            existed=existed,
            left=len(self._wishes) - made - existed - len(failures),
            booked_micro_usd=booked,
            failures=failures,
            batches=[kept.id for kept in self._kept],
        )

    async def _members(self, batch: UUID) -> AsyncIterator[Member]:
        after = -1
        read = partial(self._ledger.batch_members, batch, limit=PAGE)
        while page := await self._patiently(partial(read, after=after)):
            for member in page:
                yield member
            after = page[-1].position

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await repeat(
            ask,
            errors=(Unavailable,),
            pauses=growing_pauses(0.5, max_seconds=5.0),
            within_seconds=PATIENCE_SECONDS,
            clock=self._clock,
        )


async def _work(steps: WorkSteps, in_flight: int, stop: asyncio.Event) -> None:
    """Steps without end: where none is due, others are at work, or a pause is not over."""
    while not stop.is_set():
        with contextlib.suppress(Unavailable):  # whoever looks at the batches says so if it lasts
            await steps.run(within_seconds=STEP_SECONDS, in_flight=in_flight)
        await _pause(stop)


async def _pause(stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
