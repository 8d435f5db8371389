"""Bugs of budgets to plant, each one a line somebody might write or leave out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from copperplate.adapters.memory.budget_states import Amount, day_of
from copperplate.adapters.memory.credits import MemoryCredits
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.generation.leader import Leader
from copperplate.ledger_answers import Lead

if TYPE_CHECKING:
    from tests.simulation.ports import WatchedLedger


def _give_lead_back_and_hold(self: WatchedLedger, key: str, row: Any, provider: str) -> None:
    reserved = self._reserved.pop(key, None)
    MemoryLedger._give_lead_back(self, key, row, provider)
    if reserved is not None:
        self._reserved[key] = reserved


async def _fail_and_hold(self: WatchedLedger, key: str, fence: int, failure: Any) -> bool:
    reserved = self._reserved.pop(key, None)
    is_failed = await MemoryLedger.fail(self, key, fence, failure)
    if reserved is not None:
        self._reserved[key] = reserved
    return is_failed


def _forget_and_hold(self: WatchedLedger, key: str) -> None:
    reserved = self._reserved.pop(key, None)
    MemoryLedger._forget(self, key)
    if reserved is not None:
        self._reserved[key] = reserved


def _reserve_over_a_predecessor(self: WatchedLedger, key: str, spending: Any) -> None:
    if spending is not None:
        self._reserved.pop(key, None)
    MemoryLedger._reserve_spending(self, key, spending)


def _reserve_nothing(self: WatchedLedger, key: str, spending: Any) -> None:
    self._release_spending(key)


def _look_at_the_election_alone(self: WatchedLedger, key: str, spending: Any, *, is_lead: bool = True) -> Any:
    return MemoryLedger._find_refusal(self, key, spending) if is_lead else None


def _look_at_own_budgets_alone(self: WatchedLedger, key: str, spending: Any, *, is_lead: bool = True) -> Any:
    if spending is not None:
        spending = replace(spending, budgets=tuple(each for each in spending.budgets if each.is_own))
    return MemoryLedger._find_refusal(self, key, spending, is_lead=is_lead)


def _book_on_the_day_of_the_election(self: WatchedLedger, key: str, submit: Any, spending: Any) -> Any:
    reserved = self._reserved.get(key)
    near_caps = MemoryLedger._book_submit(self, key, submit, spending)
    if reserved is not None and reserved.day != submit.day:
        for name in submit.budgets:
            self._usage[name, day_of(name, submit.day)].add(-submit.counted_micro_usd, -1)
            self._usage[name, day_of(name, reserved.day)].add(submit.counted_micro_usd, 1)
        submit.day = reserved.day
    return near_caps


def _settle_today(self: WatchedLedger, key: str, cost: int | None, *, is_free: bool = False) -> None:
    mine = [submit for submit in self._submits if submit.generation_key == key and cost is not None]
    for submit in mine[-1:]:
        was, submit.day = submit.day, self._clock.now().date()
        for name in submit.budgets if submit.booked_micro_usd is not None else ():
            self._usage[name, day_of(name, was)].add(-submit.counted_micro_usd, -1)
            self._usage[name, day_of(name, submit.day)].add(submit.counted_micro_usd, 1)
    MemoryLedger._note_cost(self, key, cost, is_free=is_free)


def _keep_the_picture_of_a_free_submit(
    self: WatchedLedger, key: str, cost: int | None, *, is_free: bool = False
) -> None:
    MemoryLedger._note_cost(self, key, cost)


def _correct_nothing(self: WatchedLedger, key: str, cost: int | None, *, is_free: bool = False) -> None:
    MemoryCredits._note_cost(self, key, cost)


def _hold_for_ever(self: WatchedLedger, state: Any, key: str | None) -> Any:
    lapsed, live = MemoryLedger._unsettled(self, state, key)
    live.add(lapsed.micro_usd, lapsed.pictures)
    return Amount(), live


def _free_what_a_dead_leader_submitted(self: WatchedLedger, state: Any, key: str | None) -> Any:
    lapsed, live = MemoryLedger._unsettled(self, state, key)
    for submit in self._newest_submits():
        other = submit.generation_key
        if state.name in submit.budgets and other != key and submit.day == state.day and not self._is_led(other):
            row = self._generations.get(other)
            if row is not None and row.is_live and submit.booked_micro_usd is not None:
                lapsed.add(submit.booked_micro_usd, 1)
    return lapsed, live


_submit_once = Leader._submit_once


async def _submit_again_unbooked(self: Leader, submit_no: int) -> Any:
    if submit_no > 1:
        self.attempt.spending = None
    return await _submit_once(self, submit_no)


async def _collect_only_within_budgets(self: WatchedLedger, request: Any, **named: Any) -> Any:
    found = await MemoryLedger.acquire(self, request, **named)
    if isinstance(found, Lead) and found.job is not None:
        self._reserve_spending(request.generation_key, named["spending"])
    return found


# What is planted where, by what it is.
WHERE_AND_WHAT = {
    "a refused submit keeps what was reserved": ("_give_lead_back", _give_lead_back_and_hold),
    "a failure keeps what was reserved": ("fail", _fail_and_hold),
    "a deleted generation keeps what was reserved": ("_forget", _forget_and_hold),
    "a takeover books over its predecessor": ("_reserve_spending", _reserve_over_a_predecessor),
    "an election reserves nothing": ("_reserve_spending", _reserve_nothing),
    "budgets are looked at by the election alone": ("_find_refusal", _look_at_the_election_alone),
    "the wall is looked at by nobody": ("_find_refusal", _look_at_own_budgets_alone),
    "a submit belongs to the day of its election": ("_book_submit", _book_on_the_day_of_the_election),
    "a bill is settled in the day it comes": ("_note_cost", _settle_today),
    "a free submit keeps its picture": ("_note_cost", _keep_the_picture_of_a_free_submit),
    "a bill corrects nothing": ("_note_cost", _correct_nothing),
    "what lapsed is held for ever": ("_unsettled", _hold_for_ever),
    "what a dead leader submitted is free": ("_unsettled", _free_what_a_dead_leader_submitted),
    "a leader that only collects reserves again": ("acquire", _collect_only_within_budgets),
}
SUBMITS_AGAIN_UNBOOKED = _submit_again_unbooked
