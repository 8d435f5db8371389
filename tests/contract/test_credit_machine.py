"""Credits over thousands of random histories: both ledgers against one model, and planted bugs that must be seen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from tests.contract.credit_machine import CreditMachine, MachineHarness
from tests.simulation.loop import run_now

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from uuid import UUID

TABLES = (
    "public.generation_status, copperplate.cache_entries, copperplate.discarded_objects, copperplate.submits, "
    "copperplate.accounts, copperplate.credit_ledger, copperplate.reservations, copperplate.user_requests, "
    "copperplate.breakers"
)
# The same histories every time: what is red once stays red.
PLAN = settings(
    deadline=None, database=None, derandomize=True, print_blob=False, suppress_health_check=list(HealthCheck)
)
MEMORY = settings(PLAN, max_examples=500, stateful_step_count=50)
# Making a story shorter takes hundreds of others: a fault of memory is made small, the others only have to be seen.
POSTGRES = settings(PLAN, max_examples=20, stateful_step_count=40, phases=[Phase.generate])
HUNT = settings(MEMORY, phases=[Phase.generate], report_multiple_bugs=False)


class StillClock(FakeClock):
    """A clock nobody sleeps by: it is moved at once."""

    def move(self, seconds: float) -> None:
        self._seconds += seconds


class MemoryMachineHarness:
    def __init__(self) -> None:
        self.clock = StillClock()
        self.ledger = MemoryLedger(self.clock)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return run_now(work)

    def advance(self, seconds: float) -> None:
        self.clock.move(seconds)

    def reservations(self, key: str) -> list[UUID]:
        return [each.id for each in self.ledger._reservations if each.generation_key == key]


class MemoryMachine(CreditMachine):
    def open_harness(self) -> MachineHarness:
        return MemoryMachineHarness()


def _settle_whatever_the_state(self: MemoryLedger, generation_key: str) -> None:
    for each in self._reservations_of(generation_key):
        each.state = "held" if each.state == "refunded" else each.state
    _settle(self, generation_key)


def _give_back_twice(self: MemoryLedger, each: Any) -> bool:
    each.state = "held" if each.state == "released" else each.state
    return _give_back(self, each)


def _give_back_what_was_delivered(self: MemoryLedger, each: Any) -> bool:
    each.is_delivered = False
    return _give_back(self, each)


def _reserve_again(self: MemoryLedger, generation_key: str, charges: Any) -> None:
    kept, self._reservations = self._reservations, []
    _reserve(self, generation_key, charges)
    self._reservations = kept + self._reservations


def _release_what_is_led(self: MemoryLedger) -> None:
    for each in self._reservations:
        if each.state == "held" and self._is_led(each.generation_key):
            self._give_back(each)
    _release_expired(self)


def _release_before_its_time(self: MemoryLedger) -> None:
    for each in self._reservations:
        each.expires = -1.0
    _release_expired(self)


def _hold_until_a_sweep(self: MemoryLedger, account: Any) -> int:
    return int(account.held)


def _inherit_what_lapsed(self: MemoryLedger, generation_key: str) -> Any:
    for each in self._reservations_of(generation_key):
        each.expires = max(each.expires, self._clock.monotonic())
    return _inherited(self, generation_key)


_settle, _give_back, _reserve = MemoryLedger._settle, MemoryLedger._give_back, MemoryLedger._reserve
_inherited = MemoryLedger._inherited
_release_expired = MemoryLedger._release_expired
BUGS = {
    "settle does not look at the state": ("_settle", _settle_whatever_the_state),
    "what was released is released again": ("_give_back", _give_back_twice),
    "what was delivered is refunded": ("_give_back", _give_back_what_was_delivered),
    "a takeover reserves again": ("_reserve", _reserve_again),
    "the sweep releases what is led": ("_release_expired", _release_what_is_led),
    "the sweep releases before its time": ("_release_expired", _release_before_its_time),
    "what lapsed is held until a sweep": ("_held_by", _hold_until_a_sweep),
    "a takeover inherits what lapsed": ("_inherited", _inherit_what_lapsed),
}


class PostgresMachineHarness:
    """One connection, so that all calls have the clock where it was moved to."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._editor = psycopg.connect(url, autocommit=True)
        self._offset = 0.0
        self.ledger = PostgresLedger(url, max_connections=1)
        self.run(self.ledger.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def empty(self) -> None:
        self._editor.execute(f"truncate {TABLES}".encode())
        self.advance(-self._offset)

    def advance(self, seconds: float) -> None:
        self._offset += seconds
        self.run(self._set_clock())

    async def _set_clock(self) -> None:
        async with self.ledger._transport._pool.connection() as connection:
            await connection.execute("select set_config('copperplate.clock_offset', %s, false)", (f"{self._offset} s",))

    def reservations(self, key: str) -> list[UUID]:
        rows = self._editor.execute(
            "select r.id from copperplate.reservations as r where r.generation_key = %s order by r.created_at", (key,)
        )
        return [row[0] for row in rows]

    def close(self) -> None:
        self.run(self.ledger.close())
        self._editor.close()
        self._runner.close()


@pytest.fixture
def postgres(owner_url: str) -> Iterator[PostgresMachineHarness]:
    harness = PostgresMachineHarness(owner_url)
    yield harness
    harness.close()


def test_memory_ledger_agrees_with_the_model_over_500_histories() -> None:
    run_state_machine_as_test(MemoryMachine, settings=MEMORY)


def test_postgres_ledger_agrees_with_the_model(postgres: PostgresMachineHarness) -> None:
    class PostgresMachine(CreditMachine):
        def open_harness(self) -> MachineHarness:
            postgres.empty()
            return postgres

    run_state_machine_as_test(PostgresMachine, settings=POSTGRES)


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bug_is_found(bug: str) -> None:
    name, change = BUGS[bug]
    with patch.object(MemoryLedger, name, change), pytest.raises(AssertionError):
        run_state_machine_as_test(MemoryMachine, settings=HUNT)
