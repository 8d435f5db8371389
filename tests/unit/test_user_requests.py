"""Pictures for signed-in people: what is free, what costs a credit, and what is answered twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from copperplate.accounts.user_requests import Addresses, Delivered, Failed, Pending, UserRequests
from copperplate.errors import (
    GenerationFailed,
    IdempotencyConflict,
    NotEnoughCredits,
    NotFound,
    PictureGone,
    ProviderFailed,
    StillGenerating,
    StoreMisconfigured,
    StoreUnavailable,
)
from copperplate.model import Condition, Credits, FailureClass, Outcome
from copperplate.serving.request_meter import RequestMeter
from tests.support.coordinator_harness import Workbench
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from copperplate.model import Entry, PictureRequest

ALICE, BOB = UUID(int=1), UUID(int=2)


class Desk:
    """One process that people ask."""

    def __init__(self, **provider: Any) -> None:
        self.bench = Workbench(**provider)
        self.clock, self.ledger, self.provider = self.bench.clock, self.bench.ledger, self.bench.provider
        self.usage = RequestMeter(ledger=self.ledger, providers={"image": self.provider}, clock=self.clock)
        self.addresses = Addresses(store=self.bench.store, url_of=url_of)
        self.user_requests = self.another_process()

    def another_process(self) -> UserRequests:
        return UserRequests(
            coordinator=self.bench.process(),
            ledger=self.ledger,
            accounts=self.ledger,
            usage=self.usage,
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
        return (process or self.user_requests).request(
            user, asked or picture_request(), addresses=self.addresses, idempotency_key=key
        )

    def order(
        self, user: UUID, asked: PictureRequest | None = None, key: str | None = None
    ) -> Coroutine[Any, Any, Delivered | Pending]:
        return self.user_requests.start(user, asked or picture_request(), addresses=self.addresses, idempotency_key=key)

    def look(self, user: UUID) -> Coroutine[Any, Any, Delivered | Pending | Failed]:
        return self.user_requests.status(user, picture_request().generation_key, addresses=self.addresses)

    def lose(self) -> None:
        """Somebody empties the bucket by hand."""
        self.bench.store._objects.clear()


def url_of(entry: Entry) -> str:
    return f"https://pictures.example/{entry.path}"


async def test_a_miss_costs_a_credit_and_a_hit_nothing() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 2, "g")
    made = await desk.ask(ALICE)
    assert (made.cached, made.credits, made.key) == (False, 1, picture_request().generation_key)
    assert made.url.startswith("https://pictures.example/")
    assert await desk.ask(ALICE) == Delivered(key=made.key, url=made.url, cached=True, credits=1, outcome=Outcome.HIT)
    assert await desk.ask(BOB) == Delivered(key=made.key, url=made.url, cached=True, credits=0, outcome=Outcome.HIT)
    assert desk.provider.submits == 1


async def test_without_credit_nothing_is_made() -> None:
    desk = Desk()
    with pytest.raises(NotEnoughCredits):
        await desk.ask(ALICE)
    assert desk.provider.submits == 0


async def test_pictures_of_the_painter_cost_no_credit() -> None:
    desk = Desk(is_billable=False)
    assert not (await desk.ask(ALICE)).cached


async def test_a_follower_in_another_process_waits_without_credit() -> None:
    desk = Desk(seconds=5)
    await desk.ledger.grant_credits(ALICE, 1, "g")
    leading = await desk.begin(desk.ask(ALICE))
    following = await desk.begin(desk.ask(BOB, process=desk.another_process()))
    await desk.clock.advance(10)
    assert (await leading).credits == 0
    assert (await following).cached is False
    assert desk.provider.submits == 1


async def test_a_failure_releases_the_credit_and_is_told_to_all() -> None:
    desk = Desk(seconds=1, failures=[ProviderFailed(FailureClass.MODERATED, "no")])
    await desk.ledger.grant_credits(ALICE, 1, "g")
    tasks = [await desk.begin(desk.ask(user)) for user in (ALICE, BOB)]
    await desk.clock.advance(2)
    for task in tasks:
        with pytest.raises(GenerationFailed):
            await task
    assert await desk.ledger.credits(ALICE) == Credits(balance=1, held=0)


async def test_the_same_key_has_the_same_answer_and_one_debit() -> None:
    desk = Desk(seconds=1)
    await desk.ledger.grant_credits(ALICE, 5, "g")
    tasks = [await desk.begin(desk.ask(ALICE, key="k")) for _ in range(100)]
    await desk.clock.advance(2)
    answers = {await task for task in tasks}
    replayed = await desk.ask(ALICE, key="k")
    assert {(each.key, each.url, each.cached, each.credits) for each in (replayed, *answers)} == {
        (replayed.key, replayed.url, False, 4)
    }
    assert (desk.provider.submits, (await desk.ledger.credits(ALICE)).balance) == (1, 4)


async def test_the_same_key_with_another_wish_is_a_conflict_that_costs_nothing() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 5, "g")
    await desk.ask(ALICE, key="k")
    with pytest.raises(IdempotencyConflict):
        await desk.ask(ALICE, picture_request("another"), key="k")
    assert (desk.provider.submits, (await desk.ledger.credits(ALICE)).balance) == (1, 4)


async def test_a_failed_ask_under_a_key_is_tried_again() -> None:
    desk = Desk(failures=[ProviderFailed(FailureClass.TRANSIENT, "down")])
    await desk.ledger.grant_credits(ALICE, 1, "g")
    with pytest.raises(GenerationFailed):
        await desk.ask(ALICE, key="k")
    await desk.clock.advance(60)
    assert not (await desk.ask(ALICE, key="k")).cached


async def test_an_order_is_pending_until_it_is_completed() -> None:
    desk = Desk(seconds=10)
    await desk.ledger.grant_credits(ALICE, 1, "g")
    ordering = await desk.begin(desk.order(ALICE))
    await desk.clock.advance(0.1)
    assert await ordering == Pending(key=picture_request().generation_key)
    assert await desk.look(ALICE) == Pending(key=picture_request().generation_key)
    with pytest.raises(NotFound):
        await desk.look(BOB)
    await desk.clock.advance(11)
    done = await desk.look(ALICE)
    assert isinstance(done, Delivered)
    assert (done.credits, desk.provider.submits) == (0, 1)


async def test_an_order_that_cannot_be_paid_is_refused_at_once() -> None:
    desk = Desk(seconds=10)
    ordering = await desk.begin(desk.order(ALICE))
    await desk.clock.advance(0.1)
    with pytest.raises(NotEnoughCredits):
        await ordering


async def test_an_order_of_what_is_there_is_delivered_at_once() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    await desk.ask(ALICE)
    delivered = await desk.order(BOB)
    assert isinstance(delivered, Delivered)
    assert delivered.cached


async def test_an_order_that_fails_says_why_and_when_to_ask_again() -> None:
    desk = Desk(seconds=1, failures=[ProviderFailed(FailureClass.MODERATED, "no")])
    await desk.ledger.grant_credits(ALICE, 1, "g")
    ordering = await desk.begin(desk.order(ALICE))
    await desk.clock.advance(0.1)
    await ordering
    await desk.clock.advance(2)
    failed = await desk.look(ALICE)
    assert isinstance(failed, Failed)
    assert failed.failure_class is FailureClass.MODERATED
    assert failed.retry_after > timedelta(hours=1)
    assert await desk.ledger.credits(ALICE) == Credits(balance=1, held=0)


async def test_what_was_ordered_and_never_fetched_is_refunded_when_it_goes() -> None:
    desk = Desk(seconds=1)
    await desk.ledger.grant_credits(ALICE, 1, "g")
    ordering = await desk.begin(desk.order(ALICE))
    await desk.clock.advance(0.1)
    await ordering
    await desk.clock.advance(2)
    assert (await desk.ledger.credits(ALICE)).balance == 0
    entry = next(iter(desk.ledger._entries.values())).entry
    await desk.ledger.report_missing(entry)
    assert (await desk.ledger.credits(ALICE)).balance == 1


async def test_every_ask_is_counted_with_its_outcome() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    await desk.ask(ALICE, key="k")
    await desk.ask(ALICE, key="k")
    await desk.ask(BOB)
    with pytest.raises(NotEnoughCredits):
        await desk.ask(BOB, picture_request("another"))
    await desk.usage.close()
    counted = {use.outcome: use.count for use in desk.ledger._uses}
    assert counted == {Outcome.GENERATED: 1, Outcome.HIT: 2, Outcome.FAILED: 1}


# --- pictures that are gone ----------------------------------------------------------------------


async def test_a_picture_whose_object_is_gone_is_made_anew_for_a_credit() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 2, "g")
    first = await desk.ask(ALICE)
    desk.lose()
    again = await desk.ask(ALICE)
    assert (again.cached, again.credits, desk.provider.submits) == (False, 0, 2)
    assert again.url != first.url
    assert (await desk.ask(BOB)).url == again.url


async def test_who_cannot_pay_for_a_lost_picture_is_given_no_dead_address() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    await desk.ask(ALICE)
    desk.lose()
    with pytest.raises(NotEnoughCredits):
        await desk.ask(BOB)


async def test_an_order_for_a_lost_picture_is_pending_again() -> None:
    desk = Desk(seconds=5)
    await desk.ledger.grant_credits(ALICE, 2, "g")
    first = await desk.begin(desk.ask(ALICE))
    await desk.clock.advance(6)
    assert not (await first).cached
    desk.lose()
    ordered = await desk.begin(desk.order(ALICE))
    assert await ordered == Pending(key=picture_request().generation_key)
    await desk.clock.advance(6)
    assert isinstance(await desk.look(ALICE), Delivered)


async def test_a_lost_picture_is_failed_for_whoever_looks_at_it() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    await desk.ask(ALICE)
    desk.lose()
    seen = await desk.look(ALICE)
    assert isinstance(seen, Failed)
    assert (seen.failure_class, seen.retry_after) == (FailureClass.MISSING_OBJECT, timedelta(0))


async def test_a_replay_of_a_picture_that_is_gone_is_told_so_and_pays_nothing() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 5, "g")
    await desk.ask(ALICE, key="lost")
    desk.lose()
    for _ in range(2):
        with pytest.raises(PictureGone):
            await desk.ask(ALICE, key="lost")
    made = await desk.ask(ALICE, key="new")
    assert (made.cached, made.credits, desk.provider.submits) == (False, 3, 2)
    replayed = await desk.ask(ALICE, key="lost")
    assert (replayed.url, replayed.cached, replayed.credits) == (made.url, False, 4)
    await desk.ledger.purge(Condition(key=made.key), 10, is_dry_run=False)
    for key in ("lost", "new"):
        with pytest.raises(PictureGone):
            await desk.ask(ALICE, key=key)
    assert (await desk.ledger.credits(ALICE)).balance == 3


async def test_a_replay_while_the_picture_is_made_anew_is_asked_to_wait() -> None:
    desk = Desk(seconds=5)
    await desk.ledger.grant_credits(ALICE, 5, "g")
    first = await desk.begin(desk.ask(ALICE, key="k"))
    await desk.clock.advance(6)
    await first
    desk.lose()
    remaking = await desk.begin(desk.ask(ALICE))
    with pytest.raises(StillGenerating):
        await desk.ask(ALICE, key="k")
    await desk.clock.advance(6)
    assert (await desk.ask(ALICE, key="k")).url == (await remaking).url


async def test_no_address_is_kept() -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    await desk.ask(ALICE, key="k")
    [ask] = desk.ledger._asks.values()
    assert ask.answer is not None
    assert "pictures.example" not in repr(ask.answer)


async def test_a_store_that_does_not_answer_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    made = await desk.ask(ALICE)

    async def fail(path: str) -> bool:
        raise StoreUnavailable("down")

    monkeypatch.setattr(desk.bench.store, "exists", fail)
    assert (await desk.ask(BOB)).url == made.url
    assert desk.provider.submits == 1


async def test_a_store_that_hangs_holds_a_hit_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    made = await desk.ask(ALICE)

    async def hang(path: str) -> bool:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(desk.bench.store, "exists", hang)
    monkeypatch.setattr("copperplate.generation.losses.EXISTS_SECONDS", 0.01)
    async with asyncio.timeout(10):
        assert (await desk.ask(BOB)).url == made.url


async def test_a_store_that_is_closed_by_a_setting_gives_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    await desk.ledger.grant_credits(ALICE, 1, "g")
    await desk.ask(ALICE)

    async def refuse(path: str) -> bool:
        raise StoreMisconfigured("there is no bucket")

    monkeypatch.setattr(desk.bench.store, "exists", refuse)
    with pytest.raises(StoreMisconfigured):
        await desk.ask(BOB)
    assert desk.provider.submits == 1
