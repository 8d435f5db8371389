"""Jobs that are noted and paid for: kept through every trouble, collected later, lost only when their time is over."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.errors import GenerationFailed, Misconfigured, ProviderFailed, StillGenerating, Uncollected
from copperplate.failure_classes import FailureClass
from copperplate.generation.retry_policy import BACKOFF_CAP, collect_again_after, submit_again_after
from copperplate.generation.timings import Timings
from copperplate.model import Outcome
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.generation.lookup import LookupResult

DAY = 86_400
KEY = picture_request().generation_key
# After 0, 0.5, 1.5, 3.5, 7.5 and 11.5 seconds.
LOOKS = 6


@pytest.fixture
def harness() -> CoordinatorHarness:
    return CoordinatorHarness(has_jobs=True)


def gone(times: int) -> list[Exception | bytes]:
    return [Uncollected("the result answers 404") for _ in range(times)]


@pytest.mark.parametrize(
    "trouble",
    [Uncollected("a host that is not allowed"), RuntimeError("nobody planned this"), Misconfigured("FAL_KEY")],
)
async def test_job_that_cannot_be_had_is_kept_and_collected_by_whoever_asks_later(
    harness: CoordinatorHarness, trouble: Exception
) -> None:
    harness.provider.collected = [trouble]
    with pytest.raises(StillGenerating) as waits:
        await harness.process().find(picture_request(), GENERATE)
    assert waits.value.retry_after_seconds == 5
    # Every process is told the same, and none of them asks the provider.
    for _ in range(3):
        with pytest.raises(StillGenerating):
            await harness.process().find(picture_request(), GENERATE)
    assert (harness.provider.submits, harness.provider.collects) == (1, 1)
    await harness.clock.advance(5.1)
    assert (await harness.process().find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert (harness.provider.submits, harness.provider.collects) == (1, 2)


async def test_job_that_failed_by_its_providers_word_is_dropped(harness: CoordinatorHarness) -> None:
    harness.provider.collected = [ProviderFailed(FailureClass.TRANSIENT, "the job failed", billed=False)]
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request(), GENERATE)
    await harness.clock.advance(10)
    await harness.process().find(picture_request(), GENERATE)
    assert harness.provider.submits == 2


async def test_result_that_is_gone_for_good_costs_one_new_submit_after_its_retention_and_not_before(
    harness: CoordinatorHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.provider.collected = gone(1_000)
    timings = Timings(job_retention=timedelta(days=1))
    processes = [harness.process(timings=timings) for _ in range(4)]
    for _ in range(DAY // 60):
        answers = await asyncio.gather(
            *(each.find(picture_request(), GENERATE) for each in processes), return_exceptions=True
        )
        assert all(isinstance(each, StillGenerating) for each in answers)
        assert harness.provider.submits == 1
        await harness.clock.advance(60)
    assert 50 < harness.provider.collects < 150, "asked now and then, and never hammered"
    assert "is lost" not in caplog.text
    await harness.clock.advance(60)
    lost_after = harness.provider.collects + 1
    harness.provider.collected = gone(1)
    assert (await processes[0].find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert (harness.provider.submits, harness.provider.collects) == (2, lost_after + 1)
    assert caplog.text.count("a paid job is lost") == 1
    # Both submits were paid, and nothing says otherwise.
    stats = await harness.ledger.generation_stats()
    assert stats.total_api_calls_made == 2


async def test_job_that_turns_up_after_its_retention_is_still_collected(harness: CoordinatorHarness) -> None:
    harness.provider.collected = gone(1)
    with pytest.raises(StillGenerating):
        await harness.process().find(picture_request(), GENERATE)
    await harness.clock.advance(2 * DAY)
    assert (await harness.process().find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert harness.provider.submits == 1


async def test_job_seems_no_older_because_the_acquire_that_told_of_it_took_long(harness: CoordinatorHarness) -> None:
    timings = Timings(job_retention=timedelta(seconds=60))
    harness.provider.collected = gone(1_000)
    with pytest.raises(StillGenerating):
        await harness.process(timings=timings).find(picture_request(), GENERATE)
    await harness.clock.advance(10)
    acquire = harness.ledger.acquire

    async def slow(*arguments: Any, **named: Any) -> Any:
        await harness.clock.sleep(15)
        return await acquire(*arguments, **named)

    harness.ledger.acquire = slow  # type: ignore[method-assign]
    timings = Timings(job_retention=timedelta(seconds=39))
    finding = asyncio.create_task(harness.process(timings=timings).find(picture_request(), GENERATE))
    await harness.clock.advance(20)
    assert finding.done(), "it was taken for lost, and asked for again"
    with pytest.raises(StillGenerating):
        await finding
    assert harness.provider.submits == 1


async def test_second_loss_in_a_row_rests_for_a_day(harness: CoordinatorHarness) -> None:
    harness.provider.collected = gone(1_000)
    timings = Timings(job_retention=timedelta(seconds=60))
    refused = None
    for _ in range(600):
        try:
            await harness.process(timings=timings).find(picture_request(), GENERATE)
        except StillGenerating:
            await harness.clock.advance(5)
        except GenerationFailed as failed:
            refused = failed
            break
    assert refused is not None
    assert refused.failure_class is FailureClass.LOST
    assert refused.retry_after_seconds == DAY
    assert harness.provider.submits == 2


async def test_picture_cut_short_on_its_way_is_fetched_again_before_it_is_judged(harness: CoordinatorHarness) -> None:
    harness.provider.collected = [b"rubbish 1", b"rubbish 2"]
    finding = asyncio.create_task(harness.process().find(picture_request(), GENERATE))
    await harness.clock.advance(2)
    assert (await finding).outcome is Outcome.GENERATED
    assert (harness.provider.submits, harness.provider.collects) == (1, 3)


async def test_picture_that_differs_each_time_is_left_to_a_later_collector(harness: CoordinatorHarness) -> None:
    harness.provider.collected = [f"{what} {number}".encode() for number in range(4) for what in ("rubbish", "wrong")]
    finding = asyncio.create_task(harness.process().find(picture_request(), GENERATE))
    await harness.clock.advance(16)
    with pytest.raises(StillGenerating):
        await finding
    assert (harness.provider.submits, harness.provider.collects) == (1, LOOKS)


@pytest.mark.parametrize("first", [LOOKS - 1, 3 * LOOKS])
async def test_equal_bytes_that_are_no_picture_are_looked_at_again_and_left_to_a_later_collector(
    first: int, harness: CoordinatorHarness
) -> None:
    """A placeholder of a CDN is the same whole bytes each time."""
    harness.provider.collected = [b"rubbish"] * first
    finding = asyncio.create_task(ask_until_served(harness))
    await harness.clock.advance(600)
    assert (await finding).outcome is Outcome.GENERATED
    assert (harness.provider.submits, harness.provider.collects) == (1, first + 1)


async def ask_until_served(harness: CoordinatorHarness) -> LookupResult:
    while True:
        with contextlib.suppress(StillGenerating):
            return await harness.process().find(picture_request(), GENERATE)
        await harness.clock.sleep(1)


async def test_whole_picture_that_is_not_the_one_asked_for_is_bad_output_after_the_looks(
    harness: CoordinatorHarness,
) -> None:
    harness.provider.usage = {"micro_units": 1_000_000}
    harness.provider.collected = [b"wrong"] * LOOKS
    finding = asyncio.create_task(harness.process().find(picture_request(), GENERATE))
    await harness.clock.advance(11)
    assert not finding.done(), "a placeholder may be a whole picture, too"
    await harness.clock.advance(5)
    with pytest.raises(GenerationFailed) as failed:
        await finding
    assert failed.value.failure_class is FailureClass.BAD_OUTPUT
    assert harness.provider.collects == LOOKS
    assert harness.ledger._generations[KEY].usage == {"micro_units": 1_000_000}


async def test_log_says_what_is_kept_and_names_no_prompt(
    harness: CoordinatorHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.provider.collected = gone(1)
    with pytest.raises(StillGenerating):
        await harness.process().find(picture_request("a secret wish"), GENERATE)
    assert "a paid job cannot be collected yet, and is kept: provider=scripted" in caplog.text
    assert "secret" not in caplog.text


# --- pauses --------------------------------------------------------------------------------------


def test_pauses_between_collections_grow_with_the_age_of_the_job() -> None:
    age, number, retention = timedelta(0), 0, timedelta(days=1)
    while age < retention:
        rest = collect_again_after(age, first=timedelta(seconds=5), retention=retention)
        assert timedelta(seconds=5) <= rest <= BACKOFF_CAP
        age, number = age + rest, number + 1
    assert number < 120
    assert age - retention <= timedelta(seconds=5), "its end is not slept through"


@pytest.mark.parametrize(("attempt", "days"), [(1, 0), (2, 1), (3, 1)])
def test_lost_job_is_submitted_anew_once(attempt: int, days: int) -> None:
    assert submit_again_after(attempt) == timedelta(days=days)
