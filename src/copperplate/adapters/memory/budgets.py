"""Budgets in memory: caps and counters, what leads reserve, what submits book, and what bills correct."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from copperplate.adapters.memory.budget_states import Amount, BudgetRow, BudgetState, Reserved, day_of
from copperplate.adapters.memory.credits import MemoryCredits
from copperplate.budgets import PREPAID, NearCap, RefusalReason
from copperplate.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date
    from uuid import UUID

    from copperplate.adapters.memory.credits import Submit
    from copperplate.budgets import Budget, Refusal, Spending
    from copperplate.ports import Clock

MAX_MICRO_USD: Final = 10**15
NEAR_PERMILLE: Final = 800
# Addresses and users are many, and in no log line.
_PRIVATE: Final = ("address:", "user:")


class MemoryBudgets(MemoryCredits):
    """The budgets of `acquire` and `begin_submit` over dictionaries. What lapsed counts as free, as in SQL."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._budgets: dict[str, BudgetRow] = {}
        self._usage: defaultdict[tuple[str, date], Amount] = defaultdict(Amount)
        self._resets: dict[tuple[str, date], Amount] = {}
        # By generation; of one whose lease ran out it is free.
        self._reserved: dict[str, Reserved] = {}
        # A token of theirs may still be good; no booking names them again.
        self._forgotten: set[str] = set()

    async def forget_user(self, user: UUID) -> bool:
        """See `CreditLedger.forget_user`."""
        names = {f"user:{user}", f"{PREPAID}user:{user}"}
        self._forgotten |= names
        for key, reserved in self._reserved.items():
            self._reserved[key] = Reserved(reserved.day, reserved.micro_usd, _without(reserved.budgets, names))
        for submit in self._submits:
            submit.budgets = _without(submit.budgets, names)
        self._budgets = {name: row for name, row in self._budgets.items() if name not in names}
        for counters in (self._usage, self._resets):
            for counter in [counter for counter in counters if counter[0] in names]:
                del counters[counter]
        return await super().forget_user(user)

    async def audit_budgets(self) -> Mapping[str, Any]:
        """See `Budgets.audit_budgets`: every counter is the sum of bookings and reservations."""
        due: defaultdict[tuple[str, date], Amount] = defaultdict(Amount)
        for submit in self._submits:
            for name in submit.budgets if submit.booked_micro_usd is not None else ():
                due[name, day_of(name, submit.day)].add(submit.counted_micro_usd, 1)
        for reserved in self._reserved.values():
            for name in reserved.budgets:
                due[name, day_of(name, reserved.day)].add(reserved.micro_usd, 1)
        counters = [counter for counter in {**self._usage, **due} if self._usage[counter] != due[counter]]
        faults = [{"budget": name, "day": day.isoformat()} for name, day in counters]
        return {"counters": len(self._usage), "faults": faults}

    # --- what the rest of the ledger does with budgets --------------------------------------------

    def _find_refusal(self, key: str, spending: Spending | None, *, is_lead: bool = True) -> Refusal | None:
        """Look whether every budget has room for one more picture of a generation; nothing is changed.

        `is_lead`: it would be led, and what the caller may have under way is bounded too.
        """
        if spending is None:
            return None
        if not 0 <= spending.amount_micro_usd <= MAX_MICRO_USD:
            raise LedgerUnavailable("the amount to spend is not known")
        now = self._clock.now()
        states = self._budget_states(spending.budgets, key)
        found: Refusal | None = None
        most_lasting = 0
        for state in states:
            lapsed, live = self._unsettled(state, key)
            if state.has_room(spending.amount_micro_usd, lapsed):
                continue
            both = Amount(lapsed.micro_usd + live.micro_usd, lapsed.pictures + live.pictures)
            is_busy = state.has_room(spending.amount_micro_usd, both)
            lasting = 3 if state.is_closed else 1 if is_busy else 2
            # What lasts longest is told, and of that the widest, which stands last.
            if lasting >= most_lasting:
                most_lasting = lasting
                reason = RefusalReason.IN_FLIGHT if lasting == 1 else RefusalReason.USED_UP
                found = state.refusal(reason, lapsed, now)
        if found is None and is_lead and self._has_too_many(states, spending.max_in_flight, key):
            return states[0].refusal(RefusalReason.TOO_MANY, Amount(), now)
        return found

    def _reserve_spending(self, key: str, spending: Spending | None) -> None:
        """Reserve a new leader's own budgets; what its predecessor reserved is kept where it is of the same."""
        if spending is None:
            return
        states = [state for state in self._budget_states(spending.budgets, key) if state.is_own]
        self._release_lapsed(states, spending, key)
        self._release_spending(key)
        if states:
            self._book(states, spending.amount_micro_usd)
            names = tuple(state.name for state in states)
            self._reserved[key] = Reserved(self._clock.now().date(), spending.amount_micro_usd, names)

    def _book_submit(self, key: str, submit: Submit, spending: Spending | None) -> tuple[NearCap, ...]:
        """Book every budget of a submit instead of what its leader reserved; answers those nearly used up."""
        if spending is None:
            self._release_spending(key)
            return ()
        states, amount = self._budget_states(spending.budgets, key), spending.amount_micro_usd
        self._release_lapsed(states, spending, key)
        self._release_spending(key)
        self._book(states, amount)
        submit.booked_micro_usd, submit.budgets = amount, tuple(state.name for state in states)
        return tuple(
            NearCap(budget=state.name, permille=state.permille(amount))
            for state in states
            if state.permille(amount) >= NEAR_PERMILLE and not state.name.removeprefix(PREPAID).startswith(_PRIVATE)
        )

    def _release_spending(self, key: str) -> None:
        """Give back what the leader of a generation reserved, if it still does. What was booked stays."""
        if (reserved := self._reserved.pop(key, None)) is not None:
            for name in reserved.budgets:
                self._usage[name, day_of(name, reserved.day)].add(-reserved.micro_usd, -1)

    def _note_cost(self, generation_key: str, cost_micro_usd: int | None, *, is_free: bool = False) -> None:
        """See above. A bill corrects the budgets of the submit's own day; a free submit goes with its picture."""
        mine = [submit for submit in self._submits if submit.generation_key == generation_key]
        if not mine or cost_micro_usd is None:
            return
        submit = mine[-1]
        before = Amount(submit.counted_micro_usd, submit.booked_micro_usd is not None)
        super()._note_cost(generation_key, cost_micro_usd)
        if is_free:
            submit.booked_micro_usd = None
        elif submit.budgets and submit.booked_micro_usd is None:
            submit.booked_micro_usd = cost_micro_usd
        for name in submit.budgets:
            self._usage[name, day_of(name, submit.day)].add(
                submit.counted_micro_usd - before.micro_usd, (submit.booked_micro_usd is not None) - before.pictures
            )

    # --- looks ------------------------------------------------------------------------------------

    def _budget_states(self, budgets: Sequence[Budget], key: str | None = None) -> list[BudgetState]:
        """Each of these budgets, and the prepaid one beside it where an operator set one.

        What the generation `key` reserved itself counts as free.
        """
        asked = {budget.name: budget for budget in budgets}
        states = []
        for budget in budgets:
            states.append(self._budget_state(budget, self._cap_of(budget, asked), key))
            prepaid = self._budgets.get(PREPAID + budget.name)
            if prepaid is not None:
                states.append(self._budget_state(budget, prepaid.caps(self._clock.now()), key, PREPAID + budget.name))
        return states

    def _cap_of(self, budget: Budget, asked: dict[str, Budget]) -> tuple[int | None, int | None]:
        """What an operator set, else what the program sent, else its share of the cap of another."""
        set_money, set_pictures = self._budgets.get(budget.name, BudgetRow()).caps(self._clock.now())
        money = budget.cap_micro_usd if set_money is None else set_money
        parent = asked.get(budget.share_of or "")
        if money is None and parent is not None and budget.permille is not None:
            whole = self._cap_of(parent, asked)[0]
            money = None if whole is None else whole * budget.permille // 1_000
        if budget.name in self._forgotten:
            money = 0
        return money, budget.cap_pictures if set_pictures is None else set_pictures

    def _budget_state(
        self, budget: Budget, caps: tuple[int | None, int | None], key: str | None, name: str | None = None
    ) -> BudgetState:
        name = name or budget.name
        day = day_of(name, self._clock.now().date())
        used, reset = self._usage.get((name, day), Amount()), self._resets.get((name, day), Amount())
        reserved = self._reserved.get(key or "")
        is_ours = reserved is not None and name in reserved.budgets and day_of(name, reserved.day) == day
        return BudgetState(
            name=name,
            day=day,
            is_own=budget.is_own,
            cap_micro_usd=caps[0],
            cap_pictures=caps[1],
            # A cap of zero refuses, whatever was reset.
            limit_micro_usd=caps[0] and caps[0] + reset.micro_usd,
            limit_pictures=caps[1] and caps[1] + reset.pictures,
            used_micro_usd=used.micro_usd - (reserved.micro_usd if is_ours and reserved else 0),
            used_pictures=used.pictures - is_ours,
        )

    def _unsettled(self, state: BudgetState, key: str | None) -> tuple[Amount, Amount]:
        """What other generations may give back of a budget: of leases that ran out, and of those that run.

        A submit of a dead leader may have been billed: it gives nothing back.
        """
        lapsed, live = Amount(), Amount()
        for other, reserved in self._reserved.items():
            if other != key and state.name in reserved.budgets and day_of(state.name, reserved.day) == state.day:
                (live if self._is_led(other) else lapsed).add(reserved.micro_usd, 1)
        for submit in self._newest_submits():
            other = submit.generation_key
            is_held = state.name in submit.budgets and day_of(state.name, submit.day) == state.day
            if is_held and other != key and submit.is_open and self._is_led(other) and self._is_submitted(other):
                live.add(submit.counted_micro_usd, 1)
        return lapsed, live

    def _settled(self, name: str, day: date) -> Amount:
        """What a budget counts without what may come back yet, whether its lease runs or not."""
        used = self._usage.get((name, day), Amount())
        settled = Amount(used.micro_usd, used.pictures)
        for reserved in self._reserved.values():
            if name in reserved.budgets and day_of(name, reserved.day) == day:
                settled.add(-reserved.micro_usd, -1)
        for submit in self._newest_submits():
            is_held = name in submit.budgets and day_of(name, submit.day) == day
            if is_held and submit.is_open and self._is_submitted(submit.generation_key):
                settled.add(-submit.counted_micro_usd, -1)
        return Amount(max(0, settled.micro_usd), max(0, settled.pictures))

    def _has_too_many(self, states: Sequence[BudgetState], most: int | None, key: str) -> bool:
        """Whether as many others of the caller's first own budget are led as one caller may have."""
        if most is None or not states or not states[0].is_own:
            return False
        of_submits = {submit.generation_key: submit.budgets for submit in self._newest_submits()}
        of_leads = {other: reserved.budgets for other, reserved in self._reserved.items()}
        spending_of = {**of_submits, **of_leads}
        led = [other for other, names in spending_of.items() if states[0].name in names and self._is_led(other)]
        return len(set(led) - {key}) >= most

    def _newest_submits(self) -> Iterable[Submit]:
        """The last submit of each generation."""
        return {submit.generation_key: submit for submit in self._submits}.values()

    def _is_submitted(self, key: str) -> bool:
        """Whether a submit was written ahead for a generation that may be resumed; the tables know."""
        raise NotImplementedError

    def _is_visible_key(self, name: str) -> bool:
        """Whether a budget is of a key that everybody can read; the keys know."""
        raise NotImplementedError

    def _is_key_over(self, name: str) -> bool:
        """Whether a budget is of a key that is revoked or has expired; the keys know."""
        raise NotImplementedError

    # --- changes ----------------------------------------------------------------------------------

    def _book(self, states: Iterable[BudgetState], micro_usd: int) -> None:
        for state in states:
            self._usage[state.name, state.day].add(micro_usd, 1)

    def _drop_unset_budgets(self) -> None:
        """Forget budgets that no operator caps any more: a prepaid one is over, and its counter stays."""
        now = self._clock.now()
        self._budgets = {name: row for name, row in self._budgets.items() if row.caps(now) != (None, None)}

    def _release_lapsed(self, states: Sequence[BudgetState], spending: Spending, key: str) -> None:
        """Give back what dead leaders reserved of budgets that have no room otherwise."""
        short = {state.name for state in states if not state.has_room(spending.amount_micro_usd, Amount())}
        lapsed = [
            other
            for other, reserved in self._reserved.items()
            if other != key and not short.isdisjoint(reserved.budgets) and not self._is_led(other)
        ]
        for other in lapsed:
            self._release_spending(other)


def _without(budgets: Iterable[str], names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in budgets if name not in names)
