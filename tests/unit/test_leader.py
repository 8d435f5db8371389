"""A leader that is told it leads no more stops at that very step, and follows whoever does."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from copperplate.errors import (
    GenerationFailed,
    LeaseLost,
    LedgerMisconfigured,
    LedgerUnavailable,
    Misconfigured,
    ObjectMissing,
    ProviderFailed,
    StillGenerating,
    StoreUnavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.lease import Lease
from copperplate.generation.lookup import LOOK_ONLY
from copperplate.generation.timings import Timings
from copperplate.ledger_answers import Lead
from copperplate.model import Job, Outcome
from copperplate.testing import GENERATE
from tests.support.coordinator_harness import CoordinatorHarness, PlainImages, _at_once
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from copperplate.adapters.memory.clock import FakeClock
    from copperplate.model import PictureFacts, Size

KEY = picture_request().generation_key


AWAY = LedgerUnavailable("away")
REFUSED = LedgerMisconfigured("DATABASE_URL: its role may not use Copperplate's functions")


def cut_off_at(
    step: str, seconds: float, harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch, error: Exception = AWAY
) -> None:
    """From the next call of `step` on, the ledger fails this step and every heartbeat for so long."""
    back_at: list[float] = []

    def cut(name: str) -> None:
        original = getattr(harness.ledger, name)

        async def refused(*arguments: Any, **named: Any) -> Any:
            if name == step and not back_at:
                back_at.append(harness.clock.monotonic() + seconds)
            if back_at and harness.clock.monotonic() < back_at[0]:
                raise error
            return await original(*arguments, **named)

        monkeypatch.setattr(harness.ledger, name, refused)

    cut(step)
    cut("heartbeat")


def steal_at(step: str, harness: CoordinatorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another process take the lease over just before the next call of `step`, and die holding it."""
    original = getattr(harness.ledger, step)

    async def stolen(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        harness.ledger._generations[KEY].lease_until = harness.clock.monotonic()
        thief = await harness.ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=20))
        assert isinstance(thief, Lead)
        return await original(*arguments, **named)

    monkeypatch.setattr(harness.ledger, step, stolen)


@pytest.mark.parametrize(("seconds", "is_certain"), [(9.999, True), (10, False), (10.001, False)])
async def test_lease_is_certain_until_the_moment_it_may_have_ended(seconds: float, is_certain: bool) -> None:
    harness = CoordinatorHarness()
    lease = Lease(key=KEY, fence=1, trusted_until=10, ledger=harness.ledger, clock=harness.clock, timings=Timings())
    await harness.clock.advance(seconds)
    with contextlib.nullcontext() if is_certain else pytest.raises(LeaseLost):
        lease.check()


async def test_leader_frozen_beyond_its_lease_announces_no_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    announced = harness.ledger.begin_submit
    calls: list[int] = []

    async def count(*arguments: Any, **named: Any) -> Any:
        calls.append(named["submit_no"])
        return await announced(*arguments, **named)

    async def freeze(needs: Any) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(harness.ledger, "begin_submit", count)
        harness.clock._seconds += 60  # nothing ran meanwhile: no heartbeat either

    monkeypatch.setattr(harness.kinds["image"].store, "check", freeze)
    found = await harness.process().find(picture_request(), GENERATE)
    assert found.outcome is Outcome.GENERATED
    assert (calls, harness.provider.submits) == ([1], 1)


@pytest.mark.parametrize(
    ("step", "body"),
    # Refused before the first submit nothing was spent; a job that is known is collected; what was stored is adopted,
    # and its rendition is left to the serving.
    [
        ("begin_submit", b"picture of job-1 as jpg"),
        ("note_request", b"picture of job-1 as jpg"),
        ("intend_upload", b"picture of job-1 as jpg"),
        ("complete", b"picture of job-1"),
    ],
)
async def test_leader_refused_by_its_fence_stops_and_follows_until_it_may_lead_again(
    step: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = CoordinatorHarness(has_jobs=True)
    steal_at(step, harness, monkeypatch)
    task = await harness.begin(harness.process(), picture_request())
    assert not task.done()
    await harness.clock.advance(20 + 2.4)
    found = await task
    assert found.body == body
    assert found.outcome is Outcome.GENERATED
    assert harness.provider.submits == 1


async def test_leader_that_is_refused_before_its_upload_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    steal_at("intend_upload", harness, monkeypatch)
    task = await harness.begin(harness.process(), picture_request())
    assert not task.done()
    assert harness.store._objects == {}
    task.cancel()


@pytest.mark.parametrize("error", [AWAY, REFUSED])
@pytest.mark.parametrize(("step", "has_jobs"), [("note_request", True), ("intend_upload", False)])
async def test_what_was_paid_for_is_noted_once_the_ledger_is_back(
    step: str, has_jobs: bool, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = CoordinatorHarness(has_jobs=has_jobs)
    cut_off_at(step, 15, harness, monkeypatch, error)
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(14)
    assert not task.done()
    await harness.clock.advance(2)
    assert (await task).outcome is Outcome.GENERATED
    assert harness.provider.submits == 1


@pytest.mark.parametrize("error", [AWAY, REFUSED])
@pytest.mark.parametrize(
    ("step", "submits"),
    # Whose job is not noted is lost with its leader; refused before the first submit nothing was sent.
    [("begin_submit", 0), ("note_request", 1), ("begin_decode", 1), ("intend_upload", 1), ("complete", 1)],
)
async def test_ledger_that_fails_a_step_is_no_fault_of_the_provider_and_what_is_paid_for_stays(
    step: str, submits: int, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    harness = CoordinatorHarness(has_jobs=True)
    if step == "begin_decode":  # a successor's: the first leader dies with its job noted
        dying = await harness.ledger.acquire(picture_request(), leader=uuid4(), lease_duration=timedelta(seconds=1))
        assert isinstance(dying, Lead)
        await harness.ledger.begin_submit(
            KEY, dying.fence, submit_no=1, provider=harness.provider.name, estimate_micro_usd=3_000
        )
        await harness.ledger.note_request(KEY, dying.fence, Job(request_id="job-1"))
        await harness.clock.advance(2)
    with monkeypatch.context() as patch:
        cut_off_at(step, 10_000, harness, patch, error)
        task = await harness.begin(harness.process(), picture_request())
        await harness.clock.advance(60)
        with pytest.raises((LedgerUnavailable, LedgerMisconfigured, StillGenerating)):
            await task
    row = harness.ledger._generations[KEY]
    assert (row.status, row.failure_class) == ("pending" if submits == 0 else "generating", None)
    assert not harness.ledger._breakers
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
    # Not known to be free: it counts as estimated.
    assert [each.price_micro_usd for each in harness.ledger._submits] == [3_000] * submits
    await harness.clock.advance(21)
    assert (await harness.process().find(picture_request(), GENERATE)).outcome is Outcome.GENERATED
    assert harness.provider.submits == {"note_request": 2, "begin_decode": 0}.get(step, 1)


async def test_ledger_that_stays_away_is_asked_no_longer_than_callers_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    asked_at: list[float] = []

    async def away(*_: Any, **__: Any) -> bool:
        asked_at.append(harness.clock.monotonic())
        raise LedgerUnavailable("away")

    monkeypatch.setattr(harness.ledger, "intend_upload", away)
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(60)
    with pytest.raises((LedgerUnavailable, StillGenerating)):
        await task
    assert 29 < asked_at[-1] <= 30.5


async def test_ledger_that_is_back_just_before_the_lease_is_over_costs_no_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = CoordinatorHarness(has_jobs=True, collect_seconds=25)
    timings = Timings(heartbeat=timedelta(seconds=6))
    cut_off_at("heartbeat", 13, harness, monkeypatch)
    tasks = [await harness.begin(harness.process(timings=timings), picture_request()) for _ in range(2)]
    await harness.clock.advance(28)
    assert [(await each).outcome for each in tasks] == [Outcome.GENERATED, Outcome.COALESCED]
    assert harness.provider.collects == 1


async def test_failure_of_a_leader_whose_lease_passed_on_is_not_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()
    harness.provider.failures = [ProviderFailed(FailureClass.MODERATED, "no")]
    steal_at("fail", harness, monkeypatch)
    task = await harness.begin(harness.process(), picture_request())
    assert not task.done()
    await harness.clock.advance(20 + 2.4)
    assert (await task).body == b"picture 2 as jpg"


async def test_heartbeat_that_is_refused_ends_the_leader_before_its_next_write(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness(seconds=12)
    intended = 0
    intend = harness.ledger.intend_upload

    async def counted(*arguments: Any, **named: Any) -> bool:
        nonlocal intended
        intended += 1
        return await intend(*arguments, **named)

    steal_at("heartbeat", harness, monkeypatch)
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(5)
    monkeypatch.setattr(harness.ledger, "intend_upload", counted)
    await harness.clock.advance(10)
    assert not task.done()
    assert intended == 0
    await harness.clock.advance(30)
    assert (await task).body == b"picture 2 as jpg"
    assert intended == 1


async def test_store_that_is_down_while_an_object_may_lie_there_costs_no_second_submit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = CoordinatorHarness()
    steal_at("complete", harness, monkeypatch)
    first = harness.process()
    await harness.begin(first, picture_request())
    await harness.kill(first)
    await harness.clock.advance(21)

    async def down(_: str) -> bytes:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patched:
        patched.setattr(harness.store, "get", down)
        with pytest.raises(StoreUnavailable):
            await harness.process().find(picture_request(), GENERATE)
    await harness.clock.advance(21)
    assert (await harness.process().find(picture_request(), GENERATE)).body == b"picture 1"
    assert harness.provider.submits == 1


@pytest.mark.parametrize("may_lead", [True, False])
async def test_answer_nobody_knows_is_a_bug_and_said_loudly(may_lead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()

    async def riddle(*_: Any, **__: Any) -> object:
        return object()

    monkeypatch.setattr(harness.ledger, "acquire" if may_lead else "peek", riddle)
    with pytest.raises(AssertionError, match="unreachable"):
        await harness.process().find(picture_request(), GENERATE if may_lead else LOOK_ONLY)
    assert harness.provider.submits == 0


async def test_object_lost_before_it_was_stored_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness()

    async def broken(*_: Any, **__: Any) -> None:
        raise ObjectMissing

    monkeypatch.setattr(harness.store, "put", broken)
    with pytest.raises(GenerationFailed) as failed:
        await harness.process().find(picture_request(), GENERATE)
    assert failed.value.failure_class is FailureClass.TRANSIENT


class SkewedClock:
    """The bench's clock with a wall clock that is days off, as after a bad restore or without NTP."""

    def __init__(self, clock: FakeClock, days: int) -> None:
        self._clock, self._days = clock, days

    def now(self) -> datetime:
        return self._clock.now() + timedelta(days=self._days)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


@pytest.mark.parametrize(("leading", "following"), [(-40, 40), (40, -40)])
async def test_wall_clock_that_is_days_off_changes_no_decision(leading: int, following: int) -> None:
    harness = CoordinatorHarness(seconds=12)
    first, second = (
        Coordinator(
            ledger=harness.ledger, kinds=harness.kinds, images=harness.images, clock=SkewedClock(harness.clock, days)
        )
        for days in (leading, following)
    )
    leader = await harness.begin(first, picture_request())
    follower = await harness.begin(second, picture_request())
    await harness.clock.advance(12)
    assert ((await leader).outcome, (await follower).outcome) == (Outcome.GENERATED, Outcome.COALESCED)


# --- submits whose answer is lost, settings that are wrong, jobs that take long ---------------------


def lost(times: int) -> list[Exception]:
    return [ProviderFailed(FailureClass.AMBIGUOUS, "lost") for _ in range(times)]


@pytest.mark.parametrize("has_jobs", [True, False])
async def test_what_the_provider_reports_to_bill_is_written_to_the_row(has_jobs: bool) -> None:
    harness = CoordinatorHarness(has_jobs=has_jobs, usage={"micro_units": 1_500_000})
    await harness.process().find(picture_request(), GENERATE)
    assert harness.ledger._generations[KEY].usage == {"micro_units": 1_500_000}


async def test_submit_whose_answer_was_lost_is_sent_once_more_under_the_next_number() -> None:
    harness = CoordinatorHarness(failures=lost(1))
    assert (await harness.process().find(picture_request(), GENERATE)).body == b"picture 2 as jpg"
    assert harness.provider.submits == 2
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 2


async def test_second_answer_that_is_lost_ends_the_matter_for_a_day() -> None:
    harness = CoordinatorHarness(failures=lost(9))
    process = harness.process()
    for _ in range(20):
        with pytest.raises(GenerationFailed) as failed:
            await process.find(picture_request(), GENERATE)
        assert failed.value.failure_class is FailureClass.AMBIGUOUS
        await harness.clock.advance(3_600)
    assert harness.provider.submits == 2


async def test_successor_of_a_leader_that_sent_twice_sends_nothing() -> None:
    harness = CoordinatorHarness(seconds=10, failures=lost(1))
    process = harness.process()
    await harness.begin(process, picture_request())
    await harness.clock.advance(15)
    assert harness.provider.submits == 2
    await harness.kill(process)
    await harness.clock.advance(21)
    with pytest.raises(GenerationFailed) as failed:
        await harness.process().find(picture_request(), GENERATE)
    assert failed.value.failure_class is FailureClass.AMBIGUOUS
    assert harness.provider.submits == 2


async def test_successor_whose_only_submit_is_lost_sends_no_third(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness(seconds=10)
    process = harness.process()
    await harness.begin(process, picture_request())
    await harness.kill(process)
    await harness.clock.advance(21)
    harness.provider.failures = lost(2)
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(30)
    with pytest.raises(GenerationFailed):
        await task
    assert harness.provider.submits == 2


async def test_lost_answer_is_not_followed_by_a_submit_once_the_lease_is_not_certain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = CoordinatorHarness(seconds=10, failures=lost(1))
    steal_at("heartbeat", harness, monkeypatch)
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(15)
    assert not task.done()
    assert harness.provider.submits == 1
    await harness.clock.advance(30)
    assert (await task).body == b"picture 2 as jpg"
    assert harness.provider.submits == 2


async def test_free_provider_that_loses_its_answers_is_asked_twice_and_then_failed() -> None:
    harness = CoordinatorHarness(is_billable=False, failures=lost(9))
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request(), GENERATE)
    assert harness.provider.submits == 2


def refusal(message: str) -> list[Exception]:
    """A provider's own, and what was raised for a setting before anything was sent."""
    return [ProviderFailed(FailureClass.ACCOUNT, message, billed=False), Misconfigured(message)]


@pytest.mark.parametrize("number", [0, 1])
async def test_refusal_of_our_account_is_no_prompts_failure_and_one_line_a_rest(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    harness = CoordinatorHarness(failures=[refusal("no money left: top up")[number] for _ in range(4)])
    processes = [harness.process(), harness.process()]
    for rests in range(1, 5):
        for prompt in ("a red fox", *(f"{other} hens" for other in range(20))):
            with pytest.raises(GenerationFailed) as failed:
                await processes[len(prompt) % 2].find(picture_request(prompt), GENERATE)
            assert (failed.value.http_status, failed.value.failure_class) == (503, FailureClass.ACCOUNT)
            assert failed.value.retry_after_seconds is not None
            assert 1 <= failed.value.retry_after_seconds <= 15
        assert harness.provider.submits == rests
        await harness.clock.advance(16)
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 4
    assert all("scripted refuses us" in line and "no money left: top up" in line for line in told)
    for prompt in ("a red fox", "3 hens"):
        assert (await processes[0].find(picture_request(prompt), GENERATE)).outcome is Outcome.GENERATED
    assert (await harness.ledger.generation_stats()).total_api_calls_made == 2


async def test_reason_that_repeats_the_prompt_is_withheld(caplog: pytest.LogCaptureFixture) -> None:
    harness = CoordinatorHarness(failures=refusal("not for us: 'the red fox runs'")[:1])
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request("Look: the  red fox runs away"), GENERATE)
    assert "fox" not in caplog.text
    assert "withheld" in caplog.text
    assert "fox" not in harness.ledger._breakers["scripted"].reason


async def test_job_that_is_not_done_in_time_is_left_to_a_later_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = CoordinatorHarness(has_jobs=True)

    async def not_yet(_: object) -> bytes:
        raise StillGenerating

    with monkeypatch.context() as patched:
        patched.setattr(harness.provider, "collect", not_yet)
        with pytest.raises(StillGenerating):
            await harness.process().find(picture_request(), GENERATE)
    await harness.clock.advance(21)
    assert (await harness.process().find(picture_request(), GENERATE)).body == b"picture of job-1 as jpg"
    assert harness.provider.submits == 1


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "copperplate.generation.failed_attempts"]


async def test_each_failed_call_is_one_line_of_its_class_and_cause_without_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = ProviderFailed(FailureClass.MODERATED, "they quote: a red fox", billed=False)
    refused.__cause__ = ConnectionResetError("they quote: a red fox")
    harness = CoordinatorHarness(failures=[*lost(1), refused])
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request(), GENERATE)
    start, end = "attempt failed: provider=scripted", f"attempt=1 key={KEY[:12]}"
    assert lines_of(caplog) == [
        f"{start} class=ambiguous cause=ProviderFailed billed=true {end}",
        f"{start} class=moderated cause=ConnectionResetError billed=false {end}",
    ]
    assert "fox" not in caplog.text


async def test_bug_in_a_provider_is_logged_with_the_way_it_took_and_without_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = CoordinatorHarness(failures=[KeyError("a red fox")])
    with pytest.raises(GenerationFailed):
        await harness.process().find(picture_request(), GENERATE)
    assert [line.split(" billed")[0] for line in lines_of(caplog)] == [
        "attempt failed: provider=scripted class=transient cause=KeyError"
    ]
    assert "unexpected error in a generation: KeyError" in caplog.text
    assert "in submit" in caplog.text
    assert "fox" not in caplog.text


async def test_process_that_stood_still_keeps_what_it_paid_for_unless_somebody_took_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = CoordinatorHarness()
    submit = harness.provider.submit

    async def stand_still(recipe: Any, inputs: Any) -> Any:
        answer = await submit(recipe)
        harness.clock._seconds += 19  # beyond the trust in the lease (18 s), within the lease (20 s)
        return answer

    monkeypatch.setattr(harness.provider, "submit", stand_still)
    task = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(30)
    assert (await task).outcome is Outcome.GENERATED
    assert harness.provider.submits == 1


class FatalImages(PlainImages):
    """Decoding begins, and takes the process with it."""

    decodings = 0

    async def verify(
        self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]] = _at_once
    ) -> PictureFacts:
        await begin()
        self.decodings += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_picture_that_two_successors_died_of_is_not_decoded_again() -> None:
    harness = CoordinatorHarness(has_jobs=True)
    harness.images = images = FatalImages()
    for _ in range(3):  # the first leader and two successors
        process = harness.process()
        await harness.begin(process, picture_request())
        await harness.kill(process)
        await harness.clock.advance(21)
    last = await harness.begin(harness.process(), picture_request())
    await harness.clock.advance(20)
    with pytest.raises(GenerationFailed) as failed:
        await last
    assert failed.value.failure_class is FailureClass.BAD_OUTPUT
    assert (images.decodings, harness.provider.submits) == (3, 1)
