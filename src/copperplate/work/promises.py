"""Promises: a caller who need not wait is told that the picture will be made, and it will, whatever happens here."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.budgets import ANONYMOUS
from copperplate.errors import LedgerUnavailable, StillGenerating
from copperplate.model import Wait
from copperplate.single_flight import SingleFlight
from copperplate.wishes import NewWish, Priority
from copperplate.work.settled import settle
from copperplate.work.settling import HANDED_OVER, MADE, settlement_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any, Protocol

    from copperplate.budgets import Spending
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import LookupOptions, LookupResult
    from copperplate.model import PictureRequest
    from copperplate.ports import Ledger, Wishes
    from copperplate.single_flight import Call
    from copperplate.wishes import Settlement

    class PromisingLedger(Ledger, Wishes, Protocol):
        """The ports of the ledger that a promise needs."""


# Between two peeks of a request that is answered early.
LOOK_SECONDS: Final = 0.05
_ADDRESS: Final = "address:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """The picture is being made, and it will be although everybody leaves; `key` is the key of its generation."""

    key: str


class Promises:
    """Begins generations that nobody waits for. A process has one, for all kinds."""

    def __init__(self, *, coordinator: Coordinator, ledger: PromisingLedger, lease: timedelta) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._lease = lease
        self._flights: SingleFlight[LookupResult | None] = SingleFlight()

    async def start(
        self,
        request: PictureRequest,
        options: LookupOptions,
        wish: NewWish,
        *,
        find: Callable[[], Coroutine[Any, Any, LookupResult]] | None = None,
        within_seconds: float | None = 0.0,
    ) -> LookupResult | Promised:
        """The picture if it is there `within_seconds`, or else `Promised` as soon as somebody holds a lease for it.

        None waits for as long as `find` does. Where that ends before the picture is there, its `StillGenerating` is a
        promise as well: the wish is due after its pause.
        What `find` raises before that (`Coordinator.find`, unless another is given) is raised here: refusals of gate,
        budgets and credits among them. The wish is written once a lease is held: a hit or a refusal writes nothing, and
        nobody was told anything yet. A caller who may not lead follows somebody else's generation, without a wish.
        """
        finding = self._flights.start(uuid4().hex, find or (lambda: self._coordinator.find(request, options)))
        is_denied = options.permit is None or options.permit.denial is not None
        if within_seconds != 0:
            await asyncio.wait((finding,), timeout=within_seconds)
        if await self._is_led_before_the_end(finding, request, None if is_denied else wish):
            return Promised(key=request.generation_key)
        try:
            found = finding.result()
        except StillGenerating as error:
            if is_denied or error.retry_after_seconds is None:
                raise
            await self._ledger.make_wish(wish, held_for=timedelta(seconds=error.retry_after_seconds))
            return Promised(key=request.generation_key)
        assert found is not None  # noqa: S101 - only what settles a wish answers None
        return found

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let the promises of `call` be kept; a late one is put back, and another process keeps it."""
        await self._flights.finish(call, within_seconds=within_seconds)

    async def shut_down(self, *, within_seconds: float) -> None:
        """At the end of the process: let promises be kept for a while, then put the rest back."""
        # What lands leaves a settlement behind, which is a flight of its own.
        while self._flights:
            await self._flights.drain(within_seconds=within_seconds)
            within_seconds = 0.0

    async def _is_led_before_the_end(
        self, finding: asyncio.Task[LookupResult | None], request: PictureRequest, wish: NewWish | None
    ) -> bool:
        """Wait until somebody holds a lease, then keep the `wish` if there is one; False where `finding` ended first.

        `finding` decides what is answered, and says what is wrong: an outage here is looked over.
        """
        while True:
            await asyncio.wait((finding,), timeout=LOOK_SECONDS)
            if finding.done():
                return False
            with contextlib.suppress(LedgerUnavailable):
                if isinstance(await self._ledger.peek(request.generation_key, request.rendition_key), Wait):
                    if wish is not None:
                        await self._promise(finding, wish)
                    return True

    async def _promise(self, finding: asyncio.Task[LookupResult | None], wish: NewWish) -> None:
        # The generation's lease keeps others away; the hold covers the moment between a lease and the next.
        kept = await self._ledger.make_wish(wish, held_for=self._lease)
        self._flights.start(f"wish {kept} {uuid4().hex}", lambda: self._settle_at_end(finding, wish, kept))

    async def _settle_at_end(self, finding: asyncio.Task[LookupResult | None], wish: NewWish, kept: int) -> None:
        try:
            await asyncio.wait((finding,))
            settlement = _settlement_of(finding, wish)
        except asyncio.CancelledError:
            settlement = HANDED_OVER
        await settle(self._ledger, kept, settlement)


def _settlement_of(finding: asyncio.Task[LookupResult | None], wish: NewWish) -> Settlement:
    if finding.cancelled():
        return HANDED_OVER
    if (error := finding.exception()) is None:
        return MADE
    return settlement_of(error, is_of_stranger=wish.is_of_stranger) if isinstance(error, Exception) else HANDED_OVER


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
