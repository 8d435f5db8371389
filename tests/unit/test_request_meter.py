"""Counting: added up in the process, flushed once in two seconds, sent again until it is taken, never doubled."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import LedgerUnavailable
from copperplate.feed import Tier
from copperplate.model import LATENCY_BOUNDS_MS, Outcome, PictureFormat
from copperplate.serving.request_meter import AGAIN_SECONDS, BATCH_SUMS, FLUSH_SECONDS, SENT_FOR, RequestMeter, tier_of
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from copperplate.model import RequestCount

WEBP = picture_request(picture_format=PictureFormat.WEBP)


class RecordingLedger:
    """A ledger that only takes counts down, or refuses them, or keeps the caller waiting."""

    def __init__(self) -> None:
        self.batches: list[Sequence[RequestCount]] = []
        self.ids: list[UUID] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def record_usage(self, counts: Sequence[RequestCount], *, batch: UUID) -> bool:
        if self.gate is not None:
            await self.gate.wait()
        self.batches.append(counts)
        self.ids.append(batch)
        if self.failure is not None:
            raise self.failure
        return False


class Harness:
    def __init__(self) -> None:
        self.clock, self.ledger = FakeClock(), RecordingLedger()
        self.provider = ScriptedProvider(self.clock)
        self.meter = RequestMeter(ledger=self.ledger, providers={"image": self.provider}, clock=self.clock)  # type: ignore[arg-type]


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def test_requests_of_one_rendition_and_outcome_add_up(harness: Harness) -> None:
    for size in (10, 20, 30):
        harness.meter.count(picture_request(), Outcome.HIT, size_bytes=size, seconds=0.001)
    harness.meter.count(picture_request(), Outcome.FAILED, size_bytes=0, seconds=0.001)
    harness.meter.count(WEBP, Outcome.HIT, size_bytes=5, seconds=0.001)
    await harness.meter.close()
    [batch] = harness.ledger.batches
    assert [(row.rendition_key, row.outcome, row.count, row.size_bytes) for row in batch] == [
        (picture_request().rendition_key, Outcome.HIT, 3, 60),
        (picture_request().rendition_key, Outcome.FAILED, 1, 0),
        (WEBP.rendition_key, Outcome.HIT, 1, 5),
    ]
    first = batch[0]
    assert (first.generation_key, first.kind, first.provider) == (picture_request().generation_key, "image", "scripted")
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
async def test_latency_falls_into_the_bucket_that_ends_at_its_bound(
    harness: Harness, seconds: float, bucket: int
) -> None:
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=seconds)
    await harness.meter.close()
    [[row]] = harness.ledger.batches
    assert row.latency_buckets == tuple(int(n == bucket) for n in range(len(LATENCY_BOUNDS_MS) + 1))


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_tier_and_hits_that_of_their_copy(outcome: Outcome) -> None:
    is_hit = outcome in (Outcome.HIT, Outcome.STALE)
    assert (tier_of(outcome, None) is Tier.STORAGE) is is_hit
    assert (tier_of(outcome, Tier.DISK) is Tier.DISK) is is_hit


async def test_uses_of_one_picture_are_counted_by_tier(harness: Harness) -> None:
    for tier in (Tier.MEMORY, None, Tier.MEMORY):
        harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0, tier=tier)
    await harness.meter.close()
    [batch] = harness.ledger.batches
    assert sorted((row.tier, row.count) for row in batch) == [("memory", 2), ("storage", 1)]


async def test_ten_thousand_hits_cost_one_flush_after_two_seconds(harness: Harness) -> None:
    for _ in range(10_000):
        harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS - 0.01)
    assert not harness.ledger.batches
    await harness.clock.advance(0.02)
    assert [[row.count for row in batch] for batch in harness.ledger.batches] == [[10_000]]
    await harness.clock.advance(60)
    assert len(harness.ledger.batches) == 1


async def test_what_comes_later_is_flushed_by_a_timer_of_its_own(harness: Harness) -> None:
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS)
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS)
    assert [[row.count for row in batch] for batch in harness.ledger.batches] == [[1], [2]]


async def test_batch_the_ledger_does_not_answer_is_sent_again_under_its_id(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    private = picture_request("a very private wish")
    for _ in range(7):
        harness.meter.count(private, Outcome.HIT, size_bytes=1, seconds=0)
    harness.ledger.failure = LedgerUnavailable("a very private answer")
    with caplog.at_level(logging.DEBUG):
        await harness.clock.advance(FLUSH_SECONDS)
        harness.meter.count(private, Outcome.FAILED, size_bytes=0, seconds=0)
        await harness.clock.advance(AGAIN_SECONDS)
    assert caplog.messages == ["usage of 7 requests is sent again until it is taken: ledger_unavailable"]
    assert "private" not in caplog.text
    harness.ledger.failure = None
    await harness.clock.advance(AGAIN_SECONDS)
    await harness.meter.close()
    # Unchanged, since it may have been taken: what was counted meanwhile goes into a batch of its own.
    counts = [[row.count for row in batch] for batch in harness.ledger.batches]
    assert counts == [*[[7]] * (len(counts) - 1), [1]]
    assert len(counts) >= 4
    assert len(set(harness.ledger.ids)) == 2
    assert len(set(harness.ledger.ids[:-1])) == 1


async def test_batch_is_sent_for_an_hour_and_then_lost_and_said_so(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    harness.ledger.failure = LedgerUnavailable("away")
    await harness.clock.advance(FLUSH_SECONDS)
    # A frozen process: the wall clock alone went on, and the ledger may have forgotten the batch.
    await harness.clock.advance(SENT_FOR.total_seconds())
    sent = len(harness.ledger.batches)
    await harness.clock.advance(2 * AGAIN_SECONDS)
    assert len(harness.ledger.batches) == sent
    assert caplog.messages[-1] == "usage of 1 requests lost: the database did not answer for an hour"


async def test_what_is_left_when_the_process_ends_is_said(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.ledger.failure = LedgerUnavailable("away")
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS)
    harness.meter.count(WEBP, Outcome.HIT, size_bytes=1, seconds=0)
    await harness.meter.close()
    assert caplog.messages[-1] == "usage of 2 requests lost: the process ends"


async def test_no_more_different_pictures_wait_for_the_ledger_than_fit(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("copperplate.serving.request_meter.MAX_SUMS", 2)
    for number in range(5):
        harness.meter.count(picture_request(str(number % 3)), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.meter.close()
    assert [[row.count for row in batch] for batch in harness.ledger.batches] == [[2, 2]]
    assert caplog.messages == ["usage of 1 requests lost: too many different pictures"]


async def test_outage_with_many_different_pictures_ends_in_batches_that_are_taken_in_time(harness: Harness) -> None:
    harness.ledger.failure = LedgerUnavailable("away")
    for number in range(2 * BATCH_SUMS + 500):
        harness.meter.count(picture_request(str(number)), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS + 5 * AGAIN_SECONDS)
    # The first alone is sent again and again.
    assert len(set(harness.ledger.ids)) == 1
    harness.ledger.failure = None
    await harness.clock.advance(AGAIN_SECONDS)
    taken = dict(zip(harness.ledger.ids, harness.ledger.batches, strict=True))
    assert [len(batch) for batch in taken.values()] == [BATCH_SUMS, BATCH_SUMS, 500]
    assert len({row.rendition_key for batch in taken.values() for row in batch}) == 2 * BATCH_SUMS + 500
    assert {row.count for batch in taken.values() for row in batch} == {1}
    await harness.meter.close()
    assert len(set(harness.ledger.ids)) == 3


async def test_counting_goes_on_while_a_flush_is_under_way_and_nothing_is_counted_twice(harness: Harness) -> None:
    harness.ledger.gate = asyncio.Event()
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS)
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS)
    harness.ledger.gate.set()
    await harness.clock.settle()
    await harness.meter.close()
    assert [[row.count for row in batch] for batch in harness.ledger.batches] == [[1], [1]]


async def test_close_flushes_what_is_left_without_waiting_for_the_timer(harness: Harness) -> None:
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.meter.close()
    assert [[row.count for row in batch] for batch in harness.ledger.batches] == [[1]]
    await harness.clock.advance(60)
    assert len(harness.ledger.batches) == 1


async def test_close_waits_for_the_flush_that_is_under_way(harness: Harness) -> None:
    harness.ledger.gate = asyncio.Event()
    harness.meter.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await harness.clock.advance(FLUSH_SECONDS)
    closing = asyncio.create_task(harness.meter.close())
    await harness.clock.settle()
    # Whoever closes the ledger next would cut the batch off.
    assert not closing.done()
    harness.ledger.gate.set()
    await closing
    assert len(harness.ledger.batches) == 1


async def test_close_without_counts_asks_the_ledger_nothing(harness: Harness) -> None:
    await harness.meter.close()
    await harness.meter.flush()
    assert not harness.ledger.batches
