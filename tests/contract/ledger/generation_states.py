"""What every ledger promises of what callers are told of generations, and of who may watch."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from copperplate.failure_classes import FailureClass
from copperplate.model import Condition, Job, Outcome
from copperplate.wishes import Settlement, State, WishStatus
from tests.contract.ledger.credits import ALICE
from tests.contract.ledger.harness import LONG_LEASE, acquire, complete, failure, lead, request_count
from tests.contract.ledger.wishing import DAY_SECONDS, make, memoji, new_batch, new_wish, pass_hold, take
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.ledger_answers import Lead
    from copperplate.wishes import GenerationState
    from tests.contract.ledger.harness import LedgerHarness

KEY = picture_request().generation_key
UNKNOWN = "0" * 64
BATCH = str(UUID(int=1))
DIGEST = "a" * 64


async def state(harness: LedgerHarness, key: str = KEY, *, with_usual_time: bool = False) -> GenerationState:
    found: GenerationState | None = await harness.ledger.generation_state(key, with_usual_time=with_usual_time)
    assert found is not None
    return found


async def sent(harness: LedgerHarness) -> Lead:
    """Lead the picture and send its submit."""
    held = await lead(harness.ledger, picture_request())
    assert await harness.ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")
    return held


async def fail_with(harness: LedgerHarness, failure_class: FailureClass) -> None:
    """Fail a picture named after the class, whose job was noted."""
    asked = picture_request(failure_class)
    held = await lead(harness.ledger, asked)
    assert await harness.ledger.begin_submit(asked.generation_key, held.fence, submit_no=1, provider="painter")
    await harness.ledger.note_request(asked.generation_key, held.fence, Job(request_id="r"))
    assert await harness.ledger.fail(asked.generation_key, held.fence, failure(failure_class, rest=3_600))


class GenerationStateContract:
    """Where a generation is, whoever makes it."""

    async def test_nothing_is_known_of_what_nobody_asked_for(self, harness: LedgerHarness) -> None:
        assert await harness.ledger.generation_state(KEY) is None

    async def test_a_picture_that_is_wished_for_is_pending(self, harness: LedgerHarness) -> None:
        wish = await harness.ledger.make_wish(new_wish(), held_for=LONG_LEASE)
        found = await state(harness)
        assert (found.generation_key, found.kind, found.state) == (KEY, "image", State.PENDING)
        assert (found.started_at, found.failure_class, found.entry) == (None, None, None)
        assert found.created_at.utcoffset() == timedelta(0)
        await harness.ledger.settle_wish(wish, Settlement(status=WishStatus.CANCELED))
        assert await harness.ledger.generation_state(KEY) is None

    async def test_a_wish_knows_its_kind(self, harness: LedgerHarness) -> None:
        await harness.ledger.make_wish(new_wish(memoji()), held_for=LONG_LEASE)
        assert (await state(harness, memoji().generation_key)).kind == "memoji"

    async def test_a_picture_that_is_led_is_pending_until_it_is_sent(self, harness: LedgerHarness) -> None:
        held = await acquire(harness.ledger, picture_request(), lease_duration=LONG_LEASE)
        assert (await state(harness)).state is State.PENDING
        assert await harness.ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")  # type: ignore[union-attr]
        found = await state(harness)
        assert found.state is State.GENERATING
        assert found.started_at is not None
        assert found.started_at >= found.created_at

    async def test_it_is_told_whether_somebody_is_at_work(self, harness: LedgerHarness) -> None:
        await make(harness, "a beautiful sunset")
        assert not (await state(harness)).is_led
        await take(harness)
        assert (await state(harness)).is_led
        await pass_hold(harness)
        assert not (await state(harness)).is_led
        held = await acquire(harness.ledger, picture_request(), lease_duration=LONG_LEASE)
        assert await harness.ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")  # type: ignore[union-attr]
        assert (await state(harness)).is_led
        # Its leader died: it is paid, and nobody collects it.
        await pass_hold(harness)
        found = await state(harness)
        assert (found.state, found.is_led) == (State.GENERATING, False)

    async def test_what_has_ended_nobody_is_at_work_on(self, harness: LedgerHarness) -> None:
        await complete(harness.ledger, picture_request())
        await harness.ledger.make_wish(new_wish(), held_for=LONG_LEASE)
        assert not (await state(harness)).is_led

    async def test_what_is_paid_goes_on_when_its_leader_dies_while_somebody_wishes_for_it(
        self, harness: LedgerHarness
    ) -> None:
        held = await sent(harness)
        await harness.ledger.note_request(KEY, held.fence, Job(request_id="r"))
        await harness.advance(120)
        # Nobody took over, and nobody wishes for it.
        left = await state(harness)
        assert (left.state, left.failure_class) == (State.FAILED, FailureClass.ABANDONED)
        await make(harness, "a beautiful sunset")
        assert (await state(harness)).state is State.GENERATING
        # Also once the sweep has given up on that leader.
        await harness.advance(900)
        await harness.ledger.sweep(10)
        assert (await state(harness)).state is State.GENERATING

    async def test_a_stored_picture_is_completed_and_told_with_its_original(self, harness: LedgerHarness) -> None:
        entry = await complete(harness.ledger, picture_request())
        found = await state(harness)
        assert (found.state, found.entry, found.failure_class) == (State.COMPLETED, entry, None)
        # Also for whoever wishes for it still.
        await make(harness, "a beautiful sunset")
        assert (await state(harness)).state is State.COMPLETED

    async def test_a_failure_is_told_with_its_class_and_its_pause(self, harness: LedgerHarness) -> None:
        held = await sent(harness)
        assert await harness.ledger.fail(KEY, held.fence, failure(FailureClass.MODERATED, rest=3_600))
        found = await state(harness)
        assert (found.state, found.failure_class) == (State.FAILED, FailureClass.MODERATED)
        assert timedelta(minutes=50) < found.retry_after <= timedelta(hours=1)
        await harness.advance(3_700)
        found = await state(harness)
        assert (found.state, found.retry_after) == (State.FAILED, timedelta(0))

    async def test_a_failure_that_may_pass_is_none_while_somebody_wishes_for_the_picture(
        self, harness: LedgerHarness
    ) -> None:
        expected = {
            FailureClass.RATE_LIMITED: State.PENDING,
            FailureClass.TRANSIENT: State.PENDING,
            FailureClass.ACCOUNT: State.PENDING,
            FailureClass.UNCOLLECTED: State.GENERATING,
            FailureClass.MODERATED: State.FAILED,
            FailureClass.INVALID: State.FAILED,
            FailureClass.BAD_OUTPUT: State.FAILED,
            FailureClass.AMBIGUOUS: State.FAILED,
        }
        for failure_class in expected:
            await fail_with(harness, failure_class)
            key = picture_request(failure_class).generation_key
            assert (await state(harness, key)).state is State.FAILED
            await make(harness, failure_class)
        found = {each: await state(harness, picture_request(each).generation_key) for each in expected}
        assert {each: told.state for each, told in found.items()} == expected
        for told in found.values():
            assert (told.failure_class is None) == (told.state is not State.FAILED)

    async def test_a_new_attempt_is_told_and_not_the_failure_before_it(self, harness: LedgerHarness) -> None:
        held = await sent(harness)
        assert await harness.ledger.fail(KEY, held.fence, failure(rest=5))
        await harness.advance(6)
        await lead(harness.ledger, picture_request())
        found = await state(harness)
        assert (found.state, found.failure_class) == (State.PENDING, None)

    async def test_a_purged_picture_is_not_known(self, harness: LedgerHarness) -> None:
        await complete(harness.ledger, picture_request())
        await harness.ledger.purge(Condition(key=KEY), 10, is_dry_run=False)
        assert await harness.ledger.generation_state(KEY) is None
        await make(harness, "a beautiful sunset")
        assert (await state(harness)).state is State.PENDING

    async def test_the_usual_time_is_the_median_of_the_models_last_pictures(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make(harness, "a beautiful sunset")
        assert (await state(harness, with_usual_time=True)).usual_seconds is None
        for prompt, seconds in (("slow", 9_000), ("quick", 100), ("usual", 1_000)):
            key = picture_request(prompt).generation_key
            held = await acquire(ledger, picture_request(prompt), lease_duration=timedelta(days=1))
            assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")  # type: ignore[union-attr]
            await harness.advance(seconds)
            assert await ledger.intend_upload(key, held.fence, upload(prompt), usage={})  # type: ignore[union-attr]
            assert await ledger.complete(key, held.fence, upload(prompt), url=None)  # type: ignore[union-attr]
        # Generous: on a real database time passes on its own.
        assert (await state(harness)).usual_seconds is None
        usual = (await state(harness, with_usual_time=True)).usual_seconds
        assert usual is not None
        assert 1_000 <= usual < 1_300
        await harness.ledger.make_wish(new_wish(memoji()), held_for=LONG_LEASE)
        assert (await state(harness, memoji().generation_key, with_usual_time=True)).usual_seconds is None

    async def test_stored_keys_are_those_whose_original_is_stored(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await complete(ledger, picture_request("stored"))
        await lead(ledger, picture_request("led"))
        await make(harness, "wished for")
        asked = [picture_request(prompt).generation_key for prompt in ("stored", "led", "wished for")]
        assert await ledger.stored_keys([*asked, UNKNOWN]) == frozenset(asked[:1])
        assert await ledger.stored_keys([]) == frozenset()

    async def test_popular_recipes_are_those_asked_for_most_in_the_last_days(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        for prompt, uses in (("old", 9), ("seldom", 1), ("often", 5), ("nobody", 0)):
            asked = picture_request(prompt)
            await complete(ledger, asked, prompt)
            if uses:
                await ledger.record_usage([request_count(asked, Outcome.HIT, uses)])
            if prompt == "old":
                await harness.advance(10 * DAY_SECONDS)
        popular = await ledger.popular_recipes(days=7, limit=2)
        assert [recipe["prompt"] for recipe in popular] == ["often", "seldom"]
        assert dict(popular[0]) == dict(picture_request("often").recipe)
        assert [recipe["prompt"] for recipe in await ledger.popular_recipes(days=7, limit=1)] == ["often"]
        assert "old" in [recipe["prompt"] for recipe in await ledger.popular_recipes(days=30, limit=10)]


class WatchContract:
    """A token permits to watch one generation or batch for a while."""

    @pytest.mark.parametrize(("subject", "another"), [(KEY, UNKNOWN), (BATCH, str(UUID(int=2)))], ids=["key", "batch"])
    async def test_a_token_permits_one_subject_until_it_expires(
        self, harness: LedgerHarness, subject: str, another: str
    ) -> None:
        ledger = harness.ledger
        assert not await ledger.may_watch(subject, DIGEST)
        await ledger.begin_watch(subject, DIGEST, LONG_LEASE)
        assert await ledger.may_watch(subject, DIGEST)
        assert not await ledger.may_watch(another, DIGEST)
        assert not await ledger.may_watch(subject, "b" * 64)
        await harness.advance(LONG_LEASE.total_seconds() + 1)
        assert not await ledger.may_watch(subject, DIGEST)

    async def test_tokens_of_a_forgotten_user_go_with_what_they_wished_for(self, harness: LedgerHarness) -> None:
        ledger, owner = harness.ledger, f"user:{ALICE}"
        await ledger.grant_credits(ALICE, 1, "g")
        theirs = str(await ledger.create_batch(new_batch("in a batch", owner=owner)))
        others = str(await ledger.create_batch(new_batch("in a batch")))
        await make(harness, "a beautiful sunset", owner=owner)
        for subject in (theirs, others, KEY, UNKNOWN):
            await ledger.begin_watch(subject, DIGEST, LONG_LEASE)
        assert await ledger.forget_user(ALICE)
        permitted = [await ledger.may_watch(subject, DIGEST) for subject in (theirs, others, KEY, UNKNOWN)]
        assert permitted == [False, True, False, True]

    async def test_tokens_of_one_generation_stand_side_by_side(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.begin_watch(KEY, DIGEST, LONG_LEASE)
        await ledger.begin_watch(KEY, "b" * 64, 2 * LONG_LEASE)
        await harness.advance(LONG_LEASE.total_seconds() + 1)
        await ledger.begin_watch(UNKNOWN, DIGEST, LONG_LEASE)
        assert not await ledger.may_watch(KEY, DIGEST)
        assert await ledger.may_watch(KEY, "b" * 64)
        assert await ledger.may_watch(UNKNOWN, DIGEST)

    async def test_a_token_that_is_begun_again_runs_anew(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.begin_watch(KEY, DIGEST, LONG_LEASE)
        await harness.advance(0.75 * LONG_LEASE.total_seconds())
        await ledger.begin_watch(KEY, DIGEST, LONG_LEASE)
        await harness.advance(0.75 * LONG_LEASE.total_seconds())
        assert await ledger.may_watch(KEY, DIGEST)

    async def test_watching_is_of_no_wish(self, harness: LedgerHarness) -> None:
        await harness.ledger.begin_watch(KEY, DIGEST, LONG_LEASE)
        assert await harness.ledger.generation_state(KEY) is None
        assert await take(harness) == []
        await pass_hold(harness)
        assert not await harness.ledger.is_work_due()
