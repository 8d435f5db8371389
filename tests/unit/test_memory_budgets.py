"""What a lead reserved in memory goes with it, however it ends: nothing is left that only counts as free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.memory.ledger import MemoryLedger
from copperplate.model import Condition, Job
from tests.contract.ledger.budgets import KEY, WALL, capped, elect, spending, submit
from tests.contract.ledger.harness import failure
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from copperplate.ledger_answers import Lead

REQUEST = picture_request()
PAID = spending(KEY, WALL)


async def fail(ledger: MemoryLedger, _: FakeClock, held: Lead) -> None:
    await ledger.fail(REQUEST.generation_key, held.fence, failure())


async def purge(ledger: MemoryLedger, _: FakeClock, __: Lead) -> None:
    await ledger.purge(Condition(key=REQUEST.generation_key), 1, is_dry_run=False)


async def take_down(ledger: MemoryLedger, _: FakeClock, __: Lead) -> None:
    await ledger.take_down(REQUEST.generation_key)


async def sweep(ledger: MemoryLedger, clock: FakeClock, _: Lead) -> None:
    await clock.advance(700)
    await ledger.sweep(1)


async def refuse(ledger: MemoryLedger, _: FakeClock, held: Lead) -> None:
    await submit(ledger, REQUEST, held, spending(KEY, capped(WALL, 0)))


async def collect(ledger: MemoryLedger, _: FakeClock, held: Lead) -> None:
    """What a slow predecessor submitted."""
    key = REQUEST.generation_key
    ledger._generations[key].status = "generating"
    assert await ledger.note_request(key, held.fence, Job(request_id="late"))
    await ledger.intend_upload(key, held.fence, upload("a"), usage={})
    assert await ledger.complete(key, held.fence, upload("a"), url=None)


@pytest.mark.parametrize("end", [collect, fail, purge, take_down, sweep, refuse])
async def test_what_was_reserved_goes_with_its_lead(
    end: Callable[[MemoryLedger, FakeClock, Lead], Awaitable[None]],
) -> None:
    clock = FakeClock()
    ledger = MemoryLedger(clock)
    held = await elect(ledger, REQUEST, PAID)
    assert set(ledger._reserved) == {REQUEST.generation_key}
    await end(ledger, clock, held)
    assert ledger._reserved == {}
    assert {(each.micro_usd, each.pictures) for each in ledger._usage.values()} == {(0, 0)}
