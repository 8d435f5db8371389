"""Promises: a caller who need not wait is told that the picture will be made, and it will, whatever happens here."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.budgets import ANONYMOUS
from copperplate.errors import LedgerUnavailable, StillGenerating
from copperplate.ledger_answers import Wait
from copperplate.model import Outcome
from copperplate.single_flight import SingleFlight
from copperplate.wishes import NewWish, Priority
from copperplate.work.settled import settle
from copperplate.work.settling import HANDED_OVER, MADE, settlement_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from datetime import timedelta
    from typing import Any, Protocol

    from copperplate.budgets import Spending
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupOptions, LookupResult
    from copperplate.model import PictureRequest
    from copperplate.ports import Clock, Ledger, Wishes
    from copperplate.serving.request_meter import RequestMeter
    from copperplate.single_flight import Call

    class PromisingLedger(Ledger, Wishes, Protocol):
        """The ports of the ledger that a promise needs."""


# Between two peeks of a request that is answered early.
LOOK_SECONDS: Final = 0.05
_ADDRESS: Final = "address:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """The picture is being made, and it will be although everybody leaves; `key` is the key of its generation."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What one caller asked for, and when; `kept` is the id of its wish where that is kept already."""

    request: PictureRequest
    wish: NewWish
    kept: int | None
    before_promise: Callable[[], Awaitable[None]] | None
    at: float


class Promises:
    """Begins generations that nobody waits for. A process has one, for all kinds.

    Of `lease` a wish is held: so long nobody else takes what this process begins at once.
    """

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        ledger: PromisingLedger,
        request_meter: RequestMeter,
        clock: Clock,
        lease: timedelta,
    ) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._meter = request_meter
        self._clock = clock
        self.lease = lease
        self._flights: SingleFlight[LookupResult | None] = SingleFlight()

    async def start(  # noqa: PLR0913 - what is found, and how it is promised
        self,
        request: PictureRequest,
        options: LookupOptions,
        wish: NewWish,
        *,
        find: Callable[[LookupOptions], Coroutine[Any, Any, LookupResult]] | None = None,
        kept: int | None = None,
        before_promise: Callable[[], Awaitable[None]] | None = None,
        within_seconds: float | None = 0.0,
    ) -> LookupResult | Promised:
        """The picture if it is there `within_seconds`, or else `Promised` as soon as somebody holds a lease for it.

        None waits for as long as callers wait for pictures of this kind. `before_promise` runs before the wish is
        written: it stores what whoever makes it needs.
        What `find` raises before that (`Coordinator.find`, unless another is given) is raised here: refusals of gate,
        budgets and credits among them. The wish is written once a lease is held, unless it is `kept` under that id: a
        hit or a refusal writes nothing, and nobody was told anything yet. A caller who may not lead is promised
        nothing: they wait for what another caller has made, as without a preference.

        What is promised is counted as one request once it has ended here; whoever gets a result, or an error, counts
        it. What this process hands over is not counted.
        """
        finder = find or partial(self._coordinator.find, request)
        if options.permit is None or options.permit.denial is not None:
            return await finder(options)
        asked = _Asked(request=request, wish=wish, kept=kept, before_promise=before_promise, at=self._clock.monotonic())
        if within_seconds is None:
            within_seconds = self._coordinator.wait_seconds(request.kind)
        # A wait that is over ends no promise.
        finding = self._flights.start(uuid4().hex, partial(finder, replace(options, is_patient=True)))
        if within_seconds != 0:
            await asyncio.wait((finding,), timeout=within_seconds)
        while not finding.done():
            with contextlib.suppress(LedgerUnavailable):  # `finding` decides, and says what is wrong
                if await self._is_led(finding, request):
                    return await self._promise(finding, asked)
        try:
            return _found_by(finding)
        except StillGenerating:  # it is paid, and collected after a while
            return await self._promise(finding, asked)

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the promises of `call` be kept; a late one is put back, and another process keeps it."""
        await self._flights.finish(call, within_seconds=within_seconds)

    async def shut_down(self, *, within_seconds: float) -> None:
        """At the end of the process: let promises be kept for a while, then put the rest back."""
        # What lands leaves a settlement behind, which is a flight of its own.
        while self._flights:
            await self._flights.drain(within_seconds=within_seconds)
            within_seconds = 0.0

    async def _is_led(self, finding: asyncio.Task[LookupResult | None], request: PictureRequest) -> bool:
        """After a moment: whether `finding` goes on, and somebody holds a lease for its picture."""
        await asyncio.wait((finding,), timeout=LOOK_SECONDS)
        if finding.done():
            return False
        return isinstance(await self._ledger.peek(request.generation_key, request.rendition_key), Wait)

    async def _promise(self, finding: asyncio.Task[LookupResult | None], asked: _Asked) -> Promised:
        kept = asked.kept
        if asked.before_promise is not None:
            await asked.before_promise()
        if kept is None:
            # The generation's lease keeps others away; the hold covers the moment between a lease and the next.
            kept = await self._ledger.make_wish(asked.wish, held_for=self.lease)
        self._flights.start(f"wish {uuid4().hex}", lambda: self._end(finding, asked, kept))
        return Promised(key=asked.request.generation_key)

    async def _end(self, finding: asyncio.Task[LookupResult | None], asked: _Asked, kept: int) -> None:
        """Wait for the end, however long it takes, count it, and settle the wish."""
        outcome: Outcome | None = None
        tier = None
        try:
            await asyncio.wait((finding,))
            found = _found_by(finding)
            outcome, tier = found.outcome, found.tier
            settlement = MADE
        except asyncio.CancelledError:
            settlement = HANDED_OVER
        except Exception as error:  # noqa: BLE001 - its caller has gone; the wish says what became of it
            settlement = settlement_of(error, is_of_stranger=asked.wish.is_of_stranger)
            # Paid, and collected later by somebody else: it is not over.
            outcome = None if isinstance(error, StillGenerating) else Outcome.FAILED
        if outcome is not None:
            seconds = self._clock.monotonic() - asked.at
            self._meter.count(asked.request, outcome, size_bytes=0, seconds=seconds, tier=tier)
        await settle(self._ledger, kept, settlement)


def _found_by(finding: asyncio.Task[LookupResult | None]) -> LookupResult:
    found = finding.result()
    assert found is not None  # noqa: S101 - only what settles a wish answers None
    return found


def new_wish(
    request: PictureRequest,
    options: LookupOptions,
    *,
    owner: str,
    priority: Priority = Priority.USUAL,
    paths: tuple[str, ...] = (),
    echo: Mapping[str, str] | None = None,
) -> NewWish:
    """The wish for a picture that may be made with these options; `owner` is who asks (see `NewWish`)."""
    spending = None if options.permit is None else options.permit.spending
    return NewWish(
        generation_key=request.generation_key,
        recipe=request.recipe,
        owner=owner,
        spending=None if spending is None else without_address(spending),
        charge=options.charge,
        priority=priority,
        paths=paths,
        echo=echo or {},
    )


def without_address(spending: Spending) -> Spending:
    """The same without a budget of an address, since what is kept names no address.

    Where that was the first one, the bound of what one caller has in flight goes with it: it would hold for all
    strangers together.
    """
    kept = tuple(budget for budget in spending.budgets if not budget.name.startswith(_ADDRESS))
    return replace(
        spending,
        payer=ANONYMOUS if spending.payer.startswith(_ADDRESS) else spending.payer,
        budgets=kept,
        max_in_flight=spending.max_in_flight if kept[:1] == spending.budgets[:1] else None,
    )
