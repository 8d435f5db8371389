"""What every ledger promises of a job that is paid for and not collected yet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead, Negative
from copperplate.model import Job, Phase
from tests.contract.ledger.harness import LEASE, acquire, failure, lead
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness

KEY = picture_request().generation_key
JOB = Job(request_id="r", urls={"status_url": "https://queue.example/r/status"})


async def note(harness: LedgerHarness, *, attempt: int = 1) -> Lead:
    """Lead, submit and note a job."""
    held = await lead(harness.ledger, picture_request())
    assert held.attempt == attempt
    assert await harness.ledger.begin_submit(KEY, held.fence, submit_no=1, provider="p", estimate_micro_usd=3_000)
    assert await harness.ledger.note_request(KEY, held.fence, JOB)
    return held


async def put_off(harness: LedgerHarness, held: Lead, *, rest: float = 60) -> None:
    assert await harness.ledger.fail(KEY, held.fence, failure(FailureClass.UNCOLLECTED, rest=rest))


class JobContract:
    """A noted job outlives its leader, and a collection that came to nothing."""

    async def test_job_that_is_put_off_is_left_alone_and_then_collected(self, harness: LedgerHarness) -> None:
        await put_off(harness, await note(harness))
        refused = await acquire(harness.ledger, picture_request())
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.UNCOLLECTED
        assert timedelta(seconds=30) < refused.retry_after <= timedelta(seconds=60)
        await harness.advance(61)
        again = await lead(harness.ledger, picture_request())
        assert (again.job, again.phase, again.attempt, again.submit_no) == (JOB, Phase.SUBMITTED, 1, 1)
        assert not await harness.ledger.begin_submit(KEY, again.fence, submit_no=2, provider="p")

    async def test_age_of_a_job_runs_from_its_note_and_a_repeat_does_not_renew_it(self, harness: LedgerHarness) -> None:
        held = await note(harness)
        await harness.advance(10)
        assert await harness.ledger.note_request(KEY, held.fence, JOB)
        await put_off(harness, held, rest=1)
        await harness.advance(50)
        again = await lead(harness.ledger, picture_request())
        assert timedelta(seconds=60) <= again.job_age < timedelta(minutes=5)
        await put_off(harness, again, rest=1)
        await harness.advance(86_400)
        assert (
            timedelta(days=1, seconds=60)
            <= (await lead(harness.ledger, picture_request())).job_age
            < timedelta(days=1, minutes=5)
        )

    async def test_job_that_is_put_off_is_no_failure_and_no_attempt(self, harness: LedgerHarness) -> None:
        held = await note(harness)
        for _ in range(5):
            await put_off(harness, held, rest=1)
            await harness.advance(2)
            held = await lead(harness.ledger, picture_request())
        assert held.attempt == 1
        stats = await harness.ledger.generation_stats()
        assert (stats.total_failed, stats.total_api_calls_made) == (0, 1)

    async def test_decoding_of_a_job_that_is_put_off_was_survived(self, harness: LedgerHarness) -> None:
        held = await note(harness)
        assert await harness.ledger.begin_decode(KEY, held.fence, decode_no=1)
        await put_off(harness, held, rest=1)
        await harness.advance(2)
        assert (await lead(harness.ledger, picture_request())).decode_no == 0

    async def test_what_was_about_to_be_stored_stays_known(self, harness: LedgerHarness) -> None:
        held = await note(harness)
        assert await harness.ledger.intend_upload(KEY, held.fence, upload("a"), usage={})
        await put_off(harness, held, rest=1)
        await harness.advance(2)
        assert (await lead(harness.ledger, picture_request())).intent == upload("a")

    async def test_job_that_is_lost_is_forgotten_and_its_submit_stays_paid(self, harness: LedgerHarness) -> None:
        held = await note(harness)
        assert await harness.ledger.fail(KEY, held.fence, failure(FailureClass.LOST, rest=0))
        again = await lead(harness.ledger, picture_request())
        assert (again.job, again.submit_no, again.attempt) == (None, 0, 2), again
        assert again.job_age == timedelta(0)
        assert await harness.ledger.begin_submit(KEY, again.fence, submit_no=1, provider="p", estimate_micro_usd=3_000)
        assert await harness.spent(KEY) == 6_000
        assert (await harness.ledger.generation_stats()).total_api_calls_made == 2

    async def test_cleanup_spares_a_job_for_as_long_as_it_may_be_collected(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        await harness.ledger.fail(KEY, held.fence, failure(rest=1))
        await harness.advance(80_000)
        await put_off(harness, await note(harness, attempt=2), rest=1)
        await harness.advance(80_000)
        await harness.ledger.cleanup_generations(100)
        assert (await lead(harness.ledger, picture_request())).job == JOB

    async def test_cleanup_takes_a_job_whose_time_is_over(self, harness: LedgerHarness) -> None:
        await put_off(harness, await note(harness), rest=1)
        await harness.advance(86_500)
        assert await harness.ledger.cleanup_generations(100) == 1

    async def test_open_breaker_refuses_who_would_submit_and_nobody_who_collects(self, harness: LedgerHarness) -> None:
        await put_off(harness, await note(harness), rest=1)
        hen = picture_request("a hen")
        held = await lead(harness.ledger, hen)
        assert await harness.ledger.begin_submit(hen.generation_key, held.fence, submit_no=1, provider="p")
        assert await harness.ledger.note_request(hen.generation_key, held.fence, Job(request_id="h"))
        # The hen's job failed: it is known, and of no use any more.
        assert await harness.ledger.fail(hen.generation_key, held.fence, failure(rest=1))
        for number in range(5):
            other = picture_request(f"fox {number}")
            held = await lead(harness.ledger, other)
            assert await harness.ledger.begin_submit(other.generation_key, held.fence, submit_no=1, provider="p")
            assert await harness.ledger.fail(other.generation_key, held.fence, failure(rest=1))
        await harness.advance(2)
        refused = await harness.ledger.acquire(hen, leader=uuid4(), lease_duration=LEASE, breakers=("p",))
        assert isinstance(refused, Negative)
        collects = await harness.ledger.acquire(
            picture_request(), leader=uuid4(), lease_duration=LEASE, breakers=("p",)
        )
        assert isinstance(collects, Lead)
        assert collects.job == JOB
