"""Get or generate, scripted: every interleaving is made to happen."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest

from copperplate.errors import (
    GenerationFailed,
    LedgerUnavailable,
    NotGenerated,
    ProviderFailed,
    StillGenerating,
    StoreUnavailable,
    TooManyWaiters,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.lookup import LOOK_ONLY
from copperplate.generation.timings import Timings
from copperplate.model import (
    CleanPicture,
    InputPicture,
    Job,
    OriginalUpload,
    Outcome,
    PictureFormat,
    ProviderResult,
    Size,
)
from copperplate.recipes.objects import sha256_hex
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request

WEBP, PNG = (picture_request(picture_format=each) for each in (PictureFormat.WEBP, PictureFormat.PNG))


@pytest.fixture
def harness() -> CoordinatorHarness:
    return CoordinatorHarness()


async def test_first_request_generates_and_the_second_hits(harness: CoordinatorHarness) -> None:
    process = harness.process()
    first = await process.find(picture_request(), GENERATE)
    second = await process.find(picture_request(), GENERATE)
    assert (first.outcome, second.outcome) == (Outcome.GENERATED, Outcome.HIT)
    assert first.entry == second.entry
    assert await harness.store.get(first.entry.path) == first.body == b"picture 1 as jpg"
    assert harness.provider.submits == 1


async def test_five_hundred_requests_at_once_cost_one_generation(harness: CoordinatorHarness) -> None:
    process = harness.process()
    found = await asyncio.gather(*(process.find(picture_request(), GENERATE) for _ in range(500)))
    assert Counter(each.outcome for each in found) == {Outcome.GENERATED: 1, Outcome.COALESCED: 499}
    assert len({each.entry for each in found}) == 1
    assert harness.provider.submits == 1


async def test_other_formats_asked_meanwhile_get_what_is_stored_beside_or_the_original_at_hand(
    harness: CoordinatorHarness,
) -> None:
    process = harness.process()
    jpg, webp, png = await asyncio.gather(*(process.find(each, GENERATE) for each in (picture_request(), WEBP, PNG)))
    assert (jpg.outcome, jpg.entry.format, jpg.body) == (Outcome.GENERATED, "jpg", b"picture 1 as jpg")
    assert (webp.outcome, webp.entry.format, webp.body) == (Outcome.COALESCED, "webp", b"picture 1 as webp")
    assert (png.outcome, png.entry.is_original, png.body) == (Outcome.COALESCED, True, b"picture 1")
    for asked, found in ((WEBP, webp), (PNG, png)):
        assert await process.find(asked, GENERATE) == replace(found, outcome=Outcome.HIT, body=None)
    assert harness.provider.submits == 1


async def test_follower_in_another_process_gets_the_leaders_picture(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 12
    leading = await harness.begin(harness.process(), picture_request())
    following = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(12)
    assert (await leading).outcome is Outcome.GENERATED
    assert (await following).outcome is Outcome.COALESCED
    assert (await leading).entry == (await following).entry
    assert harness.provider.submits == 1


async def test_thousand_followers_of_one_process_read_the_ledger_at_most_fifteen_times(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.provider.seconds = 12
    reads = 0
    peek = harness.ledger.peek

    async def counted(generation_key: str, rendition_key: str) -> object:
        nonlocal reads
        reads += 1
        return await peek(generation_key, rendition_key)

    monkeypatch.setattr(harness.ledger, "peek", counted)
    await harness.begin(harness.process(), picture_request())
    process = harness.process()
    followers = [asyncio.create_task(process.find(picture_request(), GENERATE)) for _ in range(1_000)]
    await harness.clock.advance(12)
    await asyncio.gather(*followers)
    assert 0 < reads <= 15


async def test_poller_answers_what_it_saw_and_asks_for_no_lease_after_it(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.provider.seconds = 12
    await harness.begin(harness.process(), picture_request())
    acquires = 0
    acquire = harness.ledger.acquire

    async def counted(*arguments: Any, **named: Any) -> object:
        nonlocal acquires
        acquires += 1
        return await acquire(*arguments, **named)

    monkeypatch.setattr(harness.ledger, "acquire", counted)
    following = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(12)
    assert (await following).outcome is Outcome.COALESCED
    assert acquires == 1


async def test_caller_that_goes_away_does_not_stop_the_generation(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 5
    process = harness.process()
    leaving, staying = await harness.begin(process, picture_request()), await harness.begin(process, picture_request())
    leaving.cancel()
    await harness.clock.advance(5)
    assert (await staying).body == b"picture 1 as jpg"


async def test_generation_nobody_waits_for_any_more_is_finished_and_kept(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 5
    process = harness.process()
    (await harness.begin(process, picture_request())).cancel()
    await harness.clock.advance(5)
    assert (await process.find(picture_request(), GENERATE)).outcome is Outcome.HIT
    assert harness.provider.submits == 1


async def test_wait_that_is_over_answers_still_generating_and_the_generation_goes_on(
    harness: CoordinatorHarness,
) -> None:
    harness.provider.seconds = 60
    process = harness.process(timings=Timings(wait=timedelta(0)))
    with pytest.raises(StillGenerating):
        await process.find(picture_request(), GENERATE)
    await harness.clock.advance(60)
    assert (await harness.process().find(picture_request(), GENERATE)).outcome is Outcome.HIT
    assert harness.provider.submits == 1


async def test_waiters_beyond_the_limit_are_turned_away(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 1
    process = harness.process(max_waiters=2)
    waiting = [await harness.begin(process, picture_request()) for _ in range(2)]
    with pytest.raises(TooManyWaiters):
        await process.find(picture_request(), GENERATE)
    await harness.clock.advance(1)
    await asyncio.gather(*waiting)


async def test_looking_only_spends_nothing(harness: CoordinatorHarness) -> None:
    process = harness.process()
    with pytest.raises(NotGenerated):
        await process.find(picture_request(), LOOK_ONLY)
    assert harness.provider.submits == 0
    await process.find(picture_request(), GENERATE)
    assert (await process.find(picture_request(), LOOK_ONLY)).outcome is Outcome.HIT


# --- leaders that die or lose their lease --------------------------------------------------------


async def test_slow_leader_keeps_its_lease_by_heartbeats(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 100
    leading = await harness.begin(harness.process(), picture_request())
    following = await harness.begin(harness.process(timings=Timings(wait=timedelta(seconds=300))), picture_request())
    await harness.clock.advance(100)
    await asyncio.gather(leading, following)
    assert harness.provider.submits == 1


async def test_dead_leader_is_replaced_after_its_lease_and_its_job_is_collected() -> None:
    harness = CoordinatorHarness(has_jobs=True, collect_seconds=10)
    first = harness.process()
    doomed = await harness.begin(first, picture_request())
    following = await harness.begin(harness.process(), picture_request())
    await harness.kill(first)
    assert doomed.cancelled() or doomed.done()
    await harness.clock.advance(20 + 2.4 + 10)
    assert (await following).body == b"picture of job-1 as jpg"
    assert (harness.provider.submits, harness.provider.collects) == (1, 2)


async def test_leader_that_is_told_to_stop_hands_its_job_over_at_once() -> None:
    harness = CoordinatorHarness(has_jobs=True, collect_seconds=10)
    first = harness.process()
    stopped = await harness.begin(first, picture_request())
    await first.shut_down(within_seconds=0)
    assert stopped.cancelled() or stopped.done()
    following = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(10)
    assert (await following).body == b"picture of job-1 as jpg"
    assert (harness.provider.submits, harness.provider.collects) == (1, 2)


async def test_submit_whose_answer_was_lost_is_sent_once_more() -> None:
    harness = CoordinatorHarness(seconds=10)
    first = harness.process()
    await harness.begin(first, picture_request())
    await harness.kill(first)
    following = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(20 + 2.4 + 10)
    assert (await following).body == b"picture 2 as jpg"
    assert harness.provider.submits == 2


async def test_bytes_to_work_on_reach_every_submit_and_are_in_no_key_and_no_words(
    harness: CoordinatorHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.provider.failures = [ProviderFailed(FailureClass.AMBIGUOUS, "no answer")]
    clean = CleanPicture(
        body=b"a picture to process", format=PictureFormat.PNG, size=Size(width=2, height=2), source_format="png"
    )
    source = InputPicture(digest="0" * 64, size=clean.size, read=AsyncMock(return_value=clean), address=AsyncMock())
    asked = replace(picture_request(), inputs=(source,))
    found = await harness.process().find(asked, GENERATE)
    assert harness.provider.inputs == [asked.inputs, asked.inputs]
    assert found.entry.generation_key == picture_request().generation_key
    assert "to process" not in f"{asked!r} {caplog.text}"


async def test_third_submit_of_an_attempt_is_never_sent_where_money_is_at_stake() -> None:
    harness = CoordinatorHarness(seconds=10)
    for _ in range(2):
        process = harness.process()
        await harness.begin(process, picture_request())
        await harness.kill(process)
        await harness.clock.advance(21)
    with pytest.raises(GenerationFailed) as failed:
        await harness.process().find(picture_request(), GENERATE)
    assert failed.value.failure_class is FailureClass.AMBIGUOUS
    assert harness.provider.submits == 2


async def test_free_provider_is_asked_as_often_as_it_takes() -> None:
    harness = CoordinatorHarness(seconds=10, is_billable=False)
    for _ in range(5):
        process = harness.process()
        await harness.begin(process, picture_request())
        await harness.kill(process)
        await harness.clock.advance(21)
    following = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(10)
    assert (await following).body == b"picture 6 as jpg"


async def test_object_a_dead_leader_stored_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    first = harness.process()
    blocked = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        blocked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(harness.ledger, "complete", never)
    await harness.begin(first, picture_request())
    assert blocked.is_set()
    await harness.kill(first)
    monkeypatch.undo()
    await harness.clock.advance(21)
    assert (await harness.process().find(picture_request(), GENERATE)).body == b"picture 1"
    assert harness.provider.submits == 1


@pytest.mark.parametrize("stored", [None, b"half a pict"])
async def test_object_that_is_missing_or_altered_is_not_adopted_but_collected_again(stored: bytes | None) -> None:
    harness = CoordinatorHarness(has_jobs=True)
    leader = uuid4()
    ledger, key = harness.ledger, picture_request().generation_key
    lead = await ledger.acquire(picture_request(), leader=leader, lease_duration=timedelta(seconds=20))
    fence = lead.fence  # type: ignore[union-attr]
    await ledger.begin_submit(key, fence, submit_no=1, provider="scripted")
    await ledger.note_request(key, fence, Job(request_id="job-1"))
    digest = sha256_hex(b"picture of job-1")
    path = f"2026/01/{digest}.png"
    intent = OriginalUpload(path=path, digest=digest, size_bytes=16, format="png", width=64, height=64)
    await ledger.intend_upload(key, fence, intent, usage={})
    if stored is not None:
        await harness.store.put(path, stored, media_type="image/png")
    await harness.clock.advance(21)
    found = await harness.process().find(picture_request(), GENERATE)
    assert (found.body, found.entry.is_original) == (b"picture of job-1", True)
    assert found.entry.path != path
    assert (harness.provider.submits, harness.provider.collects) == (0, 1)


async def test_leader_whose_heartbeats_failed_gives_way_and_follows_its_successor(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.provider.seconds = 60

    async def refused(*_: object) -> bool:
        raise LedgerUnavailable("cut off")

    first = harness.process(timings=Timings(wait=timedelta(seconds=300)))
    monkeypatch.setattr(harness.ledger, "heartbeat", refused)
    zombie = await harness.begin(first, picture_request())
    await harness.clock.advance(21)
    monkeypatch.undo()
    successor = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(61)
    assert (await successor).body == b"picture 2 as jpg"
    assert (await zombie).outcome is Outcome.COALESCED
    assert (await zombie).entry == (await successor).entry


# --- failures ------------------------------------------------------------------------------------


async def test_failure_reaches_every_waiter_and_is_remembered(harness: CoordinatorHarness) -> None:
    harness.provider.failures = [ProviderFailed(FailureClass.MODERATED, "no")]
    process = harness.process()
    results = await asyncio.gather(
        *(process.find(picture_request(), GENERATE) for _ in range(20)), return_exceptions=True
    )
    assert all(isinstance(each, GenerationFailed) for each in results)
    with pytest.raises(GenerationFailed) as again:
        await process.find(WEBP, GENERATE)
    assert (again.value.http_status, again.value.code) == (422, "generation_failed")
    assert harness.provider.submits == 1


async def test_transient_failures_are_tried_again_three_times_a_day_at_growing_distances(
    harness: CoordinatorHarness,
) -> None:
    harness.provider.failures = [ProviderFailed(FailureClass.TRANSIENT, "5xx") for _ in range(3)]
    process = harness.process()
    rests = []
    for _ in range(3):
        with pytest.raises(GenerationFailed) as failed:
            await process.find(picture_request(), GENERATE)
        assert failed.value.retry_after_seconds is not None
        rests.append(failed.value.retry_after_seconds)
        await harness.clock.advance(failed.value.retry_after_seconds + 1)
    assert 2 <= rests[0] <= 8
    assert 5 <= rests[1] <= 15
    assert rests[2] == 86_400
    assert (await process.find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert harness.provider.submits == 4


async def test_wish_of_the_provider_is_honoured_within_bounds(harness: CoordinatorHarness) -> None:
    hint = timedelta(seconds=40)
    harness.provider.failures = [ProviderFailed(FailureClass.RATE_LIMITED, "429", billed=False, retry_after=hint)]
    with pytest.raises(GenerationFailed) as failed:
        await harness.process().find(picture_request(), GENERATE)
    assert failed.value.retry_after_seconds == 40
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 0


async def test_rubbish_is_never_kept(harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def rubbish(*_: object) -> ProviderResult:
        return ProviderResult(body=b"rubbish")

    monkeypatch.setattr(harness.provider, "submit", rubbish)
    with pytest.raises(GenerationFailed) as failed:
        await harness.process().find(picture_request(), GENERATE)
    assert failed.value.http_status == 502
    assert (await harness.ledger.kind_stats("image")).stored_bytes == 0


async def test_bug_in_a_provider_is_a_transient_failure_and_not_a_stuck_lease(harness: CoordinatorHarness) -> None:
    harness.provider.failures = [KeyError("queue_position")]
    with pytest.raises(GenerationFailed) as failed:
        await harness.process().find(picture_request(), GENERATE)
    assert failed.value.failure_class is FailureClass.TRANSIENT
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request(), GENERATE)
    assert harness.provider.submits == 1


async def test_failure_that_nobody_planned_is_counted_as_billed(harness: CoordinatorHarness) -> None:
    harness.provider.failures = [KeyError("queue_position")]
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request(), GENERATE)
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 1


async def test_misses_sweep_at_most_once_a_minute(harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[float] = []

    async def sweep(limit: int) -> None:
        swept.append(harness.clock.monotonic())

    monkeypatch.setattr(harness.ledger, "sweep", sweep)
    process = harness.process()
    for number, seconds in enumerate((0, 0, 59, 1, 59)):
        await harness.clock.advance(seconds)
        await process.find(picture_request(f"picture {number}"), GENERATE)
        await harness.clock.settle()
    assert swept == [0, 60]


async def test_store_that_fails_five_times_costs_no_second_generation(harness: CoordinatorHarness) -> None:
    harness.store.failing = 10  # of the original and of the rendition
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(30)
    assert (await task).outcome is Outcome.GENERATED
    assert harness.provider.submits == 1


async def test_store_that_stays_down_leaves_the_generation_to_a_later_caller() -> None:
    harness = CoordinatorHarness(has_jobs=True)
    harness.store.failing = 1_000
    process = harness.process()
    task = await harness.begin(process, picture_request())
    await harness.clock.advance(6.5)
    with pytest.raises(StoreUnavailable):
        await task
    await harness.kill(process)
    harness.store.failing = 0
    await harness.clock.advance(21)
    assert (await harness.process().find(picture_request(), GENERATE)).body == b"picture of job-1"
    assert harness.provider.submits == 1


async def test_ledger_that_does_not_answer_costs_nothing(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise LedgerUnavailable("down")

    monkeypatch.setattr(harness.ledger, "acquire", down)
    with pytest.raises(LedgerUnavailable):
        await harness.process().find(picture_request(), GENERATE)
    assert harness.provider.submits == 0


async def test_follower_sits_out_a_blip_of_the_ledger(
    harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.provider.seconds = 3
    peek = harness.ledger.peek
    blips = 2

    async def blinking(generation_key: str, rendition_key: str) -> object:
        nonlocal blips
        if blips:
            blips -= 1
            raise LedgerUnavailable("blip")
        return await peek(generation_key, rendition_key)

    monkeypatch.setattr(harness.ledger, "peek", blinking)
    await harness.begin(harness.process(), picture_request())
    following = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(5)
    assert (await following).outcome is Outcome.COALESCED


async def test_poller_ends_when_its_last_follower_has_gone(harness: CoordinatorHarness) -> None:
    harness.provider.seconds = 60
    await harness.begin(harness.process(), picture_request())
    process = harness.process()
    following = await harness.begin(process, picture_request())
    following.cancel()
    await harness.clock.advance(5)
    before = harness.clock.monotonic()
    await process.shut_down(within_seconds=0.5)
    assert harness.clock.monotonic() == before


async def test_picture_removed_while_its_rendition_was_asked_for_is_not_generated_by_a_look(
    harness: CoordinatorHarness,
) -> None:
    process = harness.process()
    await process.find(picture_request(), GENERATE)
    original = await process.find(PNG, GENERATE)
    await harness.ledger.report_missing(original.entry)
    with pytest.raises(NotGenerated):
        await process.find(picture_request(), LOOK_ONLY)


def test_default_timings_keep_the_promised_ratios() -> None:
    timings = Timings()
    assert timings.heartbeat * 4 <= timings.lease
    assert timings.margin < timings.lease - timings.heartbeat
    assert replace(timings, wait=timedelta(seconds=120)).wait == timedelta(seconds=120)


async def test_sweep_under_way_ends_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    swept: list[str] = []

    async def sweep(_: int) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            swept.append("cancelled")
        return 0

    monkeypatch.setattr(harness.ledger, "sweep", sweep)
    process = harness.process()
    await process.find(picture_request(), GENERATE)
    await harness.clock.settle()
    await process.shut_down(within_seconds=0)
    assert swept == ["cancelled"]
