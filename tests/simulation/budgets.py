"""Budgets in a history: several payers and a wall, and every promise about what was spent, checked at every call."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.adapters.memory.budget_states import BudgetRow
from copperplate.budgets import PREPAID, Budget, Spending
from copperplate.denials import AccessDenied
from copperplate.generation.lookup import LookupOptions
from copperplate.testing import GENERATE
from tests.simulation.loop import run_now
from tests.support.permits import permit

if TYPE_CHECKING:
    from datetime import date

    from copperplate.budgets import Refusal
    from copperplate.ledger_answers import Lead
    from copperplate.model import Failure
    from tests.simulation.world import World

PRICE = 100
BILLS = (50, 80, 100, 100, 120, 150)


@dataclass(slots=True)
class Booking:
    """One submit, as an onlooker knows it: the day it was sent, and what it costs as far as is known."""

    day: date
    names: tuple[str, ...]
    bill: int | None = None
    is_here: bool = False
    is_free: bool = False

    @property
    def micro_usd(self) -> int:
        return PRICE if self.bill is None else self.bill


@dataclass(frozen=True, slots=True)
class Held:
    """What a lead reserved: one picture of its caller's own budgets."""

    day: date
    names: tuple[str, ...]


class Budgets:
    """Who may spend what. It knows of submits, bills and leases, and never looks at the ledger's counters."""

    def __init__(self, world: World) -> None:
        self._world = world
        # Of its own, so that who pays changes nothing else in the story.
        self._random = random.Random(f"who spends in {world.seed}")
        # Of its UTC day, the first ends while processes die.
        self.seconds_to_midnight = self._random.uniform(5, 80)
        self._bookings: dict[str, list[Booking]] = {}
        self._held: dict[str, Held] = {}
        draw = self._random.choice
        self._wall = Budget(name="all", cap_micro_usd=draw((None, 300, 500)), cap_pictures=draw((None, 3, 5)))
        anonymous = Budget(name="anonymous", cap_micro_usd=draw((None, 250)), cap_pictures=draw((2, 3)), is_own=True)
        self._payers = [
            *((Budget(name=f"key:{name}", cap_pictures=draw((None, 1, 2)), is_own=True),) for name in "ab"),
            *(
                (Budget(name=f"address:{name}", cap_micro_usd=draw((100, 250)), is_own=True), anonymous)
                for name in "xy"
            ),
        ]
        self._prepaid = draw((None, 2, 4))
        if self._prepaid is not None:
            world.ledger._budgets[f"{PREPAID}key:a"] = BudgetRow(cap_pictures=self._prepaid)
        self.refusals = 0
        # From then on pictures are asked for without a budget.
        self.is_closed = False

    def draw_options(self) -> LookupOptions:
        """Of one caller; now and then of one who may only follow."""
        if self.is_closed:
            return GENERATE
        if self._random.random() < 0.1:
            return LookupOptions(permit=permit(denial=AccessDenied("not here")))
        own = self._random.choice(self._payers)
        budgets = (*own, Budget(name="provider:simulated"), self._wall)
        return LookupOptions(permit=permit(Spending(payer=own[0].name, amount_micro_usd=PRICE, budgets=budgets)))

    def draw_focus(self) -> str:
        """The call that fails much more often: mostly one that budgets depend on."""
        return self._random.choice(("begin_submit", "begin_submit", "submit", "submit", "note_request", "acquire"))

    def draw_bill(self) -> int:
        """What a picture costs in the end."""
        return self._random.choice(BILLS)

    # --- what is seen ---------------------------------------------------------------------------

    def elects(self, key: str, lead: Lead, spending: Spending | None) -> None:
        """A lead that would submit reserves its caller's own budgets instead of what its predecessor had."""
        if spending is None or lead.job is not None or lead.intent is not None:
            return
        own = [budget for budget in spending.budgets if budget.is_own]
        self._world.oracle.check(
            all(self._has_room(each, key) for each in own), "a lead reserved more than a budget has left"
        )
        self._held[key] = Held(self._today(), self._names(own))

    def refuses(self, key: str, refusal: Refusal, spending: Spending | None) -> None:
        self.refusals += 1
        full = [] if spending is None else [each for each in spending.budgets if not self._has_room(each, key)]
        self._world.oracle.check(bool(full), f"{refusal.budget} refuses though every budget has room")

    def submits(self, key: str, spending: Spending | None) -> None:
        """A submit was written ahead: it fits into every budget of this day."""
        self._world.oracle.check(self.is_closed or spending is not None, "a submit was booked to nothing")
        budgets = () if spending is None else spending.budgets
        fits = all(self._has_room(budget, key) for budget in budgets)
        self._world.oracle.check(fits, "more was submitted than a cap allows")
        self.drops(key)
        self._bookings.setdefault(key, []).append(Booking(self._today(), self._names(budgets)))

    def bills(self, key: str, cost_micro_usd: int | None) -> None:
        """The picture of the newest submit is here."""
        if key in self._bookings:
            self._bookings[key][-1].is_here = True
            self._bill(key, cost_micro_usd)

    def fails(self, key: str, failure: Failure, *, was_sent: bool) -> None:
        self.drops(key)
        if not was_sent or key not in self._bookings:
            return
        newest = self._bookings[key][-1]
        if not failure.billed and not newest.is_here:
            newest.is_free, newest.bill = True, 0
        else:
            self._bill(key, failure.cost_micro_usd)

    def drops(self, key: str) -> None:
        """What its leader reserved is booked, or given back."""
        self._held.pop(key, None)

    def check(self) -> None:
        """After every call on the ledger."""
        faults = run_now(self._world.ledger.audit_budgets())["faults"]
        self._world.oracle.check(faults == [], "a counter is not what the book says")

    def is_over(self) -> None:
        """Longer than any lease after the last call: nothing is held, and every day has what was sent in it."""
        self.is_closed = True
        for own in self._payers:
            for state in self._world.ledger._budget_states((*own, self._wall)):
                lapsed, _ = self._world.ledger._unsettled(state, None)
                counted = self._counted(state.name, self._today())
                used = (state.used_micro_usd - lapsed.micro_usd, state.used_pictures - lapsed.pictures)
                self._world.oracle.check(used == counted, f"{state.name} holds something for nobody")
        run_now(self._world.ledger.sweep(1_000))
        due = {
            (name, self._today() if name.startswith(PREPAID) else booking.day)
            for bookings in self._bookings.values()
            for booking in bookings
            for name in booking.names
        }
        usage = self._world.ledger._usage
        for name, day in due | {(name, day) for name, day in usage if not name.startswith(PREPAID)}:
            counted = self._counted(name, day)
            found = [each for (of, at), each in usage.items() if of == name and (at == day or name.startswith(PREPAID))]
            sums = sum(each.micro_usd for each in found), sum(each.pictures for each in found)
            self._world.oracle.check(sums == counted, f"{name} counts {sums} where {counted} was spent")

    # --- what that comes to ---------------------------------------------------------------------

    def _bill(self, key: str, cost_micro_usd: int | None) -> None:
        if cost_micro_usd is not None:
            self._bookings[key][-1].bill = cost_micro_usd
            self._bookings[key][-1].is_free = False

    def _names(self, budgets: tuple[Budget, ...] | list[Budget]) -> tuple[str, ...]:
        names = [budget.name for budget in budgets]
        return (*names, f"{PREPAID}key:a") if "key:a" in names and self._prepaid is not None else tuple(names)

    def _today(self) -> date:
        return self._world.ledger._clock.now().date()

    def _has_room(self, budget: Budget, key: str) -> bool:
        room = self._fits(budget.name, budget.cap_micro_usd, budget.cap_pictures, key)
        return room and (budget.name != "key:a" or self._fits(f"{PREPAID}key:a", None, self._prepaid, key))

    def _fits(self, name: str, cap_micro_usd: int | None, cap_pictures: int | None, key: str) -> bool:
        """Whether one more picture fits beside what was sent and what others under a lease have reserved."""
        today, oracle = self._today(), self._world.oracle
        micro_usd, pictures = self._counted(name, today)
        held = sum(
            name in each.names and self._counts(name, each.day, today) and other != key and oracle.is_led(other)
            for other, each in self._held.items()
        )
        return (cap_micro_usd is None or micro_usd + (held + 1) * PRICE <= cap_micro_usd) and (
            cap_pictures is None or pictures + held + 1 <= cap_pictures
        )

    def _counted(self, name: str, day: date) -> tuple[int, int]:
        sums: Counter[str] = Counter()
        for bookings in self._bookings.values():
            for booking in bookings:
                if name in booking.names and self._counts(name, booking.day, day) and not booking.is_free:
                    sums.update(micro_usd=booking.micro_usd, pictures=1)
        return sums["micro_usd"], sums["pictures"]

    def _counts(self, name: str, day: date, today: date) -> bool:
        return day == today or name.startswith(PREPAID)
