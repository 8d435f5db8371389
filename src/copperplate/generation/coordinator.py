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
from copperplate.generation.timings import Timings
from copperplate.model import FailureClass, Hit, InsufficientCredits, Lead, Miss, Negative, Outcome, Wait
from copperplate.repeats import growing_pauses
from copperplate.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from copperplate.generation.kinds import Kind
    from copperplate.generation.pending_uploads import Generated
    from copperplate.model import Charge, Entry, PictureRequest
    from copperplate.ports import Clock, Images, Ledger

SWEEP_SECONDS = 60.0
SWEEP_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupResult:
    """An entry, how it came about, and its bytes where they are at hand."""

    entry: Entry
    outcome: Outcome
    body: bytes | None = None
    # The original it was made from, for those who asked for another form meanwhile.
    original: LookupResult | None = None


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
        self._flights: SingleFlight[LookupResult] = SingleFlight(max_waiters=max_waiters)
        self._sweeping: asyncio.Task[None] | None = None
        self._sweep_at = 0.0

    async def find(
        self, request: PictureRequest, *, may_lead: bool = True, charge: Charge | None = None
    ) -> LookupResult:
        """The entry for `request`, or the original it can be made from; generated if there is none.

        Many callers cost one look-up and one generation, which one of them pays with `charge`. A caller that
        goes away takes nothing with it. Raises `NotGenerated` (only if it may not lead), `GenerationFailed`,
        `NotEnoughCredits`, `StillGenerating`, `TooManyWaiters`, `Unavailable`.
        """
        if not may_lead:
            return await self._look(request)
        try:
            found, joined = await self._fly(request, request.generation_key, charge)
        except NotEnoughCredits as denied:
            if charge is None or charge.user == denied.user:
                raise
            # We joined somebody who could not pay. The second flight is our own.
            found, joined = await self._fly(request, f"{request.generation_key} {charge.user}", charge)
        if found.entry.key != request.rendition_key and found.original is not None:
            found = found.original
        if found.entry.is_original or found.entry.key == request.rendition_key:
            coalesced = joined and found.outcome is Outcome.GENERATED
            return replace(found, outcome=Outcome.COALESCED if coalesced else found.outcome, original=None)
        # The flight we joined was for another format.
        try:
            return await self._look(request)
        except NotGenerated:
            raise StillGenerating from None  # deleted at this very moment; whoever asks again is served

    async def _fly(self, request: PictureRequest, flight: str, charge: Charge | None) -> tuple[LookupResult, bool]:
        wait = self._kinds[request.kind].wait or self._timings.wait
        return await self._flights.run(
            flight, lambda: self._settle(request, flight, charge), within_seconds=wait.total_seconds()
        )

    async def drain(self, *, within_seconds: float) -> None:
        """Let generations under way finish; what is late is left to whoever takes the lease over."""
        await self._flights.drain(within_seconds=within_seconds)
        await self._leader.drain()

    async def _look(self, request: PictureRequest) -> LookupResult:
        result = await self._ledger.acquire(request, leader=uuid4(), lease_duration=self._timings.lease, may_lead=False)
        match result:
            case Hit(entry=entry):
                return LookupResult(entry=entry, outcome=Outcome.HIT)
            case Negative(failure_class=failure_class, retry_after=rest):
                raise _refusal(failure_class, rest)
            case Wait() | Miss() | Lead() | InsufficientCredits():
                raise NotGenerated("Ask for it with GET and it will be made.")
            case _:
                assert_never(result)

    async def _settle(self, request: PictureRequest, flight: str, charge: Charge | None) -> LookupResult:
        leader, kind = uuid4(), self._kinds[request.kind]
        services = kind.services(str(request.recipe["model"]))
        charges = (charge,) if charge is not None and kind.provider.is_billable else ()
        outcome = Outcome.HIT
        # Listening begins before the first look, so that no completion falls between the two.
        with self._ledger.hints(request.generation_key) as hint:
            while True:
                if (made := await self._leader.finish_kept(request.generation_key)) is not None:
                    return _result_of(made)
                asked_at = self._clock.monotonic()
                result = await self._ledger.acquire(
                    request, leader=leader, lease_duration=self._timings.lease, charges=charges, services=services
                )
                match result:
                    case Hit(entry=entry):
                        return LookupResult(entry=entry, outcome=outcome)
                    case Lead():
                        self._sweep_now_and_then()
                        with contextlib.suppress(LeaseLost):
                            made = await self._leader.generate(request, result, asked_at)
                            return _result_of(made)
                    case Wait():
                        await self._follow(request, flight, hint)
                    case Negative(failure_class=failure_class, retry_after=rest):
                        raise _refusal(failure_class, rest)
                    case InsufficientCredits():
                        raise NotEnoughCredits(charge.user if charge is not None else None)
                    case Miss():
                        continue
                    case _:
                        assert_never(result)
                outcome = Outcome.COALESCED

    async def _follow(self, request: PictureRequest, flight: str, hint: asyncio.Event) -> None:
        """Return when the leader is done, or its lease ran out: one poller per key and process."""
        timings = self._timings
        delays = growing_pauses(
            timings.poll_first_seconds, factor=timings.poll_factor, max_seconds=timings.poll_max_seconds
        )
        while self._flights.is_awaited(flight):
            await self._nap(hint, next(delays) * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            with contextlib.suppress(LedgerUnavailable):  # a blip must not end the wait
                if not isinstance(await self._ledger.peek(request.generation_key, request.rendition_key), Wait):
                    return
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


def _result_of(made: Generated) -> LookupResult:
    original = LookupResult(entry=made.original, outcome=Outcome.GENERATED, body=made.original_body)
    return LookupResult(entry=made.entry, outcome=Outcome.GENERATED, body=made.body, original=original)
