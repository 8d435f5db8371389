"""Get or generate: the way through, from keys to an entry. Read this file first."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never
from uuid import uuid4

from copperplate.errors import (
    CopperplateError,
    GenerationFailed,
    LeaseLost,
    LedgerUnavailable,
    NotEnoughCredits,
    NotGenerated,
    StillGenerating,
)
from copperplate.generation.leader import Leader
from copperplate.generation.single_flight import SingleFlight
from copperplate.generation.timings import Timings
from copperplate.model import Denied, FailureClass, Free, Hit, Lead, Negative, Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from copperplate.generation.kinds import Kind
    from copperplate.generation.pending_uploads import Generated
    from copperplate.model import Charge, Entry, Want
    from copperplate.ports import Clock, Images, Ledger

SWEEP_SECONDS = 60.0
SWEEP_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry, how it came about, and its bytes where they are at hand."""

    entry: Entry
    outcome: Outcome
    body: bytes | None = None
    # The original it was made from, for those who asked for another form meanwhile.
    original: Found | None = None


class Coordinator:
    """Makes each distinct picture once. One for all kinds."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        kinds: Mapping[str, Kind],
        images: Images,
        clock: Clock,
        timings: Timings | None = None,
        max_waiters: int = 5_000,
    ) -> None:
        self._ledger = ledger
        self._kinds = kinds
        self._clock = clock
        self._timings = timings or Timings()
        self._leader = Leader(ledger=ledger, kinds=kinds, images=images, clock=clock, timings=self._timings)
        self._flights: SingleFlight[Found] = SingleFlight(max_waiters=max_waiters)
        self._sweeping: asyncio.Task[None] | None = None
        self._sweep_at = 0.0

    async def find(self, want: Want, *, may_lead: bool = True, charge: Charge | None = None) -> Found:
        """The entry for `want`, or the original it can be made from; generated if there is none.

        Many callers cost one look-up and one generation, which one of them pays with `charge`. A caller that
        goes away takes nothing with it. Raises `NotGenerated` (only if it may not lead), `GenerationFailed`,
        `NotEnoughCredits`, `StillGenerating`, `TooManyWaiters`, `Unavailable`.
        """
        if not may_lead:
            return await self._look(want)
        try:
            found, joined = await self._fly(want, want.generation_key, charge)
        except NotEnoughCredits as denied:
            if charge is None or charge.user == denied.user:
                raise
            # We joined somebody who could not pay. The second flight is our own.
            found, joined = await self._fly(want, f"{want.generation_key} {charge.user}", charge)
        if found.entry.key != want.rendition_key and found.original is not None:
            found = found.original
        if found.entry.is_original or found.entry.key == want.rendition_key:
            coalesced = joined and found.outcome is Outcome.GENERATED
            return replace(found, outcome=Outcome.COALESCED if coalesced else found.outcome, original=None)
        # The flight we joined was for another format.
        try:
            return await self._look(want)
        except NotGenerated:
            raise StillGenerating from None  # deleted at this very moment; whoever asks again is served

    async def _fly(self, want: Want, flight: str, charge: Charge | None) -> tuple[Found, bool]:
        wait = self._kinds[want.kind].wait or self._timings.wait
        return await self._flights.run(
            flight, lambda: self._settle(want, flight, charge), within_seconds=wait.total_seconds()
        )

    async def drain(self, *, within_seconds: float) -> None:
        """Let generations under way finish; what is late is left to whoever takes the lease over."""
        await self._flights.drain(within_seconds=within_seconds)
        await self._leader.drain()

    async def _look(self, want: Want) -> Found:
        verdict = await self._ledger.acquire(want, leader=uuid4(), lease=self._timings.lease, may_lead=False)
        match verdict:
            case Hit(entry=entry):
                return Found(entry=entry, outcome=Outcome.HIT)
            case Negative(failure_class=failure_class, retry_after=rest):
                raise _refusal(failure_class, rest)
            case Wait() | Free() | Lead() | Denied():
                raise NotGenerated("Ask for it with GET and it will be made.")
            case _:
                assert_never(verdict)

    async def _settle(self, want: Want, flight: str, charge: Charge | None) -> Found:
        leader, kind = uuid4(), self._kinds[want.kind]
        services = kind.services(str(want.recipe["model"]))
        charges = (charge,) if charge is not None and kind.provider.is_billable else ()
        outcome = Outcome.HIT
        # Listening begins before the first look, so that no completion falls between the two.
        with self._ledger.hints(want.generation_key) as hint:
            while True:
                if (made := await self._leader.finish_kept(want.generation_key)) is not None:
                    return _found(made)
                asked_at = self._clock.monotonic()
                verdict = await self._ledger.acquire(
                    want, leader=leader, lease=self._timings.lease, charges=charges, services=services
                )
                match verdict:
                    case Hit(entry=entry):
                        return Found(entry=entry, outcome=outcome)
                    case Lead():
                        self._sweep_now_and_then()
                        with contextlib.suppress(LeaseLost):
                            made = await self._leader.generate(want, verdict, asked_at)
                            return _found(made)
                    case Wait():
                        await self._follow(want, flight, hint)
                    case Negative(failure_class=failure_class, retry_after=rest):
                        raise _refusal(failure_class, rest)
                    case Denied():
                        raise NotEnoughCredits(charge.user if charge is not None else None)
                    case Free():
                        continue
                    case _:
                        assert_never(verdict)
                outcome = Outcome.COALESCED

    async def _follow(self, want: Want, flight: str, hint: asyncio.Event) -> None:
        """Return when the leader is done, or its lease ran out: one poller per key and process."""
        delay = self._timings.poll_first_seconds
        while self._flights.is_awaited(flight):
            await self._nap(hint, delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            with contextlib.suppress(LedgerUnavailable):  # a blip must not end the wait
                if not isinstance(await self._ledger.peek(want.generation_key, want.rendition_key), Wait):
                    return
            delay = min(delay * self._timings.poll_factor, self._timings.poll_max_seconds)
        raise StillGenerating

    async def _nap(self, hint: asyncio.Event, seconds: float) -> None:
        naps = (asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(hint.wait()))
        try:
            await asyncio.wait(naps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for nap in naps:
                nap.cancel()
        hint.clear()

    def _sweep_now_and_then(self) -> None:
        """Close what others left behind, beside our own work and at most once a minute."""
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep_at = self._clock.monotonic() + SWEEP_SECONDS
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        with contextlib.suppress(CopperplateError):  # nothing correct depends on it
            await self._ledger.sweep(SWEEP_ROWS)


def _refusal(failure_class: FailureClass, rest: timedelta) -> GenerationFailed | StillGenerating:
    """What a caller gets for a negative entry; a picture that is paid for and not fetched yet is still on its way."""
    if failure_class is FailureClass.UNCOLLECTED:
        return StillGenerating(rest)
    return GenerationFailed(failure_class, rest)


def _found(made: Generated) -> Found:
    original = Found(entry=made.original, outcome=Outcome.GENERATED, body=made.original_body)
    return Found(entry=made.entry, outcome=Outcome.GENERATED, body=made.body, original=original)
