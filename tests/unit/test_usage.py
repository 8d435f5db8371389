"""Counting: added up in the process, flushed once in two seconds, lost at worst, never doubled."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.fake_clock import FakeClock
from copperplate.errors import LedgerUnavailable
from copperplate.model import LATENCY_BOUNDS_MS, Outcome, PictureFormat
from copperplate.usage import FLUSH_SECONDS, TIERS, Usage, unpriced
from pictures import want
from workbench import ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue, Use

WEBP = want(picture_format=PictureFormat.WEBP)


class Book:
    """A ledger that only takes counts down, or refuses them, or keeps the caller waiting."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Use]] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def record_usage(self, uses: Sequence[Use]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.batches.append(uses)
        if self.failure is not None:
            raise self.failure


class Desk:
    def __init__(self) -> None:
        self.clock, self.book = FakeClock(), Book()
        self.provider = ScriptedProvider(self.clock)
        self.usage = Usage(ledger=self.book, providers={"image": self.provider}, clock=self.clock)  # type: ignore[arg-type]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_requests_of_one_rendition_and_outcome_add_up(desk: Desk) -> None:
    for size in (10, 20, 30):
        desk.usage.count(want(), Outcome.HIT, size_bytes=size, seconds=0.001)
    desk.usage.count(want(), Outcome.FAILED, size_bytes=0, seconds=0.001)
    desk.usage.count(WEBP, Outcome.HIT, size_bytes=5, seconds=0.001)
    await desk.usage.close()
    [batch] = desk.book.batches
    assert [(use.rendition_key, use.outcome, use.count, use.size_bytes) for use in batch] == [
        (want().rendition_key, Outcome.HIT, 3, 60),
        (want().rendition_key, Outcome.FAILED, 1, 0),
        (WEBP.rendition_key, Outcome.HIT, 1, 5),
    ]
    first = batch[0]
    assert (first.generation_key, first.kind, first.provider) == (want().generation_key, "image", "scripted")
    assert (first.model, first.tier) == ("copperplate/painter-1", "storage")


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        *((bound / 1000, number) for number, bound in enumerate(LATENCY_BOUNDS_MS)),
        (0, 0),
        (0.0011, 1),
        (30.001, len(LATENCY_BOUNDS_MS)),
        (10**6, len(LATENCY_BOUNDS_MS)),
    ],
)
async def test_latency_falls_into_the_bucket_that_ends_at_its_bound(desk: Desk, seconds: float, bucket: int) -> None:
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=seconds)
    await desk.usage.close()
    [[use]] = desk.book.batches
    assert use.latency_buckets == tuple(int(n == bucket) for n in range(len(LATENCY_BOUNDS_MS) + 1))


@pytest.mark.parametrize(
    ("outcome", "tier", "cost", "saved"),
    [
        (Outcome.HIT, "storage", 0, 6_000),
        (Outcome.STALE, "storage", 0, 6_000),
        (Outcome.COALESCED, "provider", 0, 6_000),
        (Outcome.GENERATED, "provider", 6_000, 0),
        (Outcome.FAILED, "none", 0, 0),
    ],
)
async def test_what_was_paid_and_what_was_saved(desk: Desk, outcome: Outcome, tier: str, cost: int, saved: int) -> None:
    for _ in range(2):
        desk.usage.count(want(), outcome, size_bytes=1, seconds=0)
    await desk.usage.close()
    [[use]] = desk.book.batches
    assert (use.tier, use.cost_micro_usd, use.saved_micro_usd) == (tier, cost, saved)


def test_every_outcome_has_a_tier() -> None:
    assert set(TIERS) == set(Outcome)


async def test_unknown_price_costs_nothing_that_is_known_and_saves_what_was_promised(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(recipe: Mapping[str, CanonicalValue]) -> int | None:
        return None

    monkeypatch.setattr(desk.provider, "price_micro_usd", unknown)
    desk.usage.count(want(), Outcome.GENERATED, size_bytes=1, seconds=0)
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.usage.close()
    assert {(use.cost_micro_usd, use.saved_micro_usd) for use in desk.book.batches[0]} == {(0, 0), (0, 20_000)}


def test_pictures_without_a_price_are_counted_by_model() -> None:
    def row(model: str, outcome: Outcome, requests: int) -> dict[str, object]:
        return {"provider": "openai", "model": model, "outcome": outcome.value, "requests": requests}

    generated, hit = Outcome.GENERATED, Outcome.HIT
    rows = [row("gpt-image-9", generated, 2), row("gpt-image-9", generated, 3), row("gpt-image-9", hit, 50)]
    assert unpriced([*rows, row("gpt-image-2", generated, 7)]) == [("openai", "gpt-image-9", 5)]


async def test_ten_thousand_hits_cost_one_flush_after_two_seconds(desk: Desk) -> None:
    for _ in range(10_000):
        desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS - 0.01)
    assert not desk.book.batches
    await desk.clock.advance(0.02)
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[10_000]]
    await desk.clock.advance(60)
    assert len(desk.book.batches) == 1


async def test_what_comes_later_is_flushed_by_a_timer_of_its_own(desk: Desk) -> None:
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[1], [2]]


async def test_batch_the_ledger_refuses_is_lost_and_said_so_without_prompts(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    private = want("a very private wish")
    for _ in range(7):
        desk.usage.count(private, Outcome.HIT, size_bytes=1, seconds=0)
    desk.book.failure = LedgerUnavailable("a very private answer")
    with caplog.at_level(logging.DEBUG):
        await desk.clock.advance(FLUSH_SECONDS)
    assert caplog.messages == ["usage of 7 requests lost: ledger_unavailable"]
    assert "private" not in caplog.text
    desk.book.failure = None
    await desk.clock.advance(60)
    await desk.usage.close()
    # Whether it was taken before the refusal is unknown, so it is never sent again.
    assert len(desk.book.batches) == 1


async def test_counting_goes_on_while_a_flush_is_under_way_and_nothing_is_counted_twice(desk: Desk) -> None:
    desk.book.gate = asyncio.Event()
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    desk.book.gate.set()
    await desk.clock.settle()
    await desk.usage.close()
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[1], [1]]


async def test_close_flushes_what_is_left_without_waiting_for_the_timer(desk: Desk) -> None:
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.usage.close()
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[1]]
    await desk.clock.advance(60)
    assert len(desk.book.batches) == 1


async def test_close_waits_for_the_flush_that_is_under_way(desk: Desk) -> None:
    desk.book.gate = asyncio.Event()
    desk.usage.count(want(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    closing = asyncio.create_task(desk.usage.close())
    await desk.clock.settle()
    # Whoever closes the ledger next would cut the batch off.
    assert not closing.done()
    desk.book.gate.set()
    await closing
    assert len(desk.book.batches) == 1


async def test_close_without_counts_asks_the_ledger_nothing(desk: Desk) -> None:
    await desk.usage.close()
    await desk.usage.flush()
    assert not desk.book.batches
