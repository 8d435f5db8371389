"""One played history: some processes, one ledger, one store, one provider, and what goes wrong."""

from __future__ import annotations

import contextvars
import math
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copperplate.errors import CopperplateError, LedgerUnavailable, Signal
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.generation.timings import Timings
from copperplate.model import PictureFormat
from copperplate.operations import cleanup
from copperplate.recipes.kinds import PROCESSED
from copperplate.serving.renditions import Renditions
from copperplate.testing import GENERATE
from copperplate.tiers.tiers import Tiers
from tests.simulation.budgets import Budgets
from tests.simulation.clocks import ProcessClock, WorldClock
from tests.simulation.copies import PRIVATE_WANT, Copies, has_copies, is_with_takedowns
from tests.simulation.faults import Fault, Faults
from tests.simulation.loop import Freezable, SimulatedLoop, run_now
from tests.simulation.money import Money, ask_as, make_asking
from tests.simulation.oracle import Oracle
from tests.simulation.ports import (
    ProcessLedger,
    ProcessStore,
    SimulatedProvider,
    Truth,
    WatchedLedger,
    WatchedStore,
    is_lost,
    stores,
)
from tests.simulation.takedowns import Takedowns
from tests.support.coordinator_harness import PlainImages
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from copperplate.accounts.user_requests import UserRequests
    from copperplate.model import PictureRequest
    from copperplate.ports import ObjectStore

TIMINGS = Timings(job_retention=timedelta(minutes=1))
LEASE = TIMINGS.lease.total_seconds()
# A wait of thirty seconds each for a generation and for two that turned out to be missing, and the reads.
PATIENCE = 3 * TIMINGS.wait.total_seconds() + 60
WANTS = [
    picture_request(prompt, picture_format)
    for prompt in ("a fox", "a hen")
    for picture_format in (PictureFormat.JPG, PictureFormat.WEBP)
]
# Asked for where the provider fails and fails: enough of them to open the breaker.
OUTAGE_WANTS = [picture_request(f"fox {number}") for number in range(12)]
KEYS = {str(asked.recipe["prompt"]): asked.generation_key for asked in [*WANTS, *OUTAGE_WANTS, PRIVATE_WANT]}


@dataclass(eq=False)
class Process(Freezable):
    """A server process: what it holds dies with it."""

    is_troubled: bool = False
    user_requests: UserRequests | None = None
    frozen_seconds: float = 0.0
    cut_off_until: float = -math.inf
    tiers: Tiers | None = None
    # Which of the clocks that its tiers go by stands still while it is frozen, and how far that one is behind.
    standing_clock: str = ""
    clock_lag: float = 0.0
    # When the newest read of the feed that was answered had been asked.
    read_at: float = -math.inf

    @property
    def is_dead(self) -> bool:
        return self.thaws_at == math.inf


@dataclass
class Request:
    """One caller, until it is answered."""

    process: Process
    asked: PictureRequest
    began_at: float
    answer: str = ""


@dataclass
class World:
    """Everything there is, drawn from one seed."""

    seed: int
    random: random.Random = field(init=False)
    loop: SimulatedLoop = field(init=False)
    trace: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.loop = SimulatedLoop()
        self.oracle = Oracle(self)
        self.ledger = WatchedLedger(WorldClock(self))
        self.store = WatchedStore(ProcessStore.bucket)
        self.provider = Truth(self)
        self.faults = Faults.draw_profile(self.random)
        self.money = Money(self) if self.seed % 8 == 1 else None
        if self.money is not None:
            self.money.grant()
        self.budgets = Budgets(self) if self.seed % 16 == 12 else None
        if self.budgets is not None:
            self.faults.focus = self.budgets.draw_focus()
        self.takedowns = Takedowns(self) if self.seed % 16 == 11 or self.seed % 32 == 25 else None
        self.copies = Copies(self) if has_copies(self.seed) else None
        if is_with_takedowns(self.seed):
            self.takedowns = Takedowns(self)
        if self.copies is not None:
            self.faults.focus = self.copies.draw_focus()
            self.faults.kinds = self.copies.draw_kinds(self.faults.kinds)
        self.healed_at = math.inf
        self._names: dict[str, str] = {}
        self.keys = KEYS
        self.picture_requests = OUTAGE_WANTS if self.is_outage else WANTS[: self.random.choice((2, 2, 4))]
        if self.budgets is not None:
            self.picture_requests = OUTAGE_WANTS[:8]  # so many that the caps are reached
        if self.copies is not None:
            self.picture_requests = [*WANTS, PRIVATE_WANT]

    @property
    def retention(self) -> float:
        """Seconds for which a job is kept."""
        return TIMINGS.job_retention.total_seconds()

    def draw_asks(self) -> int:
        """How often a process is asked."""
        if self.is_outage:
            return 8
        if self.copies is not None:
            return 30
        return self.random.randint(1, 3) if self.budgets is None else 4

    def draw_want(self) -> PictureRequest:
        """What the next caller asks for."""
        return self.random.choice(self.picture_requests) if self.copies is None else self.copies.draw_want()

    def draw_pause(self) -> float:
        """Between two asks of a process."""
        return self.random.choice((0.0, 0.1, 5.0, 25.0)) if self.copies is None else self.copies.draw_pause()

    def heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self.faults.is_over, self.healed_at = True, self.loop.time()

    @property
    def is_outage(self) -> bool:
        """One history in eight plays while the provider is down."""
        return self.seed % 8 == 7

    def note(self, line: str) -> None:
        self.trace.append(f"{self.loop.time():10.3f} {line}")

    # --- calls ----------------------------------------------------------------------------------

    def paid(self, name: str, act: Callable[[], Any]) -> Callable[[], Any]:
        """A call on the ledger, after which credits, budgets and copies are looked at where there are any."""
        money, budgets, copies = self.money, self.budgets, self.copies
        if money is None and budgets is None and copies is None:
            return act

        async def watched() -> Any:
            answer = await act()
            if money is not None:
                money.check(name)
            if budgets is not None and name != "peek":
                budgets.check()
            if copies is not None:
                copies.check()
            return answer

        return watched

    async def call(
        self,
        process: Process,
        name: str,
        act: Callable[[], Any],
        *,
        typical: float,
        unavailable: Exception,
        give_up: float,
        repeats: bool = False,
        on_loss: Callable[[], None] | None = None,
    ) -> Any:
        """One call over the network, at which anything may happen."""
        fault = self._draw(process, name, unavailable, repeats=repeats)
        process.is_troubled |= fault not in (Fault.NONE, Fault.SLOW, Fault.SLOW_ANSWER)
        self.note(f"{process.name} {name}" + (f" [{fault}]" if fault is not Fault.NONE else ""))
        if on_loss and fault is not Fault.NONE:
            on_loss()
        if self.copies is not None:
            self.copies.sees(process, name, fault)
        reply: asyncio.Future[Any] = self.loop.create_future()
        if fault is Fault.CRASH_BEFORE:
            self.kill(process)
            await reply
        elif fault is Fault.PAUSE_BEFORE:
            self.pause(process)
            self.loop.call_soon(_settle, reply)
            await reply
            reply = self.loop.create_future()
        self._send(process, name, act, fault, reply, typical=typical, unavailable=unavailable, give_up=give_up)
        if fault is Fault.CRASH_IN_FLIGHT:
            self.kill(process)
        elif fault is Fault.PAUSE_IN_FLIGHT:
            self.pause(process)
        return await reply

    def _draw(self, process: Process, name: str, unavailable: Exception, *, repeats: bool) -> Fault:
        fault = self.faults.draw(name)
        if isinstance(unavailable, LedgerUnavailable):
            if fault is Fault.CUT_OFF:
                process.cut_off_until = self.loop.time() + self.faults.cut_off_seconds(LEASE)
            if self.loop.time() < process.cut_off_until:
                return Fault.LOSE_REQUEST
        return Fault.NONE if fault is Fault.CUT_OFF or (fault is Fault.REPEAT and not repeats) else fault

    def _send(
        self,
        process: Process,
        name: str,
        act: Callable[[], Any],
        fault: Fault,
        reply: asyncio.Future[Any],
        *,
        typical: float,
        unavailable: Exception,
        give_up: float,
    ) -> None:
        going, coming = self.faults.latency(typical) / 2, self.faults.latency(typical) / 2
        if fault is Fault.SLOW:
            going = give_up * 0.9
        elif fault is Fault.SLOW_ANSWER:
            coming = give_up * 0.9
        elif fault is Fault.LATE:
            going = give_up + self.random.choice((0.5, 10.0, LEASE))

        def arrive() -> None:
            if fault is Fault.LOSE_REQUEST:
                return
            if fault is Fault.REPEAT:
                _outcome_of(act)
            result, error = _outcome_of(act)
            self.note(f"  {name} of {process.name} -> {self._word(result, error)}")
            if fault is Fault.CRASH_AFTER:
                self.kill(process)
            elif not is_lost(fault):
                self.loop.call_later(coming, _settle, reply, result, error)

        self.loop.call_later(going, arrive, context=self._outside())
        if is_lost(fault):
            self.loop.call_later(give_up, _settle, reply, None, unavailable)

    def _outside(self) -> Any:
        """The network belongs to no process, and freezes with none."""
        return contextvars.Context()

    def kill(self, process: Process) -> None:
        self.loop.freeze(process, math.inf)

    def pause(self, process: Process) -> None:
        seconds = self.faults.pause_seconds(LEASE)
        process.frozen_seconds += seconds
        now = self.loop.time()
        process.clock_lag += max(0.0, now + seconds - max(now, process.thaws_at))
        self.loop.freeze(process, seconds)

    def _word(self, result: Any, error: BaseException | None) -> str:
        """A result without what differs from run to run."""
        if error is not None:
            return type(error).__name__
        fence = getattr(result, "fence", None)
        entry = getattr(result, "entry", result)
        path = getattr(entry, "path", None)
        named = f" {self._names.setdefault(path, f'object {len(self._names) + 1}')}" if path else ""
        plain = f" {result!r}" if isinstance(result, bool | int | bytes) else ""
        return type(result).__name__ + (f" {fence}" if fence else "") + named + plain

    # --- processes ------------------------------------------------------------------------------

    def start_process(self) -> tuple[Process, Renditions]:
        process = Process(name=f"p{len(self.processes) + 1}")
        self.processes.append(process)
        ledger, clock = ProcessLedger(self, process), ProcessClock(self)
        kinds = {"image": Kind(provider=SimulatedProvider(self, process), store=ProcessStore(self, process))}
        if self.copies is not None:
            process.tiers = self.copies.make_tiers(process, ledger)
            # The same store, with one breaker: the oracle knows of one.
            kinds[PROCESSED.name] = Kind(provider=SimulatedProvider(self, process), store=ProcessStore(self, process))
        images, tiers = PlainImages(), process.tiers or Tiers(None, clock)
        coordinator = Coordinator(
            ledger=ledger, kinds=kinds, images=images, clock=clock, timings=TIMINGS, begin_fill=tiers.begin_fill
        )
        process.user_requests = make_asking(self, coordinator, ledger, kinds, clock)
        return process, Renditions(
            coordinator=coordinator, ledger=ledger, kinds=kinds, images=images, clock=clock, tiers=tiers
        )

    def begin(self, process: Process | None, work: Any) -> None:
        self.loop.start(process, work)

    async def ask(self, process: Process, serving: Renditions, asked: PictureRequest) -> None:
        """One request, from beginning to answer."""
        request = Request(process, asked, self.loop.time())
        self.requests.append(request)
        frozen = process.frozen_seconds
        user = self.money.draw_user() if self.money is not None and not self.faults.is_over else None
        options = GENERATE if self.budgets is None else self.budgets.draw_options()
        try:
            if user is not None:
                request.answer = await ask_as(self, process, user, asked)
            else:
                hot = self.copies.find_hot(process, asked) if self.copies is not None else None
                found = hot or await serving.read(asked, options)
                body = found.body
                assert body is not None
                self.oracle.served(found.entry, body, str(asked.recipe["prompt"]))
                if self.takedowns is not None:
                    self.takedowns.serves(request, PATIENCE)
                if self.copies is not None:
                    frozen_for = process.frozen_seconds - frozen
                    seconds = self.loop.time() - request.began_at - frozen_for
                    self.copies.answers(process, found, seconds, began_at=request.began_at)
                request.answer = f"{found.outcome} {body!r}"
        except Signal as error:
            request.answer = type(error).__name__
            self.oracle.broken(f"a caller saw {request.answer}")
        except CopperplateError as error:
            request.answer = type(error).__name__
        took = self.loop.time() - request.began_at - (process.frozen_seconds - frozen)
        self.oracle.check(took <= PATIENCE, f"an answer after {took:.0f} s")
        self.note(f"{process.name} answers {request.answer}")

    async def clean(self, process: Process, *, keep: timedelta) -> None:
        """What the cron does, over the same network."""
        try:
            await cleanup.clean(
                ProcessLedger(self, process),
                self._stores(process),
                clock=ProcessClock(self),
                keep=keep,
            )
        except CopperplateError as error:
            self.note(f"{process.name} gave up cleaning: {error.code}")

    def _stores(self, process: Process) -> list[ObjectStore]:
        store = stores(ProcessStore(self, process))
        return store if self.copies is None else [*store, *stores(ProcessStore(self, process, PROCESSED.bucket))]

    # --- people and disks -----------------------------------------------------------------------

    def declare_wrong(self, asked: PictureRequest) -> None:
        """A person deletes the picture."""
        if asked.generation_key in self.ledger._generations:
            self.note("a person deletes the picture")
            self.ledger.delete(asked.generation_key)
            if self.money is not None:
                self.money.check("delete")
            if self.budgets is not None:
                self.budgets.drops(asked.generation_key)
                self.budgets.check()
            if self.copies is not None:
                self.copies.check()
            self.oracle.voids(asked.generation_key)

    def harm_an_object(self) -> None:
        """The disk loses or alters something; most of all what a leader has just stored."""
        intended = [path for path in self.ledger.intents() if self.store.peek(path) is not None]
        if not intended and self.random.random() < 0.8:
            return
        paths = intended or self.store.paths()
        if not paths:
            return
        path = self.random.choice(paths)
        self.oracle.harmed[path] = self.loop.time()
        is_lost_whole = self.random.random() < 0.5
        self.note(f"an object is {'lost' if is_lost_whole else 'altered'}")
        (self.store.lose if is_lost_whole else self.store.corrupt)(path)


def _outcome_of(act: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return run_now(act()), None
    except CopperplateError as error:
        return None, error


def _settle(reply: asyncio.Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    if reply.done():
        return
    if error is not None:
        reply.set_exception(error)
    else:
        reply.set_result(result)
