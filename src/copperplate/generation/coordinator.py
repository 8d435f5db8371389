"""Get or generate: from the keys of a request to its entry. Read this file first."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never
from uuid import uuid4

from copperplate.budgets import Refused
from copperplate.denials import NotEnoughCredits, SpendingRefused, TakenDown
from copperplate.errors import (
    CopperplateError,
    LeaseLost,
    LedgerUnavailable,
    NotGenerated,
    StillGenerating,
)
from copperplate.generation.attempt import Attempt
from copperplate.generation.cap_watch import CapWatch
from copperplate.generation.job_collector import JobCollector
from copperplate.generation.known_failures import error_for, failure_of
from copperplate.generation.leader import Leader
from copperplate.generation.lease import Lease
from copperplate.generation.lookup import LookupResult
from copperplate.generation.sweeps import Sweeps
from copperplate.generation.timings import Timings
from copperplate.generation.uploader import Uploader
from copperplate.ledger_answers import Gone, Hit, InsufficientCredits, Lead, Miss, Negative, Wait
from copperplate.model import Outcome, PictureFormat
from copperplate.repeats import growing_pauses, nap
from copperplate.single_flight import SingleFlight
from copperplate.source_errors import SourceUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from copperplate.feed import Fill
    from copperplate.generation.kinds import Kind
    from copperplate.generation.lookup import LookupOptions
    from copperplate.model import PictureRequest
    from copperplate.ports import Clock, Images, Ledger
    from copperplate.single_flight import Call

SWEEP_ROWS = 20


def _know_nothing() -> None:
    """There are no tiers."""


class Coordinator:
    """Generates each distinct picture once. A process has one coordinator for all kinds.

    Renditions in the formats of `ahead` are stored beside each original, though nobody asked for them. Results carry
    what `begin_fill` says before the ledger is asked, for tiers that may keep them.
    """

    def __init__(  # noqa: PLR0913 - each adapter once
        self,
        *,
        ledger: Ledger,
        kinds: Mapping[str, Kind],
        images: Images,
        clock: Clock,
        timings: Timings | None = None,
        max_waiters: int = 5_000,
        ahead: Sequence[PictureFormat] = (PictureFormat.WEBP,),
        begin_fill: Callable[[], Fill | None] = _know_nothing,
    ) -> None:
        self._ledger = ledger
        self._kinds = kinds
        self._clock = clock
        self._timings = timings or Timings()
        self._images = images
        self._collector = JobCollector(ledger=ledger, clock=clock, timings=self._timings)
        self._uploader = Uploader(ledger=ledger, images=images, clock=clock, ahead=ahead)
        self._cap_watch = CapWatch(clock)
        self._flights: SingleFlight[LookupResult] = SingleFlight(max_waiters=max_waiters)
        self._begin_fill = begin_fill
        self._sweeping: asyncio.Task[None] | None = None
        self._sweeps = Sweeps(ledger, clock, rows=SWEEP_ROWS)

    async def find(self, request: PictureRequest, options: LookupOptions) -> LookupResult:
        """The entry for `request`, or the original it can be made from; generated if there is none and it is permitted.

        Concurrent callers share one look-up and one generation; one caller pays for it. The generation goes on when
        its callers disconnect. Raises `NotGenerated` (only without a permit), the denial of the permit,
        `SpendingRefused`, `NotEnoughCredits`, `TakenDown`, `GenerationFailed`, `StillGenerating`, `TooManyWaiters`,
        `Unavailable`.
        """
        if (permit := options.permit) is None:
            return await self._look(request)
        if permit.denial is not None:
            return await self._look_or_follow(request, permit.denial, options)
        result = await self._join_or_start(request, options)
        return result.form_for(request) or await self._look_again(request)

    async def _join_or_start(self, request: PictureRequest, options: LookupOptions) -> LookupResult:
        """The result of the flight for this generation: joined if there is one, else started."""
        try:
            return await self._fly_with_input(request, request.generation_key, options)
        except (NotEnoughCredits, SpendingRefused) as refused:
            if refused.payer is None or options.payer == refused.payer:
                raise
        # The flight we joined could not pay. A second flight charges our caller.
        return await self._fly_with_input(request, f"{request.generation_key} {options.payer}", options)

    async def _fly_with_input(self, request: PictureRequest, flight_key: str, options: LookupOptions) -> LookupResult:
        """The result of that flight, or of the next one where its leader did not have the input: we may have it."""
        while True:
            joined = flight_key in self._flights
            try:
                return await self._fly(request, flight_key, options)
            except SourceUnknown:
                # Each round has another leader, who does not fly again.
                if not joined:
                    raise

    async def _fly(self, request: PictureRequest, flight_key: str, options: LookupOptions) -> LookupResult:
        return await self._share(
            request, flight_key, lambda: self._acquire_until_done(request, flight_key, options), options
        )

    async def _look_or_follow(
        self, request: PictureRequest, denial: CopperplateError, options: LookupOptions
    ) -> LookupResult:
        """For a caller who may not lead: a hit, or what another caller's generation ends with; else the denial."""
        flight_key = f"{request.generation_key} follow"
        try:
            result = await self._share(
                request, flight_key, lambda: self._peek_until_done(request, flight_key, options), options
            )
            return result.form_for(request) or await self._look_again(request)
        except NotGenerated:
            raise denial from None

    def wait_seconds(self, kind: str) -> float:
        """How long a caller waits for a picture of this kind."""
        return (self._kinds[kind].wait or self._timings.wait).total_seconds()

    async def _share(
        self,
        request: PictureRequest,
        flight_key: str,
        work: Callable[[], Coroutine[Any, Any, LookupResult]],
        options: LookupOptions,
    ) -> LookupResult:
        async def filling() -> LookupResult:
            fill = self._begin_fill()
            return replace(await work(), fill=fill)

        within_seconds = None if options.is_patient else self.wait_seconds(request.kind)
        result, _ = await self._flights.run(
            flight_key, filling, within_seconds=within_seconds, share=LookupResult.shared
        )
        return result

    async def _look_again(self, request: PictureRequest) -> LookupResult:
        """Look up our rendition or its original: the flight we joined was for another rendition."""
        try:
            return await self._look(request)
        except NotGenerated:
            raise StillGenerating from None  # deleted in between; the next request generates it

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the generations of `call` finish; a late one releases its lease, and another process takes it over.

        Unstored pictures stay held: the process goes on, and so do its other calls.
        """
        await self._flights.finish(call, within_seconds=within_seconds)

    async def shut_down(self, *, within_seconds: float) -> None:
        """At the end of the process: let generations finish, then release every lease, also of unstored pictures."""
        await self._flights.drain(within_seconds=within_seconds)
        await self._uploader.shut_down()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait((self._sweeping,))

    async def _look(self, request: PictureRequest) -> LookupResult:
        fill = self._begin_fill()
        if (found := await self._peek(request)) is None:
            raise NotGenerated("Ask for it with GET and it will be made.")
        return replace(found, fill=fill)

    async def _peek(self, request: PictureRequest, outcome: Outcome = Outcome.HIT) -> LookupResult | None:
        """What is stored; None while somebody generates it. Raises `NotGenerated` where nobody does."""
        result = await self._ledger.peek(request.generation_key, request.rendition_key)
        match result:
            case Hit():
                return _found(result, outcome)
            case Negative():
                raise failure_of(result, is_remembered=outcome is Outcome.HIT)
            case Gone():
                raise TakenDown
            case Wait():
                return None
            case Miss():
                raise NotGenerated("Ask for it with GET and it will be made.")
            case _:
                assert_never(result)

    async def _peek_until_done(self, request: PictureRequest, flight_key: str, options: LookupOptions) -> LookupResult:
        outcome = Outcome.HIT
        with self._ledger.hints(request.generation_key) as hint:
            while (found := await self._peek(request, outcome)) is None:
                if (hit := await self._follow(request, flight_key, hint)) is not None:
                    return await _loaded(_found(hit, Outcome.COALESCED), options)
                outcome = Outcome.COALESCED
        return await _loaded(found, options)

    async def _acquire_until_done(
        self, request: PictureRequest, flight_key: str, options: LookupOptions
    ) -> LookupResult:
        leader, kind, charge = uuid4(), self._kinds[request.kind], options.charge
        spending = None if options.permit is None else options.permit.spending
        # Who has the picture already needs the store alone.
        breakers = kind.breakers(request.model) if options.given is None else (kind.store_breaker,)
        charges = (charge,) if charge is not None and kind.provider.is_billable else ()
        outcome = Outcome.HIT
        # Subscribe before the first acquire, so that no completion is missed.
        with self._ledger.hints(request.generation_key) as hint:
            while True:
                if (stored := await self._uploader.finish_unstored(request.generation_key)) is not None:
                    return stored
                asked_at = self._clock.monotonic()
                result = await self._ledger.acquire(
                    request,
                    leader=leader,
                    lease_duration=self._timings.lease,
                    charges=charges,
                    breakers=breakers,
                    spending=spending,
                )
                match result:
                    case Hit():
                        return await _loaded(_found(result, outcome), options)
                    case Lead():
                        self._sweep_beside()
                        with contextlib.suppress(LeaseLost):
                            return await self._lead(request, result, asked_at, options)
                    case Wait():
                        if (hit := await self._follow(request, flight_key, hint)) is not None:
                            return await _loaded(_found(hit, Outcome.COALESCED), options)
                    case Negative() | InsufficientCredits() | Refused() | Gone():
                        self._note_refusal(result, request)
                        raise error_for(result, options, is_remembered=outcome is Outcome.HIT)
                    case _:
                        assert_never(result)
                outcome = Outcome.COALESCED

    def _note_refusal(self, result: object, request: PictureRequest) -> None:
        if isinstance(result, Refused):
            self._cap_watch.refused(result.refusal)
        elif isinstance(result, Gone):
            self._uploader.forget(request.generation_key)

    async def _lead(self, request: PictureRequest, lead: Lead, asked_at: float, options: LookupOptions) -> LookupResult:
        """Generate under a lease that was acquired at `asked_at`, on our monotonic clock in seconds."""
        lease = Lease(
            key=request.generation_key,
            fence=lead.fence,
            trusted_until=asked_at + self._timings.trusted_seconds,
            ledger=self._ledger,
            clock=self._clock,
            timings=self._timings,
        )
        attempt = Attempt(
            request=request,
            kind=self._kinds[request.kind],
            lead=lead,
            lease=lease,
            began_at=asked_at,
            # From the answer on: an acquire that took long must not make a paid job seem older than it is.
            noted_at=self._clock.monotonic() - lead.job_age.total_seconds(),
            spending=None if options.permit is None else options.permit.spending,
            given=options.given,
        )
        leader = Leader(
            attempt=attempt,
            ledger=self._ledger,
            images=self._images,
            clock=self._clock,
            collector=self._collector,
            uploader=self._uploader,
            cap_watch=self._cap_watch,
        )
        return await leader.generate()

    async def _follow(self, request: PictureRequest, flight_key: str, hint: asyncio.Event) -> Hit | None:
        """Poll until the leader is done or its lease ran out; one poller per key and process. Answers its picture."""
        timings = self._timings
        delays = growing_pauses(
            timings.poll_first_seconds, factor=timings.poll_factor, max_seconds=timings.poll_max_seconds
        )
        while self._flights.is_awaited(flight_key):
            pause = next(delays) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
            await nap(self._clock, pause, hint)
            with contextlib.suppress(LedgerUnavailable):  # poll again: an outage of the ledger may be short
                result = await self._ledger.peek(request.generation_key, request.rendition_key)
                if not isinstance(result, Wait):
                    return result if isinstance(result, Hit) else None
        raise StillGenerating

    def _sweep_beside(self) -> None:
        """Start a sweep in the background where one is due."""
        if self._sweeps.is_due:
            self._sweeping = asyncio.create_task(self._sweeps.run_if_due())


def _found(hit: Hit, outcome: Outcome) -> LookupResult:
    return LookupResult(entry=hit.entry, outcome=outcome, is_found=True)


async def _loaded(found: LookupResult, options: LookupOptions) -> LookupResult:
    """What was found, with its bytes where whoever asked first wants them."""
    return found if options.load is None else await options.load(found)
