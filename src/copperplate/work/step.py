"""The work step: one bounded run that takes due wishes, has the coordinator make them, and settles them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.errors import CopperplateError, LedgerMisconfigured, LedgerUnavailable
from copperplate.generation.kinds import offers
from copperplate.generation.lookup import LookupOptions
from copperplate.generation.sweeps import Sweeps
from copperplate.recipes.requests import request_of_recipe
from copperplate.repeats import nap
from copperplate.single_flight import SingleFlight
from copperplate.unexpected import log_unexpected
from copperplate.wishes import WishStatus
from copperplate.work.cdn_purges import CdnWork
from copperplate.work.settled import settle
from copperplate.work.settling import HANDED_OVER, MADE, not_here, settlement_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
    from datetime import timedelta
    from typing import Protocol

    from copperplate.access.gate import Gate
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.model import PictureRequest
    from copperplate.operations.cdn_purges import CdnPurges
    from copperplate.ports import Clock, Ledger, Wishes
    from copperplate.single_flight import Call
    from copperplate.wishes import Settlement, Wish

    class WorkingLedger(Ledger, Wishes, Protocol):
        """The ports of the ledger that work needs."""


logger = logging.getLogger(__name__)

# What the ledger's hints are about where a wish may be due.
WORK: Final = "work"
SWEEP_ROWS: Final = 100
# While wishes are being made, the ledger is asked this often for more.
TAKE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one step did: wishes whose picture is there now, that failed for good, and that were put back for later."""

    made: int = 0
    failed: int = 0
    put_back: int = 0

    @property
    def taken(self) -> int:
        """How many it took."""
        return self.made + self.failed + self.put_back

    def __add__(self, other: Report) -> Report:
        """What two steps did together."""
        return Report(
            made=self.made + other.made, failed=self.failed + other.failed, put_back=self.put_back + other.put_back
        )


class WorkStep:
    """Makes what was promised, and tells CDNs. A process has one; any number of steps may run at once, everywhere.

    `is_due` says that a wish may be due: somebody told of one since the last step began.
    """

    def __init__(  # noqa: PLR0913 - each part once
        self,
        *,
        ledger: WorkingLedger,
        coordinator: Coordinator,
        gate: Gate,
        kinds: Mapping[str, Kind],
        clock: Clock,
        lease: timedelta,
        in_flight: int,
        with_input: Callable[[PictureRequest], Awaitable[PictureRequest]],
        cdn_purges: CdnPurges,
    ) -> None:
        self._ledger = ledger
        self._coordinator = coordinator
        self._gate = gate
        self._kinds = kinds
        self._clock = clock
        self._lease = lease
        self._in_flight = in_flight
        self._with_input = with_input
        self._flights: SingleFlight[Settlement] = SingleFlight()
        self._under_way: set[int] = set()
        self._sweeps = Sweeps(ledger, clock, rows=SWEEP_ROWS)
        self.cdns = CdnWork(cdn_purges, clock, note_due=self.note_due)
        self._is_stopped = False
        self.is_due = False

    def note_due(self) -> None:
        """The ledger told this process that a wish is due, or a caller asks for one that nobody makes yet."""
        self.is_due = True

    @property
    def is_stopped(self) -> bool:
        """Whether this process takes no more wishes."""
        return self._is_stopped

    async def run(self, *, within_seconds: float, in_flight: int | None = None, at_most: int | None = None) -> Report:
        """Make due wishes until none is due, `at_most` were taken, or the time is over.

        No more than `in_flight` are in flight over all processes (`COPPERPLATE_WORK_ITEMS` unless given). What is late
        is put back; its generation goes on for as long as this process lets it. A wish that cannot be made is settled
        and raises nothing. Raises `LedgerUnavailable` and `LedgerMisconfigured` where nothing can be taken; what was
        taken before goes on. Beside it CDNs are told what they are to forget.
        """
        self.is_due = False
        stop_at = self._clock.monotonic() + within_seconds
        try:
            return await self._make_due(stop_at, in_flight or self._in_flight, at_most)
        finally:
            # A step without an end is followed by others, which its wishes wait for.
            if within_seconds < math.inf:
                await self.cdns.finish(within_seconds=max(0.0, stop_at - self._clock.monotonic()))

    async def _make_due(self, stop_at: float, in_flight: int, at_most: int | None) -> Report:
        # A run may last as long as its process: of what has ended only the counts are kept.
        report = Report()
        making: set[asyncio.Task[Settlement]] = set()
        with self._ledger.hints(WORK) as hint:
            while (left := stop_at - self._clock.monotonic()) > 0:
                await self._sweeps.run_if_due()
                self.cdns.begin_if_due()
                begun = await self._take(in_flight, limit=at_most, is_waiting=bool(making))
                at_most = None if at_most is None else at_most - len(begun)
                making.update(begun)
                if not making:
                    break
                await nap(self._clock, min(TAKE_SECONDS, left), hint, making)
                ended = {task for task in making if task.done()}
                making -= ended
                report += _report_of(ended)
        return report + await _put_back(making)

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """Let what `call` took be made; what is late is put back."""
        await self._flights.finish(call, within_seconds=within_seconds)

    def stop(self) -> None:
        """From now on nothing is taken: the process ends."""
        self._is_stopped = True

    async def shut_down(self, *, within_seconds: float) -> None:
        """At the end of the process: let what was taken be made for a while, then put the rest back."""
        self.stop()
        stop_at = self._clock.monotonic() + within_seconds
        await self._flights.drain(within_seconds=within_seconds)
        await self.cdns.finish(within_seconds=max(0.0, stop_at - self._clock.monotonic()))

    async def _take(self, in_flight: int, *, limit: int | None, is_waiting: bool) -> list[asyncio.Task[Settlement]]:
        """Begin what is due, no more than `limit`, so that at most `in_flight` are in flight."""
        if self._is_stopped or (limit is not None and limit <= 0):
            return []
        try:
            wishes = await self._ledger.take_wishes(in_flight=in_flight, held_for=self._lease, limit=limit)
        except (LedgerUnavailable, LedgerMisconfigured):
            if not is_waiting:
                raise
            return []
        # Its hold is over before its picture is there, and at the end of a lease nothing says that it is being made.
        return [self._begin(wish) for wish in wishes if wish.id not in self._under_way]

    def _begin(self, wish: Wish) -> asyncio.Task[Settlement]:
        # Not by the wish alone: a late flight may still be ending when its wish is taken anew.
        return self._flights.start(f"{wish.id} {uuid4().hex}", lambda: self._keep(wish))

    async def _keep(self, wish: Wish) -> Settlement:
        """Make one wish, and settle it."""
        self._under_way.add(wish.id)
        try:
            try:
                settlement = await self._make(wish)
            except asyncio.CancelledError:
                settlement = HANDED_OVER
            if settlement.status is WishStatus.OPEN:
                self._under_way.discard(wish.id)  # whoever takes it from now on makes it
            await settle(self._ledger, wish.id, settlement)
        finally:
            self._under_way.discard(wish.id)
        return settlement

    async def _make(self, wish: Wish) -> Settlement:
        try:
            request = self._request_of(wish)
            if not self._is_made_here(request):
                return not_here(tries=wish.tries)
            request = await self._with_input(request)
            permit = self._gate.permit_of_wish(wish, request)
            # A wait that is over ends no generation.
            options = LookupOptions(permit=permit, charge=wish.charge, is_patient=True)
            await self._coordinator.find(request, options)
        except Exception as error:  # noqa: BLE001 - one bad wish must not keep others from being made
            if not isinstance(error, CopperplateError):
                log_unexpected(error, "a work step")
            settlement = settlement_of(error, tries=wish.tries, is_of_stranger=wish.is_of_stranger)
            if settlement.status is WishStatus.FAILED:
                logger.warning(
                    "a wish failed: wish=%d key=%s code=%s", wish.id, wish.generation_key[:12], settlement.code
                )
            return settlement
        return MADE

    def _request_of(self, wish: Wish) -> PictureRequest:
        request = request_of_recipe(wish.recipe, wish.paths)
        if request.generation_key != wish.generation_key:
            message = f"wish {wish.id} has another recipe than its key"
            raise ValueError(message)
        return request

    def _is_made_here(self, request: PictureRequest) -> bool:
        """Whether this process offers its kind and model; if not, one with other settings or of another version may."""
        if offers(self._kinds, request.kind, request.model):
            return True
        logger.info("a wish is not made here: kind=%s model=%s", request.kind, request.model)
        return False


async def _put_back(late: Collection[asyncio.Task[Settlement]]) -> Report:
    """Put back what is late; its counts, and of what ended at the last moment."""
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
    return _report_of(late)


def _report_of(ended: Iterable[asyncio.Task[Settlement]]) -> Report:
    settlements = [HANDED_OVER if task.cancelled() else task.result() for task in ended]
    by_status = Counter(settlement.status for settlement in settlements)
    return Report(
        made=by_status[WishStatus.COMPLETED],
        failed=by_status[WishStatus.FAILED],
        put_back=by_status[WishStatus.OPEN],
    )
