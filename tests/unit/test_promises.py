"""Promises: a caller who need not wait is told so once a lease is held, and the wish ends as its generation does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate.budgets import Budget, Charge, Spending
from copperplate.denials import AccessDenied, NotEnoughCredits
from copperplate.errors import LedgerUnavailable, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LookupOptions, LookupResult
from copperplate.generation.timings import Timings
from copperplate.model import Outcome
from copperplate.single_flight import call_scope
from copperplate.testing import GENERATE
from copperplate.wishes import Settlement, WishStatus
from copperplate.work.promises import LOOK_SECONDS, Promised, Promises, new_wish, without_address
from copperplate.work.settling import HANDED_OVER, MADE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.permits import permit
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.generation.coordinator import Coordinator
    from copperplate.wishes import NewWish

LEASE = timedelta(seconds=20)
ALICE = UUID(int=1)


class Meter:
    """Notes what is counted."""

    def __init__(self) -> None:
        self.counted: list[Outcome] = []

    def count(self, request: object, outcome: Outcome, **told: object) -> None:
        del request, told
        self.counted.append(outcome)


class Harness:
    """One process that promises, and what it has the ledger keep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **provider: Any) -> None:
        self.harness = CoordinatorHarness(**provider)
        self.ledger, self.clock = self.harness.ledger, self.harness.clock
        self.wishes: list[NewWish] = []
        self.settled: list[tuple[int, Settlement]] = []
        self.outages = 0
        self.meter: Any = Meter()
        monkeypatch.setattr(self.ledger, "make_wish", self._make_wish, raising=False)
        monkeypatch.setattr(self.ledger, "settle_wish", self._settle_wish, raising=False)
        self.coordinator = self.harness.process()
        self.promises = self.promises_over(self.coordinator)

    def promises_over(self, coordinator: Coordinator) -> Promises:
        return Promises(
            coordinator=coordinator, ledger=self.ledger, request_meter=self.meter, clock=self.clock, lease=LEASE
        )

    async def _make_wish(self, wish: NewWish, *, held_for: timedelta) -> int:
        assert held_for == LEASE
        if self.outages:
            self.outages -= 1
            raise LedgerUnavailable("away")
        self.wishes.append(wish)
        return len(self.wishes)

    async def _settle_wish(self, wish: int, settlement: Settlement) -> bool:
        self.settled.append((wish, settlement))
        return True

    async def start(
        self,
        options: LookupOptions = GENERATE,
        promises: Promises | None = None,
        kept: int | None = None,
        owner: str = "anonymous",
    ) -> LookupResult | Promised:
        request = picture_request()
        wish = new_wish(request, options, owner=owner)
        return await (promises or self.promises).start(request, options, wish, kept=kept)


async def test_a_promise_is_told_once_a_lease_is_held_and_ends_as_the_picture_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(monkeypatch, seconds=5)
    told = await harness.start()
    assert told == Promised(key=picture_request().generation_key)
    assert [wish.generation_key for wish in harness.wishes] == [picture_request().generation_key]
    assert (harness.settled, harness.meter.counted) == ([], [])
    await harness.clock.advance(6)
    assert (harness.settled, harness.meter.counted) == ([(1, MADE)], [Outcome.GENERATED])
    assert harness.harness.provider.submits == 1


async def test_a_wish_that_is_kept_already_is_settled_and_no_other_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch, seconds=5)
    assert isinstance(await harness.start(kept=7), Promised)
    await harness.clock.advance(6)
    assert (harness.wishes, harness.settled) == ([], [(7, MADE)])


async def test_a_stored_picture_is_answered_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch)
    await harness.coordinator.find(picture_request(), GENERATE)
    found = await harness.start()
    assert isinstance(found, LookupResult)
    assert found.outcome is Outcome.HIT
    assert (harness.wishes, harness.settled, harness.meter.counted) == ([], [], [])


async def test_a_refusal_is_raised_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch)
    with pytest.raises(NotEnoughCredits):
        await harness.start(LookupOptions(permit=permit(), charge=Charge(user=ALICE)))
    with pytest.raises(AccessDenied):
        await harness.start(LookupOptions(permit=permit(denial=AccessDenied("no"))))
    assert (harness.wishes, harness.settled) == ([], [])


async def test_who_may_not_lead_is_promised_nothing_and_waits_for_what_others_have_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(monkeypatch, seconds=5)
    await harness.start()
    following = asyncio.create_task(harness.start(LookupOptions(permit=permit(denial=AccessDenied("no")))))
    await asyncio.sleep(3 * LOOK_SECONDS)  # as long as a promise would take
    assert not following.done()
    await harness.clock.advance(6)
    assert isinstance(await following, LookupResult)
    assert len(harness.wishes) == 1


async def test_a_failure_after_the_answer_ends_the_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch, seconds=5, failures=[ProviderFailed(FailureClass.MODERATED, "no")])
    await harness.start()
    await harness.clock.advance(6)
    assert harness.settled == [(1, Settlement(status=WishStatus.FAILED, code="moderated"))]
    assert harness.meter.counted == [Outcome.FAILED]


STRANGER = Spending(
    payer=f"user:{ALICE}",
    amount_micro_usd=3,
    budgets=tuple(Budget(name=name, is_own=True) for name in (f"user:{ALICE}", "address:192.0.2.1", "anonymous")),
)


@pytest.mark.parametrize(
    ("owner", "spending", "ended"),
    [
        ("anonymous", None, Settlement(status=WishStatus.FAILED, code="rate_limited")),
        (f"user:{ALICE}", STRANGER, Settlement(status=WishStatus.FAILED, code="rate_limited")),
        (f"user:{ALICE}", None, Settlement(status=WishStatus.OPEN, retry_after=timedelta(seconds=30))),
    ],
)
async def test_a_strangers_promise_is_not_put_back_where_its_generation_fails(
    monkeypatch: pytest.MonkeyPatch, owner: str, spending: Spending | None, ended: Settlement
) -> None:
    limit = ProviderFailed(FailureClass.RATE_LIMITED, "slow", billed=False, retry_after=timedelta(seconds=30))
    harness = Harness(monkeypatch, seconds=5, failures=[limit])
    await harness.start(LookupOptions(permit=permit(spending=spending)), owner=owner)
    await harness.clock.advance(6)
    assert harness.settled == [(1, ended)]


async def test_a_wait_that_is_over_ends_no_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(monkeypatch, seconds=5)
    promises = harness.promises_over(harness.harness.process(timings=Timings(wait=timedelta(milliseconds=200))))
    await harness.start(promises=promises)
    await asyncio.sleep(0.4)
    assert (harness.settled, harness.meter.counted) == ([], [])
    await harness.clock.advance(6)
    assert (harness.settled, harness.meter.counted) == ([(1, MADE)], [Outcome.GENERATED])
    assert harness.harness.provider.submits == 1


async def test_an_outage_while_a_promise_is_kept_only_delays_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch, seconds=5)
    harness.outages = 2
    assert isinstance(await harness.start(), Promised)
    assert len(harness.wishes) == 1
    await harness.clock.advance(6)


async def test_the_end_of_a_call_waits_for_its_promises_and_puts_late_ones_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(monkeypatch, seconds=5)
    with call_scope() as call:
        await harness.start()
        await harness.coordinator.finish(call, within_seconds=0)
        await harness.promises.finish(call, within_seconds=0)
    assert harness.settled == [(1, HANDED_OVER)]


async def test_the_end_of_the_process_puts_promises_back(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch, seconds=5)
    await harness.start()
    await harness.coordinator.shut_down(within_seconds=0)
    await harness.promises.shut_down(within_seconds=0)
    assert harness.settled == [(1, HANDED_OVER)]


def test_what_is_kept_names_no_address() -> None:
    house = (Budget(name="model:p/m"), Budget(name="all"))
    anonymous = Budget(name="anonymous", is_own=True)
    address = Budget(name="address:192.0.2.1", is_own=True)
    user = Budget(name="user:1", is_own=True)
    stranger = Spending(payer=address.name, amount_micro_usd=3, budgets=(address, anonymous, *house), max_in_flight=2)
    assert without_address(stranger) == Spending(
        payer="anonymous", amount_micro_usd=3, budgets=(anonymous, *house), max_in_flight=None
    )
    nameless = Spending(
        payer=user.name, amount_micro_usd=3, budgets=(user, address, anonymous, *house), max_in_flight=2
    )
    assert without_address(nameless) == Spending(
        payer=user.name, amount_micro_usd=3, budgets=(user, anonymous, *house), max_in_flight=2
    )
    named = Spending(payer=user.name, amount_micro_usd=3, budgets=(user, *house), max_in_flight=2)
    assert without_address(named) == named
