"""Counting: added up in the process, flushed once in two seconds, sent again until it is taken, never doubled."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.errors import LedgerUnavailable
from copperplate.model import LATENCY_BOUNDS_MS, Outcome, PictureFormat
from copperplate.serving.request_meter import AGAIN_SECONDS, BATCH_SUMS, FLUSH_SECONDS, SENT_FOR, TIERS, RequestMeter
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from copperplate.model import RequestCount

WEBP = picture_request(picture_format=PictureFormat.WEBP)


class Book:
    """A ledger that only takes counts down, or refuses them, or keeps the caller waiting."""

    def __init__(self) -> None:
        self.batches: list[Sequence[RequestCount]] = []
        self.ids: list[UUID] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def record_usage(self, counts: Sequence[RequestCount], *, batch: UUID) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.batches.append(counts)
        self.ids.append(batch)
        if self.failure is not None:
            raise self.failure


class Desk:
    def __init__(self) -> None:
        self.clock, self.book = FakeClock(), Book()
        self.provider = ScriptedProvider(self.clock)
        self.usage = RequestMeter(ledger=self.book, providers={"image": self.provider}, clock=self.clock)  # type: ignore[arg-type]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_requests_of_one_rendition_and_outcome_add_up(desk: Desk) -> None:
    for size in (10, 20, 30):
        desk.usage.count(picture_request(), Outcome.HIT, size_bytes=size, seconds=0.001)
    desk.usage.count(picture_request(), Outcome.FAILED, size_bytes=0, seconds=0.001)
    desk.usage.count(WEBP, Outcome.HIT, size_bytes=5, seconds=0.001)
    await desk.usage.close()
    [batch] = desk.book.batches
    assert [(use.rendition_key, use.outcome, use.count, use.size_bytes) for use in batch] == [
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
async def test_latency_falls_into_the_bucket_that_ends_at_its_bound(desk: Desk, seconds: float, bucket: int) -> None:
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=seconds)
    await desk.usage.close()
    [[use]] = desk.book.batches
    assert use.latency_buckets == tuple(int(n == bucket) for n in range(len(LATENCY_BOUNDS_MS) + 1))


def test_every_outcome_has_a_tier() -> None:
    assert set(TIERS) == set(Outcome)


async def test_ten_thousand_hits_cost_one_flush_after_two_seconds(desk: Desk) -> None:
    for _ in range(10_000):
        desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS - 0.01)
    assert not desk.book.batches
    await desk.clock.advance(0.02)
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[10_000]]
    await desk.clock.advance(60)
    assert len(desk.book.batches) == 1


async def test_what_comes_later_is_flushed_by_a_timer_of_its_own(desk: Desk) -> None:
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[1], [2]]


async def test_batch_the_ledger_does_not_answer_is_sent_again_under_its_id(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    private = picture_request("a very private wish")
    for _ in range(7):
        desk.usage.count(private, Outcome.HIT, size_bytes=1, seconds=0)
    desk.book.failure = LedgerUnavailable("a very private answer")
    with caplog.at_level(logging.DEBUG):
        await desk.clock.advance(FLUSH_SECONDS)
        desk.usage.count(private, Outcome.FAILED, size_bytes=0, seconds=0)
        await desk.clock.advance(AGAIN_SECONDS)
    assert caplog.messages == ["usage of 7 requests is sent again until it is taken: ledger_unavailable"]
    assert "private" not in caplog.text
    desk.book.failure = None
    await desk.clock.advance(AGAIN_SECONDS)
    await desk.usage.close()
    # Unchanged, since it may have been taken: what was counted meanwhile goes into a batch of its own.
    counts = [[use.count for use in batch] for batch in desk.book.batches]
    assert counts == [*[[7]] * (len(counts) - 1), [1]]
    assert len(counts) >= 4
    assert len(set(desk.book.ids)) == 2
    assert len(set(desk.book.ids[:-1])) == 1


async def test_batch_is_sent_for_an_hour_and_then_lost_and_said_so(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    desk.book.failure = LedgerUnavailable("away")
    await desk.clock.advance(FLUSH_SECONDS)
    # A frozen process: the wall clock alone went on, and the ledger may have forgotten the batch.
    await desk.clock.advance(SENT_FOR.total_seconds())
    sent = len(desk.book.batches)
    await desk.clock.advance(2 * AGAIN_SECONDS)
    assert len(desk.book.batches) == sent
    assert caplog.messages[-1] == "usage of 1 requests lost: the database did not answer for an hour"


async def test_what_is_left_when_the_process_ends_is_said(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.book.failure = LedgerUnavailable("away")
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    desk.usage.count(WEBP, Outcome.HIT, size_bytes=1, seconds=0)
    await desk.usage.close()
    assert caplog.messages[-1] == "usage of 2 requests lost: the process ends"


async def test_no_more_different_pictures_wait_for_the_ledger_than_fit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("copperplate.serving.request_meter.MAX_SUMS", 2)
    for number in range(5):
        desk.usage.count(picture_request(str(number % 3)), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.usage.close()
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[2, 2]]
    assert caplog.messages == ["usage of 1 requests lost: too many different pictures"]


async def test_outage_with_many_different_pictures_ends_in_batches_that_are_taken_in_time(desk: Desk) -> None:
    desk.book.failure = LedgerUnavailable("away")
    for number in range(2 * BATCH_SUMS + 500):
        desk.usage.count(picture_request(str(number)), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS + 5 * AGAIN_SECONDS)
    # The first alone is sent again and again.
    assert len(set(desk.book.ids)) == 1
    desk.book.failure = None
    await desk.clock.advance(AGAIN_SECONDS)
    taken = dict(zip(desk.book.ids, desk.book.batches, strict=True))
    assert [len(batch) for batch in taken.values()] == [BATCH_SUMS, BATCH_SUMS, 500]
    assert len({use.rendition_key for batch in taken.values() for use in batch}) == 2 * BATCH_SUMS + 500
    assert {use.count for batch in taken.values() for use in batch} == {1}
    await desk.usage.close()
    assert len(set(desk.book.ids)) == 3


async def test_counting_goes_on_while_a_flush_is_under_way_and_nothing_is_counted_twice(desk: Desk) -> None:
    desk.book.gate = asyncio.Event()
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.clock.advance(FLUSH_SECONDS)
    desk.book.gate.set()
    await desk.clock.settle()
    await desk.usage.close()
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[1], [1]]


async def test_close_flushes_what_is_left_without_waiting_for_the_timer(desk: Desk) -> None:
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
    await desk.usage.close()
    assert [[use.count for use in batch] for batch in desk.book.batches] == [[1]]
    await desk.clock.advance(60)
    assert len(desk.book.batches) == 1


async def test_close_waits_for_the_flush_that_is_under_way(desk: Desk) -> None:
    desk.book.gate = asyncio.Event()
    desk.usage.count(picture_request(), Outcome.HIT, size_bytes=1, seconds=0)
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
