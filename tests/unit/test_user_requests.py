"""Pictures for signed-in people: what is free, what costs a credit, and what is answered twice."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from copperplate.accounts.user_requests import Delivered, Failed, UserRequests
from copperplate.budgets import Credits
from copperplate.denials import NotEnoughCredits
from copperplate.errors import (
    GenerationFailed,
    IdempotencyConflict,
    LedgerUnavailable,
    NotFound,
    PictureGone,
    ProviderFailed,
    StillGenerating,
    StoreMisconfigured,
    StoreUnavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.timings import Timings
from copperplate.model import Condition, Outcome
from copperplate.serving.request_meter import RequestMeter
from copperplate.testing import PERMIT
from copperplate.work.promises import Promised, Promises
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from copperplate.model import PictureRequest

ALICE, BOB = UUID(int=1), UUID(int=2)


class Harness:
    """One process that people ask."""

    def __init__(self, **provider: Any) -> None:
        self.coordinator_harness = CoordinatorHarness(**provider)
        self.clock, self.ledger, self.provider = (
            self.coordinator_harness.clock,
            self.coordinator_harness.ledger,
            self.coordinator_harness.provider,
        )
        self.usage = RequestMeter(ledger=self.ledger, providers={"image": self.provider}, clock=self.clock)
        self.user_requests = self.another_process()

    def another_process(self) -> UserRequests:
        coordinator = self.coordinator_harness.process()
        return UserRequests(
            coordinator=coordinator,
            promises=Promises(
                coordinator=coordinator,
                ledger=self.ledger,
                request_meter=self.usage,
                clock=self.clock,
                lease=Timings().lease,
            ),
            ledger=self.ledger,
            stores={self.coordinator_harness.store.bucket: self.coordinator_harness.store},
            accounts=self.ledger,
            request_meter=self.usage,
            clock=self.clock,
        )

    async def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let everything run that can before time moves."""
        task = asyncio.create_task(work)
        await self.clock.settle()
        return task

    def ask(
        self,
        user: UUID,
        asked: PictureRequest | None = None,
        key: str | None = None,
        process: UserRequests | None = None,
    ) -> Coroutine[Any, Any, Delivered]:
        return (process or self.user_requests).request(user, asked or picture_request(), PERMIT, idempotency_key=key)

    def order(
        self, user: UUID, asked: PictureRequest | None = None, key: str | None = None
    ) -> Coroutine[Any, Any, Delivered | Promised]:
        return self.user_requests.start(user, asked or picture_request(), PERMIT, idempotency_key=key)

    def look(self, user: UUID) -> Coroutine[Any, Any, Delivered | Promised | Failed]:
        return self.user_requests.status(user, picture_request().generation_key)

    def lose(self) -> None:
        """Somebody empties the bucket by hand."""
        self.coordinator_harness.store._objects.clear()


async def test_a_miss_costs_a_credit_and_a_hit_nothing() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 2, "g")
    made = await harness.ask(ALICE)
    assert (made.cached, made.credits, made.entry.generation_key) == (False, 1, picture_request().generation_key)
    again = Delivered(entry=made.entry, cached=True, credits=1, outcome=Outcome.HIT, webp=made.webp)
    assert made.webp is not None
    assert await harness.ask(ALICE) == again
    assert await harness.ask(BOB) == replace(again, credits=0)
    assert harness.provider.submits == 1


async def test_no_webp_is_named_where_none_is_kept() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    harness.coordinator_harness.ahead = ()
    process = harness.another_process()
    assert (await harness.ask(ALICE, process=process)).webp is None
    assert (await harness.ask(BOB, process=process)).webp is None


async def test_an_outage_of_the_ledger_at_the_webp_keeps_nobody_from_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    made = await harness.ask(ALICE)

    async def refuse(*_: Any) -> None:
        raise LedgerUnavailable("out of reach")

    monkeypatch.setattr(harness.ledger, "peek", refuse)
    again = await harness.ask(BOB)
    assert (again.entry, again.webp) == (made.entry, None)


async def test_without_credit_nothing_is_made() -> None:
    harness = Harness()
    with pytest.raises(NotEnoughCredits):
        await harness.ask(ALICE)
    assert harness.provider.submits == 0


async def test_pictures_of_the_painter_cost_no_credit() -> None:
    harness = Harness(is_billable=False)
    assert not (await harness.ask(ALICE)).cached


async def test_a_follower_in_another_process_waits_without_credit() -> None:
    harness = Harness(seconds=5)
    await harness.ledger.grant_credits(ALICE, 1, "g")
    leading = await harness.begin(harness.ask(ALICE))
    following = await harness.begin(harness.ask(BOB, process=harness.another_process()))
    await harness.clock.advance(10)
    assert (await leading).credits == 0
    assert (await following).cached is False
    assert harness.provider.submits == 1


async def test_a_failure_releases_the_credit_and_is_told_to_all() -> None:
    harness = Harness(seconds=1, failures=[ProviderFailed(FailureClass.MODERATED, "no")])
    await harness.ledger.grant_credits(ALICE, 1, "g")
    tasks = [await harness.begin(harness.ask(user)) for user in (ALICE, BOB)]
    await harness.clock.advance(2)
    for task in tasks:
        with pytest.raises(GenerationFailed):
            await task
    assert await harness.ledger.credits(ALICE) == Credits(balance=1, held=0)


async def test_the_same_key_has_the_same_answer_and_one_debit() -> None:
    harness = Harness(seconds=1)
    await harness.ledger.grant_credits(ALICE, 5, "g")
    tasks = [await harness.begin(harness.ask(ALICE, key="k")) for _ in range(100)]
    await harness.clock.advance(2)
    answers = {await task for task in tasks}
    replayed = await harness.ask(ALICE, key="k")
    assert {(each.entry, each.cached, each.credits) for each in (replayed, *answers)} == {(replayed.entry, False, 4)}
    assert (harness.provider.submits, (await harness.ledger.credits(ALICE)).balance) == (1, 4)


async def test_the_same_key_with_another_wish_is_a_conflict_that_costs_nothing() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 5, "g")
    await harness.ask(ALICE, key="k")
    with pytest.raises(IdempotencyConflict):
        await harness.ask(ALICE, picture_request("another"), key="k")
    assert (harness.provider.submits, (await harness.ledger.credits(ALICE)).balance) == (1, 4)


async def test_a_failed_ask_under_a_key_is_tried_again() -> None:
    harness = Harness(failures=[ProviderFailed(FailureClass.TRANSIENT, "down")])
    await harness.ledger.grant_credits(ALICE, 1, "g")
    with pytest.raises(GenerationFailed):
        await harness.ask(ALICE, key="k")
    await harness.clock.advance(60)
    assert not (await harness.ask(ALICE, key="k")).cached


async def test_an_order_is_pending_until_it_is_completed() -> None:
    harness = Harness(seconds=10)
    await harness.ledger.grant_credits(ALICE, 1, "g")
    ordering = await harness.begin(harness.order(ALICE))
    await harness.clock.advance(0.1)
    assert await ordering == Promised(key=picture_request().generation_key)
    assert await harness.look(ALICE) == Promised(key=picture_request().generation_key)
    with pytest.raises(NotFound):
        await harness.look(BOB)
    await harness.clock.advance(11)
    done = await harness.look(ALICE)
    assert isinstance(done, Delivered)
    assert (done.credits, harness.provider.submits) == (0, 1)


async def test_an_order_that_cannot_be_paid_is_refused_at_once() -> None:
    harness = Harness(seconds=10)
    ordering = await harness.begin(harness.order(ALICE))
    await harness.clock.advance(0.1)
    with pytest.raises(NotEnoughCredits):
        await ordering


async def test_an_order_of_what_is_there_is_delivered_at_once() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.ask(ALICE)
    delivered = await harness.order(BOB)
    assert isinstance(delivered, Delivered)
    assert delivered.cached


async def test_an_order_that_fails_says_why_and_when_to_ask_again() -> None:
    harness = Harness(seconds=1, failures=[ProviderFailed(FailureClass.MODERATED, "no")])
    await harness.ledger.grant_credits(ALICE, 1, "g")
    ordering = await harness.begin(harness.order(ALICE))
    await harness.clock.advance(0.1)
    await ordering
    await harness.clock.advance(2)
    failed = await harness.look(ALICE)
    assert isinstance(failed, Failed)
    assert failed.failure_class is FailureClass.MODERATED
    assert failed.retry_after > timedelta(hours=1)
    assert await harness.ledger.credits(ALICE) == Credits(balance=1, held=0)


async def test_an_order_that_fails_after_its_caller_has_gone_warns_of_nothing() -> None:
    warned: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: warned.append(context))
    harness = Harness(seconds=1, failures=[ProviderFailed(FailureClass.MODERATED, "no")])
    await harness.ledger.grant_credits(ALICE, 1, "g")
    ordering = await harness.begin(harness.order(ALICE))
    await harness.clock.advance(0.1)
    await ordering
    del ordering
    await harness.clock.advance(2)
    gc.collect()
    await harness.clock.settle()
    assert warned == []


async def test_what_was_ordered_and_never_fetched_is_refunded_when_it_goes() -> None:
    harness = Harness(seconds=1)
    await harness.ledger.grant_credits(ALICE, 1, "g")
    ordering = await harness.begin(harness.order(ALICE))
    await harness.clock.advance(0.1)
    await ordering
    await harness.clock.advance(2)
    assert (await harness.ledger.credits(ALICE)).balance == 0
    entry = next(iter(harness.ledger._entries.values())).entry
    await harness.ledger.report_missing(entry)
    assert (await harness.ledger.credits(ALICE)).balance == 1


async def test_every_ask_is_counted_with_its_outcome() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.ask(ALICE, key="k")
    await harness.ask(ALICE, key="k")
    await harness.ask(BOB)
    with pytest.raises(NotEnoughCredits):
        await harness.ask(BOB, picture_request("another"))
    await harness.usage.close()
    counted = {use.outcome: use.count for use in harness.ledger._uses}
    assert counted == {Outcome.GENERATED: 1, Outcome.HIT: 2, Outcome.FAILED: 1}


# --- pictures that are gone ----------------------------------------------------------------------


async def test_a_picture_whose_object_is_gone_is_made_anew_for_a_credit() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 2, "g")
    first = await harness.ask(ALICE)
    harness.lose()
    again = await harness.ask(ALICE)
    assert (again.cached, again.credits, harness.provider.submits) == (False, 0, 2)
    assert again.entry != first.entry
    assert (await harness.ask(BOB)).entry == again.entry


async def test_who_cannot_pay_for_a_lost_picture_is_given_no_dead_address() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.ask(ALICE)
    harness.lose()
    with pytest.raises(NotEnoughCredits):
        await harness.ask(BOB)


async def test_an_order_for_a_lost_picture_is_pending_again() -> None:
    harness = Harness(seconds=5)
    await harness.ledger.grant_credits(ALICE, 2, "g")
    first = await harness.begin(harness.ask(ALICE))
    await harness.clock.advance(6)
    assert not (await first).cached
    harness.lose()
    ordered = await harness.begin(harness.order(ALICE))
    assert await ordered == Promised(key=picture_request().generation_key)
    await harness.clock.advance(6)
    assert isinstance(await harness.look(ALICE), Delivered)


async def test_a_lost_picture_is_failed_for_whoever_looks_at_it() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.ask(ALICE)
    harness.lose()
    seen = await harness.look(ALICE)
    assert isinstance(seen, Failed)
    assert (seen.failure_class, seen.retry_after) == (FailureClass.MISSING_OBJECT, timedelta(0))


async def test_a_replay_of_a_picture_that_is_gone_is_told_so_and_pays_nothing() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 5, "g")
    await harness.ask(ALICE, key="lost")
    harness.lose()
    for _ in range(2):
        with pytest.raises(PictureGone):
            await harness.ask(ALICE, key="lost")
    made = await harness.ask(ALICE, key="new")
    assert (made.cached, made.credits, harness.provider.submits) == (False, 3, 2)
    replayed = await harness.ask(ALICE, key="lost")
    assert (replayed.entry, replayed.cached, replayed.credits) == (made.entry, False, 4)
    await harness.ledger.purge(Condition(key=made.entry.generation_key), 10, is_dry_run=False)
    for key in ("lost", "new"):
        with pytest.raises(PictureGone):
            await harness.ask(ALICE, key=key)
    assert (await harness.ledger.credits(ALICE)).balance == 3


async def test_a_replay_while_the_picture_is_made_anew_is_asked_to_wait() -> None:
    harness = Harness(seconds=5)
    await harness.ledger.grant_credits(ALICE, 5, "g")
    first = await harness.begin(harness.ask(ALICE, key="k"))
    await harness.clock.advance(6)
    await first
    harness.lose()
    remaking = await harness.begin(harness.ask(ALICE))
    with pytest.raises(StillGenerating):
        await harness.ask(ALICE, key="k")
    await harness.clock.advance(6)
    assert (await harness.ask(ALICE, key="k")).entry == (await remaking).entry


async def test_no_address_is_kept() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    made = await harness.ask(ALICE, key="k")
    [ask] = harness.ledger._requests.values()
    assert ask.answer is not None
    assert made.entry.path not in repr(ask.answer)


async def test_a_store_that_does_not_answer_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    made = await harness.ask(ALICE)

    async def fail(path: str) -> bool:
        raise StoreUnavailable("down")

    monkeypatch.setattr(harness.coordinator_harness.store, "exists", fail)
    assert (await harness.ask(BOB)).entry == made.entry
    assert harness.provider.submits == 1


async def test_a_store_that_hangs_holds_a_hit_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    made = await harness.ask(ALICE)

    async def hang(path: str) -> bool:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(harness.coordinator_harness.store, "exists", hang)
    monkeypatch.setattr("copperplate.generation.losses.EXISTS_SECONDS", 0.01)
    async with asyncio.timeout(10):
        assert (await harness.ask(BOB)).entry == made.entry


async def test_a_store_that_is_closed_by_a_setting_gives_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.ask(ALICE)

    async def refuse(path: str) -> bool:
        raise StoreMisconfigured("there is no bucket")

    monkeypatch.setattr(harness.coordinator_harness.store, "exists", refuse)
    with pytest.raises(StoreMisconfigured):
        await harness.ask(BOB)
    assert harness.provider.submits == 1


async def test_an_order_under_a_known_key_has_the_same_answer() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    made = await harness.ask(ALICE, key="k")
    again = await harness.order(ALICE, key="k")
    assert isinstance(again, Delivered)
    assert (again.entry, again.cached, again.credits) == (made.entry, False, 0)
    assert (again.outcome, harness.provider.submits) == (Outcome.HIT, 1)


async def test_a_purged_picture_is_abandoned_for_whoever_asked_for_it() -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    made = await harness.ask(ALICE)
    await harness.ledger.purge(Condition(key=made.entry.generation_key), 10, is_dry_run=False)
    seen = await harness.look(ALICE)
    assert isinstance(seen, Failed)
    assert (seen.failure_class, seen.retry_after) == (FailureClass.ABANDONED, timedelta(0))


async def test_a_store_that_loses_every_object_is_asked_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.ask(ALICE)
    looks = 0

    async def lose(*_: object, **__: object) -> bool:
        nonlocal looks
        looks += 1
        return True

    monkeypatch.setattr("copperplate.accounts.user_requests.is_lost", lose)
    for work in (harness.ask(BOB), harness.look(ALICE)):
        with pytest.raises(StoreUnavailable):
            await work
    assert (looks, harness.provider.submits) == (6, 1)


async def test_an_order_of_what_is_there_asks_for_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.ask(ALICE)

    async def fail(*_: object) -> None:
        raise LedgerUnavailable("down")

    monkeypatch.setattr(harness.ledger, "peek", fail)
    assert isinstance(await harness.order(BOB), Delivered)


async def test_a_request_that_ends_before_its_picture_is_known_to_whoever_made_it() -> None:
    harness = Harness(seconds=40)
    await harness.ledger.grant_credits(ALICE, 1, "g")
    await harness.begin(harness.ask(ALICE))
    kinds = harness.coordinator_harness.kinds
    kinds["image"] = replace(kinds["image"], wait=timedelta(microseconds=1))
    with pytest.raises(StillGenerating):  # he follows, so no credit of his is reserved
        await harness.ask(BOB, process=harness.another_process())
    assert await harness.look(BOB) == Promised(key=picture_request().generation_key)
