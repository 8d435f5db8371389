"""What every ledger promises. Subclasses give the fixture `desk`: a ledger whose time can be moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import pytest

from copperplate.model import (
    LATENCY_BOUNDS_MS,
    SCHEMA,
    AcquireResult,
    Condition,
    Entry,
    Failure,
    FailureClass,
    Hit,
    Job,
    Lead,
    Miss,
    Negative,
    Outcome,
    Phase,
    PictureFormat,
    PictureRequest,
    RequestCount,
    Wait,
)
from copperplate.ports.maintenance import CleanupCounts, Purged
from copperplate.recipes.image import original_key
from copperplate.schema_check import Schema
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from copperplate.ports import Ledger, Maintenance

LEASE = timedelta(seconds=20)
STORAGE = "storage:generated-images"
SERVICES = ("painter", STORAGE)
REST = timedelta(seconds=15)
PNG, WEBP = PictureFormat.PNG, PictureFormat.WEBP


class Desk(Protocol):
    """A ledger on the test bench."""

    ledger: Any  # every port of the ledger

    async def advance(self, seconds: float) -> None:
        """Move the ledger's clock."""

    async def usage(self, key: str) -> dict[str, int]:
        """What the provider reported to bill for a generation."""

    async def spent(self, key: str) -> int | None:
        """What a generation's submits cost, in millionths of a dollar."""

    async def reason(self, name: str) -> str:
        """What the row of a breaker says of why it is open."""


def failure(failure_class: FailureClass = FailureClass.TRANSIENT, *, rest: float = 60, billed: bool = True) -> Failure:
    return Failure(failure_class=failure_class, message="it broke", retry_after=timedelta(seconds=rest), billed=billed)


async def acquire(ledger: Ledger, asked: PictureRequest, *, may_lead: bool = True) -> AcquireResult:
    return await ledger.acquire(asked, leader=uuid4(), lease_duration=LEASE, may_lead=may_lead)


async def lead(ledger: Ledger, asked: PictureRequest) -> Lead:
    result = await acquire(ledger, asked)
    assert isinstance(result, Lead), result
    return result


async def complete(ledger: Ledger, asked: PictureRequest, name: str = "original") -> Entry:
    """Lead and complete a generation."""
    held = await lead(ledger, asked)
    key, fence = asked.generation_key, held.fence
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="painter")
    assert await ledger.intend_upload(key, fence, upload(name), usage={})
    entry = await ledger.complete(key, fence, upload(name), url=None)
    assert entry is not None
    return entry


async def discarded(ledger: Maintenance) -> set[str]:
    """The paths whose grace is over."""
    return {path for _, _, path in await ledger.claim_discarded(100)}


async def record(ledger: Ledger, original: Entry, asked: PictureRequest, name: str) -> Entry | None:
    """Store a rendition as leaders do: written ahead, then recorded."""
    stored = rendition(asked, name)
    await ledger.intend_rendition(original, stored)
    return await ledger.record_rendition(original, asked.rendition_key, stored)


class LedgerContract:
    """Leases, fences and entries."""

    async def test_first_caller_leads_and_the_second_waits(self, desk: Desk) -> None:
        first = await acquire(desk.ledger, picture_request())
        second = await acquire(desk.ledger, picture_request())
        assert isinstance(first, Lead)
        assert (first.phase, first.attempt, first.submit_no) == (Phase.CLAIMED, 1, 0)
        assert isinstance(second, Wait)
        assert timedelta(0) < second.lease_left <= LEASE

    async def test_holder_that_asks_again_gets_the_same_lead_and_fence(self, desk: Desk) -> None:
        leader = uuid4()
        first = await desk.ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        again = await desk.ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        assert isinstance(first, Lead)
        assert again == first

    async def test_lease_of_a_holder_that_asks_again_runs_from_there(self, desk: Desk) -> None:
        leader = uuid4()
        await desk.ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        await desk.advance(15)
        assert isinstance(await desk.ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE), Lead)
        await desk.advance(15)
        assert isinstance(await acquire(desk.ledger, picture_request()), Wait)

    async def test_of_three_hundred_callers_at_once_exactly_one_leads(self, desk: Desk) -> None:
        verdicts = await asyncio.gather(*(acquire(desk.ledger, picture_request()) for _ in range(300)))
        assert Counter(type(result) for result in verdicts) == {Lead: 1, Wait: 299}

    async def test_different_pictures_have_different_leaders_and_rising_fences(self, desk: Desk) -> None:
        first = await lead(desk.ledger, picture_request("one"))
        second = await lead(desk.ledger, picture_request("two"))
        assert second.fence > first.fence

    async def test_caller_that_may_not_lead_learns_that_it_is_free(self, desk: Desk) -> None:
        assert await acquire(desk.ledger, picture_request(), may_lead=False) == Miss()
        assert await desk.ledger.peek(picture_request().generation_key, picture_request().rendition_key) == Miss()
        assert isinstance(await acquire(desk.ledger, picture_request()), Lead)

    async def test_dead_lease_is_taken_over_with_a_higher_fence_and_the_same_phase(self, desk: Desk) -> None:
        first = await lead(desk.ledger, picture_request())
        assert await desk.ledger.begin_submit(picture_request().generation_key, first.fence, submit_no=1, provider="p")
        await desk.advance(LEASE.total_seconds() + 1)
        assert await desk.ledger.peek(picture_request().generation_key, picture_request().rendition_key) == Miss()
        second = await lead(desk.ledger, picture_request())
        assert second.fence > first.fence
        assert (second.phase, second.submit_no, second.attempt) == (Phase.SUBMITTING, 1, 1)

    async def test_of_fifty_callers_at_a_dead_lease_exactly_one_takes_over(self, desk: Desk) -> None:
        await lead(desk.ledger, picture_request())
        await desk.advance(LEASE.total_seconds() + 1)
        verdicts = await asyncio.gather(*(acquire(desk.ledger, picture_request()) for _ in range(50)))
        assert Counter(type(result) for result in verdicts) == {Lead: 1, Wait: 49}

    async def test_heartbeat_keeps_the_lease(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request())
        await desk.advance(15)
        assert await desk.ledger.heartbeat(picture_request().generation_key, held.fence, LEASE)
        await desk.advance(15)
        assert isinstance(await acquire(desk.ledger, picture_request()), Wait)

    async def test_lease_that_is_given_up_is_free_at_once_and_its_fence_is_stale(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request())
        assert await desk.ledger.heartbeat(picture_request().generation_key, held.fence, timedelta(0))
        successor = await lead(desk.ledger, picture_request())
        assert successor.fence > held.fence
        assert not await desk.ledger.heartbeat(picture_request().generation_key, held.fence, LEASE)

    async def test_every_write_of_a_stale_fence_is_refused(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await desk.advance(LEASE.total_seconds() + 1)
        new = await lead(ledger, picture_request())
        assert not await ledger.heartbeat(key, old.fence, LEASE)
        assert not await ledger.begin_submit(key, old.fence, submit_no=2, provider="p")
        assert not await ledger.begin_decode(key, old.fence, decode_no=1)
        assert not await ledger.intend_upload(key, old.fence, upload("stale"), usage={})
        assert await ledger.complete(key, old.fence, upload("stale"), url=None) is None
        assert not await ledger.fail(key, old.fence, failure())
        assert await ledger.heartbeat(key, new.fence, LEASE)

    async def test_write_for_an_unknown_key_is_refused(self, desk: Desk) -> None:
        key = picture_request("nobody asked").generation_key
        assert not await desk.ledger.heartbeat(key, 1, LEASE)
        assert not await desk.ledger.note_request(key, 1, Job(request_id="r"))
        assert await desk.ledger.complete(key, 1, upload("x"), url=None) is None

    async def test_submit_that_is_announced_twice_counts_once(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert (await ledger.generation_stats()).total_api_calls_made == 1

    async def test_submit_numbers_cannot_be_skipped(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request())
        assert not await desk.ledger.begin_submit(
            picture_request().generation_key, held.fence, submit_no=2, provider="p"
        )

    async def test_successor_finds_the_noted_job(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        job = Job(request_id="r-1", urls={"status_url": "https://queue.example/r-1"})
        held = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await ledger.note_request(key, held.fence, job)
        await desk.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert (successor.phase, successor.job) == (Phase.SUBMITTED, job)

    async def test_late_job_of_a_stale_leader_is_kept_only_while_none_is_known(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await desk.advance(LEASE.total_seconds() + 1)
        await lead(ledger, picture_request())
        assert not await ledger.note_request(key, old.fence, Job(request_id="late"))
        assert not await ledger.note_request(key, old.fence, Job(request_id="later"))
        await desk.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert successor.job == Job(request_id="late")

    async def test_submit_is_refused_while_a_job_is_known_that_can_be_collected(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await desk.advance(LEASE.total_seconds() + 1)
        leader = uuid4()
        new = await ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        assert isinstance(new, Lead)
        await ledger.note_request(key, old.fence, Job(request_id="late"))
        assert not await ledger.begin_submit(key, new.fence, submit_no=2, provider="p")
        again = await ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        assert isinstance(again, Lead)
        assert again.job == Job(request_id="late")

    async def test_leader_that_died_decoding_leaves_the_number_and_a_repeat_counts_once(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        for number in (1, 2):
            held = await lead(ledger, picture_request())
            assert held.decode_no == number - 1
            assert number > 1 or await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
            assert not await ledger.begin_decode(key, held.fence, decode_no=number + 1)
            assert await ledger.begin_decode(key, held.fence, decode_no=number)
            assert await ledger.begin_decode(key, held.fence, decode_no=number)
            await desk.advance(LEASE.total_seconds() + 1)
            assert not await ledger.begin_decode(key, held.fence + 1, decode_no=number)
        assert (await lead(ledger, picture_request())).decode_no == 2

    async def test_decoding_that_ended_well_is_forgotten(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.begin_decode(key, held.fence, decode_no=1)
        await ledger.intend_upload(key, held.fence, upload("a"), usage={})
        await desk.advance(LEASE.total_seconds() + 1)
        assert (await lead(ledger, picture_request())).decode_no == 0

    async def test_successor_finds_the_intended_upload(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await ledger.intend_upload(key, held.fence, upload("a"), usage={})
        assert await ledger.intend_upload(key, held.fence, upload("a"), usage={})
        await desk.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert (successor.phase, successor.intent) == (Phase.UPLOADING, upload("a"))

    async def test_usage_is_written_ahead_with_the_upload_and_stays(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await desk.usage(key) == {}
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"text_in": 10, "out": 430})
        await desk.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert await ledger.complete(key, successor.fence, upload("a"), url=None)
        assert await desk.usage(key) == {"text_in": 10, "out": 430}

    async def test_usage_of_one_submit_counts_once_however_often_it_is_told(self, desk: Desk) -> None:
        ledger, key, usage = desk.ledger, picture_request().generation_key, {"micro_units": 1_500_000}
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        for name in ("a", "a", "b"):
            assert await ledger.intend_upload(key, held.fence, upload(name), usage=usage)
        await desk.advance(LEASE.total_seconds() + 1)
        # The successor finds no object, and collects the same job once more.
        successor = await lead(ledger, picture_request())
        assert await ledger.intend_upload(key, successor.fence, upload("c"), usage=usage)
        assert await desk.usage(key) == usage

    async def test_usage_of_every_submit_counts(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        for submit_no, usage in ((1, {"text_in": 10, "out": 430}), (2, {"text_in": 10, "out": 500, "image_in": 1})):
            assert await ledger.begin_submit(key, held.fence, submit_no=submit_no, provider="p")
            assert await ledger.intend_upload(key, held.fence, upload(str(submit_no)), usage=usage)
        await ledger.fail(key, held.fence, failure(rest=1))
        await desk.advance(2)
        again = await lead(ledger, picture_request())
        await ledger.begin_submit(key, again.fence, submit_no=1, provider="p")
        assert await ledger.intend_upload(key, again.fence, upload("3"), usage={"out": 70})
        assert await desk.usage(key) == {"text_in": 20, "out": 1_000, "image_in": 1}

    async def test_submit_that_is_announced_again_late_undoes_no_later_step(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"out": 430})
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"out": 430})
        assert await desk.usage(key) == {"out": 430}
        await desk.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert (successor.phase, successor.intent) == (Phase.UPLOADING, upload("a"))

    async def test_completed_generation_is_a_hit_on_its_original(self, desk: Desk) -> None:
        entry = await complete(desk.ledger, picture_request())
        assert entry.is_original
        assert entry.key == original_key(picture_request().generation_key)
        for asked in (picture_request(), picture_request(picture_format=PNG), picture_request(picture_format=WEBP)):
            assert await acquire(desk.ledger, asked) == Hit(entry=entry)
            assert await desk.ledger.peek(asked.generation_key, asked.rendition_key) == Hit(entry=entry)

    async def test_complete_that_is_said_twice_gives_the_same_entry(self, desk: Desk) -> None:
        entry = await complete(desk.ledger, picture_request())
        again = await desk.ledger.complete(picture_request().generation_key, 1, upload("original"), url=None)
        assert again == entry
        assert (await desk.ledger.generation_stats()).total_completed == 1

    async def test_recorded_rendition_is_the_hit_for_its_own_key_only(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        made = await record(desk.ledger, original, picture_request(), "jpg")
        assert made is not None
        assert not made.is_original
        assert await acquire(desk.ledger, picture_request()) == Hit(entry=made)
        assert await acquire(desk.ledger, picture_request(picture_format=WEBP)) == Hit(entry=original)

    async def test_second_recorder_of_a_rendition_gets_the_first_entry(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        first = await record(desk.ledger, original, picture_request(), "first")
        second = await record(desk.ledger, original, picture_request(), "second")
        assert second == first
        await desk.advance(3_700)
        assert await discarded(desk.ledger) == {upload("second", "jpg").path}

    async def test_rendition_that_is_recorded_twice_is_the_same_entry(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        first = await record(desk.ledger, original, picture_request(), "jpg")
        again = await desk.ledger.record_rendition(original, picture_request().rendition_key, upload("jpg", "jpg"))
        assert again == first
        await desk.advance(3_700)
        assert await discarded(desk.ledger) == set()

    async def test_rendition_that_was_intended_and_never_recorded_is_discarded(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        assert await desk.ledger.intend_rendition(original, upload("lost", "jpg"))
        await desk.advance(3_700)
        assert await discarded(desk.ledger) == {upload("lost", "jpg").path}

    async def test_rendition_whose_removal_has_begun_is_refused(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        stored = upload("late", "jpg")
        assert await desk.ledger.intend_rendition(original, stored)
        await desk.advance(3_700)
        [(identity, _, path)] = await desk.ledger.claim_discarded(10)
        assert path == stored.path
        assert await desk.ledger.record_rendition(original, picture_request().rendition_key, stored) is None
        assert await desk.ledger.forget_discarded([identity]) == 1
        assert await desk.ledger.record_rendition(original, picture_request().rendition_key, stored) is None
        # Whoever stored it after its removal finds it discarded anew.
        await desk.advance(3_700)
        assert await discarded(desk.ledger) == {stored.path}

    async def test_rendition_of_a_replaced_original_is_refused(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        assert await desk.ledger.report_missing(original)
        assert not await desk.ledger.intend_rendition(original, upload("jpg", "jpg"))
        assert await record(desk.ledger, original, picture_request(), "jpg") is None

    async def test_object_of_a_stale_leader_is_discarded_unless_adopted(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, old.fence, upload("adopted"), usage={})
        await desk.advance(LEASE.total_seconds() + 1)
        new = await lead(ledger, picture_request())
        # The zombie speaks first, then the successor completes with the object it adopted.
        assert await ledger.complete(key, old.fence, upload("adopted"), url=None) is None
        assert await ledger.complete(key, old.fence, upload("lost"), url=None) is None
        assert await ledger.complete(key, new.fence, upload("adopted"), url=None) is not None
        await desk.advance(3_700)
        assert await discarded(ledger) == {upload("lost").path}

    async def test_replaced_intent_is_discarded(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("first"), usage={})
        await ledger.intend_upload(key, held.fence, upload("second"), usage={})
        await ledger.complete(key, held.fence, upload("second"), url=None)
        await desk.advance(3_700)
        assert await discarded(ledger) == {upload("first").path}


class HintContract:
    """Ledgers that notify; a hint may come early, late or never, and over HTTP it never does."""

    async def test_completion_and_failure_are_hinted(self, desk: Desk) -> None:
        with (
            desk.ledger.hints(picture_request().generation_key) as hint,
            desk.ledger.hints(picture_request("other").generation_key) as other,
        ):
            await complete(desk.ledger, picture_request())
            async with asyncio.timeout(5):
                await hint.wait()
            held = await lead(desk.ledger, picture_request("other"))
            await desk.ledger.fail(picture_request("other").generation_key, held.fence, failure())
            async with asyncio.timeout(5):
                await other.wait()


class NegativeEntryContract:
    """Failures, and how long they are remembered."""

    async def test_failure_is_remembered_until_its_time_is_over(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request())
        assert await desk.ledger.fail(picture_request().generation_key, held.fence, failure(rest=60))
        negative = await acquire(desk.ledger, picture_request())
        assert isinstance(negative, Negative)
        assert negative.failure_class is FailureClass.TRANSIENT
        assert timedelta(seconds=50) < negative.retry_after <= timedelta(seconds=60)
        await desk.advance(61)
        again = await lead(desk.ledger, picture_request())
        assert (again.attempt, again.phase, again.submit_no) == (2, Phase.CLAIMED, 0)

    async def test_failure_that_is_said_twice_is_one(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request())
        assert await desk.ledger.fail(picture_request().generation_key, held.fence, failure())
        assert await desk.ledger.fail(picture_request().generation_key, held.fence, failure())
        assert (await desk.ledger.generation_stats()).total_failed == 1

    async def test_submit_that_is_known_to_be_free_is_not_counted(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request())
        await desk.ledger.begin_submit(picture_request().generation_key, held.fence, submit_no=1, provider="p")
        await desk.ledger.fail(picture_request().generation_key, held.fence, failure(billed=False))
        assert (await desk.ledger.generation_stats()).total_api_calls_made == 0

    @pytest.mark.parametrize(
        ("failure_class", "attempt"), [("rate_limited", 1), ("account", 1), ("transient", 2), ("moderated", 2)]
    )
    async def test_limited_rate_and_our_account_cost_no_attempt(
        self, desk: Desk, failure_class: str, attempt: int
    ) -> None:
        held = await lead(desk.ledger, picture_request())
        await desk.ledger.fail(
            picture_request().generation_key, held.fence, failure(FailureClass(failure_class), rest=1)
        )
        await desk.advance(2)
        assert (await lead(desk.ledger, picture_request())).attempt == attempt

    async def test_attempts_are_counted_anew_after_a_day(self, desk: Desk) -> None:
        for _ in range(2):
            held = await lead(desk.ledger, picture_request())
            await desk.ledger.fail(picture_request().generation_key, held.fence, failure(rest=1))
            await desk.advance(2)
        await desk.advance(86_400)
        assert (await lead(desk.ledger, picture_request())).attempt == 1

    async def test_new_attempt_begins_without_what_the_failed_one_left(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        await ledger.intend_upload(key, held.fence, upload("left"), usage={})
        await ledger.begin_decode(key, held.fence, decode_no=1)
        await ledger.fail(key, held.fence, failure(rest=1))
        await desk.advance(2)
        again = await lead(ledger, picture_request())
        assert (again.job, again.intent, again.decode_no) == (None, None, 0)
        await desk.advance(3_700)
        assert await discarded(ledger) == {upload("left").path}

    async def test_missing_original_reopens_the_generation_at_once_but_only_once_a_day(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request(), "first")
        await record(desk.ledger, original, picture_request(), "jpg")
        assert await desk.ledger.report_missing(original)
        again = await complete(desk.ledger, picture_request(), "second")
        assert await desk.ledger.report_missing(again)
        negative = await acquire(desk.ledger, picture_request())
        assert isinstance(negative, Negative)
        assert negative.failure_class is FailureClass.MISSING_OBJECT
        await desk.advance(3_700)
        assert await discarded(desk.ledger) == {upload("first").path, upload("second").path, upload("jpg", "jpg").path}

    async def test_missing_rendition_is_made_again_from_the_original(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        made = await record(desk.ledger, original, picture_request(), "jpg")
        assert await desk.ledger.report_missing(made)
        assert await acquire(desk.ledger, picture_request()) == Hit(entry=original)

    async def test_report_about_an_entry_that_changed_meanwhile_is_ignored(self, desk: Desk) -> None:
        original = await complete(desk.ledger, picture_request())
        assert await desk.ledger.report_missing(original)
        assert not await desk.ledger.report_missing(original)
        entry = await complete(desk.ledger, picture_request(), "second")
        assert not await desk.ledger.report_missing(original)
        assert await acquire(desk.ledger, picture_request()) == Hit(entry=entry)


class BreakerContract:
    """A provider that fails and fails is left alone for a while, by everybody."""

    async def test_five_failures_in_a_row_open_the_breaker_for_half_a_minute(self, desk: Desk) -> None:
        for number in range(5):
            await fail_at(desk, f"picture {number}")
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.TRANSIENT
        assert timedelta(seconds=20) < refused.retry_after <= timedelta(seconds=30)
        # Nothing was written: whoever asks by another provider leads, at its first attempt.
        other = await lead(desk.ledger, picture_request("another picture"))
        assert other.attempt == 1

    async def test_failures_that_speak_of_the_prompt_do_not_count(self, desk: Desk) -> None:
        for number in range(8):
            await fail_at(desk, f"picture {number}", FailureClass.MODERATED)
        assert isinstance(await ask_of(desk, "another picture"), Lead)

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_same_failure_of_five_pictures_opens_the_breaker(
        self, desk: Desk, failure_class: FailureClass
    ) -> None:
        for number in range(5):
            assert isinstance(await fail_at(desk, f"picture {number}", failure_class), Lead)
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        # That no prompt is accepted is no fault of the next one, and that it would be rubbish is not certain.
        told = FailureClass.ACCOUNT if failure_class is FailureClass.INVALID else FailureClass.TRANSIENT
        assert refused.failure_class is told

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_one_picture_that_cannot_be_had_opens_nothing_however_often_it_is_asked(
        self, desk: Desk, failure_class: FailureClass
    ) -> None:
        for number in range(4):
            await fail_at(desk, f"picture {number}", FailureClass.BAD_OUTPUT)
        for _ in range(3):
            await desk.advance(61)
            await fail_at(desk, "picture 0", failure_class)
        assert isinstance(await ask_of(desk, "another picture"), Lead)

    async def test_completed_picture_ends_the_row_of_failures(self, desk: Desk) -> None:
        for number in range(4):
            await fail_at(desk, f"picture {number}")
        await complete(desk.ledger, picture_request("made"))
        await fail_at(desk, "one more")
        assert isinstance(await ask_of(desk, "another picture"), Lead)

    async def test_stored_pictures_are_served_while_the_breaker_is_open(self, desk: Desk) -> None:
        entry = await complete(desk.ledger, picture_request("made"))
        for number in range(5):
            await fail_at(desk, f"picture {number}")
        assert await ask_of(desk, "made") == Hit(entry=entry)

    async def test_job_that_is_known_is_collected_while_the_breaker_is_open(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request("paid").generation_key
        held = await lead(ledger, picture_request("paid"))
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        await desk.advance(LEASE.total_seconds() + 1)
        for number in range(5):
            await fail_at(desk, f"picture {number}")
        resumed = await ask_of(desk, "paid")
        assert isinstance(resumed, Lead)
        assert resumed.job == Job(request_id="r")

    async def test_after_its_rest_one_caller_at_a_time_tries(self, desk: Desk) -> None:
        for number in range(5):
            await fail_at(desk, f"picture {number}")
        await desk.advance(31)
        asked = await asyncio.gather(*(ask_of(desk, f"other {number}") for number in range(10)))
        assert Counter(type(result) for result in asked) == {Lead: 1, Negative: 9}
        # The one that tries dies; its lease bounds how long the others wait for it.
        await desk.advance(LEASE.total_seconds() + 1)
        assert isinstance(await ask_of(desk, "the next"), Lead)

    async def test_try_that_fails_doubles_the_rest_up_to_two_minutes(self, desk: Desk) -> None:
        for number in range(5):
            await fail_at(desk, f"picture {number}")
        for number, seconds in enumerate((30, 60, 120, 120)):
            refused = await ask_of(desk, "another picture")
            assert isinstance(refused, Negative)
            assert seconds - 10 < refused.retry_after.total_seconds() <= seconds
            await desk.advance(seconds + 1)
            await fail_at(desk, f"try {number}")

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.AMBIGUOUS])
    async def test_refused_caller_is_told_no_answer_that_only_others_had(
        self, desk: Desk, failure_class: FailureClass
    ) -> None:
        for number in range(5):
            await fail_at(desk, f"picture {number}", failure_class)
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.TRANSIENT

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_try_that_fails_as_what_opened_the_breaker_rests_again(
        self, desk: Desk, failure_class: FailureClass
    ) -> None:
        for number in range(5):
            await fail_at(desk, f"picture {number}", failure_class)
        await desk.advance(31)
        await fail_at(desk, "tried", failure_class)
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        assert refused.retry_after > timedelta(seconds=30)

    async def test_try_that_succeeds_closes_the_breaker(self, desk: Desk) -> None:
        for number in range(5):
            await fail_at(desk, f"picture {number}")
        await desk.advance(31)
        tried = await ask_of(desk, "tried")
        assert isinstance(tried, Lead)
        await finish(desk.ledger, picture_request("tried"), tried)
        assert isinstance(await ask_of(desk, "one"), Lead)
        assert isinstance(await ask_of(desk, "two"), Lead)


class RefusalContract:
    """A service that refuses us, whatever it is asked, rests for seconds, for everybody, and is then tried by one."""

    @pytest.mark.parametrize(("name", "told"), [("painter", "account"), (STORAGE, "store")])
    async def test_refusal_lets_every_prompt_rest_and_tells_whose_it_is(self, desk: Desk, name: str, told: str) -> None:
        assert await desk.ledger.report_refusal(name, FailureClass(told), "no money", REST)
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass(told)
        assert timedelta(seconds=5) < refused.retry_after <= REST
        # Nothing was written, and whoever needs another service is not kept.
        assert (await lead(desk.ledger, picture_request("another picture"))).attempt == 1

    async def test_of_many_reports_one_begins_the_rest(self, desk: Desk) -> None:
        reports = (desk.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST) for _ in range(20))
        assert Counter(await asyncio.gather(*reports)) == {True: 1, False: 19}
        await desk.advance(16)
        assert await desk.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)

    async def test_refused_generation_is_free_again_when_the_rest_is_over_and_cost_nothing(self, desk: Desk) -> None:
        await refuse_at(desk, "picture")
        refused = await ask_of(desk, "picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.ACCOUNT
        await desk.advance(16)
        again = await ask_of(desk, "picture")
        assert isinstance(again, Lead)
        assert (again.attempt, again.submit_no) == (1, 0)
        assert (await desk.ledger.generation_stats()).total_api_calls_made == 0
        assert await desk.spent(picture_request("picture").generation_key) in (0, None)

    async def test_after_a_rest_one_caller_at_a_time_tries_each_service(self, desk: Desk) -> None:
        await desk.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await desk.ledger.report_refusal(STORAGE, FailureClass.STORE, "no bucket", REST)
        await desk.advance(16)
        asked = await asyncio.gather(*(ask_of(desk, f"other {number}") for number in range(10)))
        assert Counter(type(result) for result in asked) == {Lead: 1, Negative: 9}
        # Whoever needs one of them alone is no second try of it.
        alone = await desk.ledger.acquire(
            picture_request("alone"), leader=uuid4(), lease_duration=LEASE, services=(STORAGE,)
        )
        assert isinstance(alone, Negative)

    async def test_try_that_is_refused_begins_the_next_rest_and_no_longer_one(self, desk: Desk) -> None:
        for _ in range(4):
            assert await refuse_at(desk, "picture")
            refused = await ask_of(desk, "another picture")
            assert isinstance(refused, Negative)
            assert refused.retry_after <= REST
            await desk.advance(16)

    async def test_try_that_fails_for_its_prompt_lets_the_next_caller_try_both_services(self, desk: Desk) -> None:
        await desk.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await desk.ledger.report_refusal(STORAGE, FailureClass.STORE, "no bucket", REST)
        await desk.advance(16)
        await fail_at(desk, "tried", FailureClass.MODERATED)
        assert isinstance(await ask_of(desk, "the next"), Lead)

    @pytest.mark.parametrize("failure_class", [FailureClass.BAD_OUTPUT, FailureClass.INVALID])
    async def test_try_whose_prompt_may_be_at_fault_prolongs_no_rest_but_five_in_a_row_are_one(
        self, desk: Desk, failure_class: FailureClass
    ) -> None:
        await refuse_at(desk, "picture")
        await desk.advance(16)
        for number in range(5):
            await fail_at(desk, f"prompt {number}", failure_class)
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        assert refused.retry_after > timedelta(seconds=15)

    async def test_rest_for_another_failure_keeps_no_words_of_the_last(self, desk: Desk) -> None:
        await refuse_at(desk, "picture")
        assert await desk.reason("painter") == "no money"
        await desk.advance(16)
        await fail_at(desk, "tried")
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.TRANSIENT
        assert await desk.reason("painter") == ""

    async def test_refused_model_rests_and_the_providers_others_are_made(self, desk: Desk) -> None:
        model = f"painter/{picture_request('one').recipe['model']}"
        services = ("painter", model, STORAGE)
        assert await desk.ledger.report_refusal(model, FailureClass.ACCOUNT, "no such model", REST)

        async def ask(prompt: str, names: tuple[str, ...]) -> AcquireResult:
            result: AcquireResult = await desk.ledger.acquire(
                picture_request(prompt), leader=uuid4(), lease_duration=LEASE, services=names
            )
            return result

        assert isinstance(await ask("one", services), Negative)
        assert isinstance(await ask("of another model", ("painter", "painter/other", STORAGE)), Lead)
        await desk.advance(16)
        # The try frees all that it took, and a picture ends the rest of its model, too.
        tried = await ask("one", services)
        assert isinstance(tried, Lead)
        key = picture_request("one").generation_key
        assert await desk.ledger.begin_submit(key, tried.fence, submit_no=1, provider="painter")
        assert await desk.ledger.fail(key, tried.fence, failure(FailureClass.MODERATED))
        tried = await ask("two", services)
        assert isinstance(tried, Lead)
        await finish(desk.ledger, picture_request("two"), tried)
        assert isinstance(await ask("three", services), Lead)
        assert isinstance(await ask("four", services), Lead)

    async def test_picture_ends_the_rests_of_all_it_needed(self, desk: Desk) -> None:
        await desk.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await desk.ledger.report_refusal(STORAGE, FailureClass.STORE, "no bucket", REST)
        await desk.advance(16)
        tried = await ask_of(desk, "tried")
        assert isinstance(tried, Lead)
        await finish(desk.ledger, picture_request("tried"), tried)
        assert isinstance(await ask_of(desk, "one"), Lead)
        assert isinstance(await ask_of(desk, "two"), Lead)

    async def test_picture_asked_for_before_the_refusal_says_nothing_of_the_account(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request("asked before"))
        await desk.ledger.begin_submit(
            picture_request("asked before").generation_key, held.fence, submit_no=1, provider="painter"
        )
        await desk.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
        await finish(desk.ledger, picture_request("asked before"), held)
        assert isinstance(await ask_of(desk, "another picture"), Negative)

    async def test_reported_success_ends_the_rest_at_once(self, desk: Desk) -> None:
        await desk.ledger.report_refusal(STORAGE, FailureClass.STORE, "no bucket", REST)
        await desk.ledger.report_success(STORAGE)
        await desk.ledger.report_success(STORAGE)
        assert isinstance(await ask_of(desk, "another picture"), Lead)

    @pytest.mark.parametrize("left", ["job", "object"])
    async def test_what_is_paid_for_is_led_on_whatever_rests(self, desk: Desk, left: str) -> None:
        ledger, key = desk.ledger, picture_request("paid").generation_key
        held = await lead(ledger, picture_request("paid"))
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
        if left == "job":
            await ledger.note_request(key, held.fence, Job(request_id="r"))
        else:
            await ledger.intend_upload(key, held.fence, upload("paid"), usage={})
        await desk.advance(LEASE.total_seconds() + 1)
        for name, failure_class in (("painter", FailureClass.ACCOUNT), (STORAGE, FailureClass.STORE)):
            await ledger.report_refusal(name, failure_class, "no", REST)
        resumed = await ask_of(desk, "paid")
        assert isinstance(resumed, Lead)
        assert (resumed.job or resumed.intent) is not None

    async def test_late_failure_changes_neither_the_rest_nor_what_is_told(self, desk: Desk) -> None:
        late = await ask_of(desk, "late")
        assert isinstance(late, Lead)
        await refuse_at(desk, "picture")
        key = picture_request("late").generation_key
        await desk.ledger.begin_submit(key, late.fence, submit_no=1, provider="painter")
        await desk.ledger.fail(key, late.fence, failure())
        refused = await ask_of(desk, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.ACCOUNT
        assert refused.retry_after <= REST


async def refuse_at(desk: Desk, prompt: str) -> bool:
    """Ask the painter for a picture, which refuses us; whether that began a rest."""
    held = await ask_of(desk, prompt)
    assert isinstance(held, Lead), held
    key = picture_request(prompt).generation_key
    assert await desk.ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
    is_first: bool = await desk.ledger.report_refusal("painter", FailureClass.ACCOUNT, "no money", REST)
    account = failure(FailureClass.ACCOUNT, rest=REST.total_seconds(), billed=False)
    assert await desk.ledger.fail(key, held.fence, account)
    return is_first


async def finish(ledger: Ledger, asked: PictureRequest, held: Lead) -> None:
    """Submit what is led, store it and complete it."""
    key = asked.generation_key
    await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
    await ledger.intend_upload(key, held.fence, upload(key), usage={})
    assert await ledger.complete(key, held.fence, upload(key), url=None)


async def ask_of(desk: Desk, prompt: str) -> AcquireResult:
    result: AcquireResult = await desk.ledger.acquire(
        picture_request(prompt), leader=uuid4(), lease_duration=LEASE, services=SERVICES
    )
    return result


async def fail_at(desk: Desk, prompt: str, failure_class: FailureClass = FailureClass.TRANSIENT) -> Lead:
    """Ask the painter for a picture, in vain."""
    held = await ask_of(desk, prompt)
    assert isinstance(held, Lead), held
    key = picture_request(prompt).generation_key
    assert await desk.ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
    assert await desk.ledger.fail(key, held.fence, failure(failure_class))
    return held


class CareContract:
    """Counting and cleaning."""

    async def test_sweep_gives_up_on_leaders_that_died_long_ago_and_keeps_their_job(self, desk: Desk) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        await lead(ledger, picture_request("alive"))
        await desk.advance(700)
        alive = await acquire(ledger, picture_request("alive"))
        assert isinstance(alive, Lead)
        assert await ledger.sweep(10) == 1
        assert await ledger.sweep(10) == 0
        resumed = await lead(ledger, picture_request())
        assert (resumed.job, resumed.phase, resumed.attempt) == (Job(request_id="r"), Phase.SUBMITTED, 1)

    async def test_cleanup_removes_what_was_not_used_and_the_original_goes_last(self, desk: Desk) -> None:
        ledger = desk.ledger
        original = await complete(ledger, picture_request())
        await record(ledger, original, picture_request(), "jpg")
        await record(ledger, original, picture_request(picture_format=WEBP), "webp")
        await desk.advance(20 * 86_400)
        await ledger.record_usage([use(picture_request(), Outcome.HIT, 3)])
        await desk.advance(15 * 86_400)
        month = timedelta(days=30)
        assert (await ledger.cleanup_entries("image", 100, older_than=month)).pictures == 1
        assert isinstance(await acquire(ledger, picture_request()), Hit)
        await desk.advance(20 * 86_400)
        counts = await ledger.cleanup_entries("image", 100, older_than=month)
        assert (counts.pictures, counts.generations) == (1, 1)
        assert await acquire(ledger, picture_request(), may_lead=False) == Miss()
        stats = await ledger.kind_stats("image")
        assert (stats.pictures, stats.stored_bytes) == (0, 0)

    async def test_cleanup_keeps_failures_for_the_day_in_which_they_count(self, desk: Desk) -> None:
        held = await lead(desk.ledger, picture_request())
        await desk.ledger.fail(picture_request().generation_key, held.fence, failure(rest=60))
        await desk.advance(3_600)
        assert await desk.ledger.cleanup_generations(100) == 0
        await desk.advance(86_400)
        assert await desk.ledger.cleanup_generations(100) == 1

    async def test_generation_that_is_removed_leaves_what_it_was_about_to_store_to_be_discarded(
        self, desk: Desk
    ) -> None:
        ledger, key = desk.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("left"), usage={})
        await desk.advance(700)
        assert await ledger.sweep(10) == 1
        await desk.advance(90_000)
        assert await ledger.cleanup_generations(10) == 1
        await desk.advance(3_700)
        assert await discarded(ledger) == {upload("left").path}

    async def test_discarded_object_is_offered_after_its_grace_to_one_caller_until_forgotten(self, desk: Desk) -> None:
        ledger = desk.ledger
        original = await complete(ledger, picture_request())
        await ledger.report_missing(original)
        assert await ledger.claim_discarded(10) == []
        await desk.advance(3_700)
        [(identity, bucket, path)] = await ledger.claim_discarded(10)
        assert (bucket, path) == ("generated-images", original.path)
        assert await ledger.claim_discarded(10) == []
        await desk.advance(400)
        assert await ledger.claim_discarded(10) == [(identity, bucket, path)]
        assert await ledger.forget_discarded([identity]) == 1
        await desk.advance(400)
        assert await ledger.claim_discarded(10) == []

    async def test_what_a_cleanup_would_remove_is_counted_and_stays(self, desk: Desk) -> None:
        ledger = desk.ledger
        half = await complete(ledger, picture_request("half"), "half")
        await record(ledger, half, picture_request("half"), "half jpg")
        await record(ledger, half, picture_request("half", picture_format=WEBP), "half webp")
        whole = await complete(ledger, picture_request("whole"), "whole")
        await record(ledger, whole, picture_request("whole"), "whole jpg")
        await desk.advance(20 * 86_400)
        await ledger.record_usage([use(picture_request("half"), Outcome.HIT, 3)])
        await desk.advance(15 * 86_400)
        month = timedelta(days=30)
        counted = await ledger.count_old_entries("image", older_than=month)
        assert counted == CleanupCounts(pictures=2, generations=1, size_bytes=3_000, archived=0)
        assert isinstance(await acquire(ledger, picture_request("whole"), may_lead=False), Hit)
        assert await ledger.cleanup_entries("image", 100, older_than=month) == counted

    async def test_cleanup_step_by_step_comes_to_the_end_and_removes_the_same(self, desk: Desk) -> None:
        ledger, month = desk.ledger, timedelta(days=30)
        for name in map(str, range(7)):
            await record(
                ledger, await complete(ledger, picture_request(name), name), picture_request(name), f"{name} jpg"
            )
        await desk.advance(20 * 86_400)
        await ledger.record_usage([use(picture_request("3"), Outcome.HIT, 1)])
        await desk.advance(15 * 86_400)
        counted, sums, place = await ledger.count_old_entries("image", older_than=month), Counter[str](), ""
        for _ in range(20):
            counts = asdict(await ledger.cleanup_entries("image", 3, older_than=month, after=place))
            place = counts.pop("reached")
            sums.update(counts)
            if place is None:
                break
        assert place is None
        assert CleanupCounts(**sums) == counted
        assert isinstance(await acquire(ledger, picture_request("3"), may_lead=False), Hit)

    async def test_only_objects_that_nothing_names_are_discarded_by_an_audit(self, desk: Desk) -> None:
        ledger = desk.ledger
        kept = await complete(ledger, picture_request("kept"), "kept")
        held = await lead(ledger, picture_request("intended"))
        await ledger.begin_submit(picture_request("intended").generation_key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(picture_request("intended").generation_key, held.fence, upload("intended"), usage={})
        gone = await complete(ledger, picture_request("gone"), "gone")
        await ledger.report_missing(gone)
        paths = [kept.path, upload("intended").path, gone.path, upload("orphan").path]
        assert await ledger.audit_objects("generated-images", paths, "2026/01:4") == 1
        assert await ledger.audit_objects("generated-images", paths, "2026/01:4") == 0
        await desk.advance(3_700)
        assert await discarded(ledger) == {gone.path, upload("orphan").path}

    async def test_audit_is_one_callers_for_a_minute_and_goes_on_where_it_ended(self, desk: Desk) -> None:
        ledger, bucket = desk.ledger, "generated-images"
        claims = await asyncio.gather(*(ledger.claim_audit(bucket) for _ in range(20)))
        assert sorted(claims, key=str) == ["", *[None] * 19]
        assert await ledger.audit_objects(bucket, [], "2026/03:1000") == 0
        assert await ledger.claim_audit("memoji-images") == ""
        await desk.advance(61)
        assert await ledger.claim_audit(bucket) == "2026/03:1000"

    @pytest.mark.parametrize(
        "condition",
        [
            Condition(key=picture_request("wrong").generation_key),
            Condition(key=picture_request("wrong").rendition_key),
            Condition(prompt=" wrong "),
            Condition(key_prefix=picture_request("wrong").generation_key[:12]),
            Condition(prompt="wrong", model=picture_request("wrong").model),
            Condition(older_than=timedelta(days=1)),
        ],
        ids=["key", "rendition's key", "prompt", "prefix", "prompt and model", "age"],
    )
    async def test_purge_counts_first_and_then_forgets_what_is_meant_and_nothing_else(
        self, desk: Desk, condition: Condition
    ) -> None:
        ledger = desk.ledger
        wrong = await complete(ledger, picture_request("wrong"), "wrong")
        await record(ledger, wrong, picture_request("wrong"), "wrong jpg")
        await desk.advance(2 * 86_400)
        await complete(ledger, picture_request("right"), "right")
        counts = Purged(generations=1, images=1, size_bytes=2_000)
        assert await ledger.purge(condition, 10, is_dry_run=True) == counts
        assert isinstance(await acquire(ledger, picture_request("wrong"), may_lead=False), Hit)
        gone = await ledger.purge(condition, 10, is_dry_run=False)
        assert replace(gone, keys=(), objects=()) == counts
        assert list(gone.keys) == [picture_request("wrong").generation_key]
        assert await acquire(ledger, picture_request("wrong"), may_lead=False) == Miss()
        assert isinstance(await acquire(ledger, picture_request("right"), may_lead=False), Hit)
        assert (await ledger.purge(condition, 10, is_dry_run=False)).generations == 0
        await desk.advance(3_700)
        assert await discarded(ledger) == {upload("wrong").path, upload("wrong jpg", "jpg").path}

    async def test_purge_meets_every_condition_given(self, desk: Desk) -> None:
        await complete(desk.ledger, picture_request("kept"), "kept")
        condition = Condition(prompt="kept", model="another/model")
        assert (await desk.ledger.purge(condition, 10, is_dry_run=False)).generations == 0

    async def test_usage_adds_up(self, desk: Desk) -> None:
        ledger = desk.ledger
        original = await complete(ledger, picture_request())
        await record(ledger, original, picture_request(), "jpg")
        await ledger.record_usage(
            [use(picture_request(), Outcome.GENERATED, 1), use(picture_request(), Outcome.COALESCED, 9)]
        )
        await ledger.record_usage(
            [use(picture_request(), Outcome.HIT, 5), use(picture_request("failed"), Outcome.FAILED, 2)]
        )
        stats = await ledger.generation_stats()
        assert (stats.total_requests, stats.total_api_calls_made, stats.total_api_calls_saved) == (17, 1, 14)
        assert stats.efficiency_percent == 93.3
        cache = await ledger.kind_stats("image")
        assert (cache.pictures, cache.accesses) == (1, 15)

    async def test_totals_add_up_by_outcome_with_their_times(self, desk: Desk) -> None:
        ledger = desk.ledger
        await lead(ledger, picture_request())
        await ledger.record_usage(
            [use(picture_request(), Outcome.HIT, 5), use(picture_request("other"), Outcome.HIT, 2)]
        )
        await ledger.record_usage([use(picture_request(), Outcome.GENERATED, 1)])
        totals = await ledger.usage_totals()
        sums = {row.outcome: row for row in totals.usage}
        assert (sums["hit"].requests, sums["hit"].bytes) == (7, 7_000)
        assert sums["generated"].requests == 1
        latency = {row.outcome: list(row.buckets) for row in totals.latency}
        assert latency["hit"] == [7, *(0 for _ in LATENCY_BOUNDS_MS)]
        assert (totals.in_flight, totals.discarded) == (1, 0)

    async def test_a_generation_whose_lease_ran_out_is_not_in_flight(self, desk: Desk) -> None:
        await lead(desk.ledger, picture_request())
        await desk.advance(21)
        assert (await desk.ledger.usage_totals()).in_flight == 0

    async def test_a_batch_that_is_sent_again_counts_once(self, desk: Desk) -> None:
        ledger, batch = desk.ledger, uuid4()
        for _ in range(3):
            await ledger.record_usage([use(picture_request(), Outcome.HIT, 5)], batch=batch)
        assert (await ledger.generation_stats()).total_requests == 5
        await ledger.record_usage([use(picture_request(), Outcome.HIT, 5)], batch=uuid4())
        assert (await ledger.generation_stats()).total_requests == 10

    async def test_setup_names_the_schema_this_program_was_written_for(self, desk: Desk) -> None:
        setup = await desk.ledger.check_setup()
        assert setup["schema"] == SCHEMA
        assert float(setup["now"]) > 0
        assert setup["buckets"] is None or isinstance(setup["buckets"], dict)

    async def test_schema_is_as_this_program_was_shipped_with_it(self, desk: Desk) -> None:
        shipped = Schema.shipped()
        assert shipped.compare(await desk.ledger.describe_schema(shipped.public_names)) == []

    async def test_empty_batch_of_usage_changes_nothing(self, desk: Desk) -> None:
        await desk.ledger.record_usage([])
        assert (await desk.ledger.generation_stats()).total_requests == 0


def use(asked: PictureRequest, outcome: Outcome, count: int) -> RequestCount:
    """`count` requests answered within a millisecond."""
    return RequestCount(
        generation_key=asked.generation_key,
        rendition_key=asked.rendition_key,
        kind="image",
        provider="painter",
        model=asked.model,
        outcome=outcome,
        tier="storage",
        count=count,
        size_bytes=1000 * count,
        latency_buckets=(count, *(0 for _ in LATENCY_BOUNDS_MS)),
    )
