"""What every ledger promises of batches: kept whole, told as they are, canceled where nothing is paid."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Lead
from copperplate.model import Outcome
from copperplate.wishes import Canceled, Purpose, Settlement, State, WishStatus
from tests.contract.ledger.harness import acquire, complete, failure, lead, request_count
from tests.contract.ledger.wishing import (
    DAY_SECONDS,
    HOLD,
    OTHER,
    OWNER,
    PRICE,
    counts,
    make,
    members,
    memoji,
    new_batch,
    new_wish,
    pass_hold,
    prompts,
    seen,
    take,
)
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from uuid import UUID

    from tests.contract.ledger.harness import LedgerHarness

DONE = Settlement(status=WishStatus.COMPLETED)
REFUSED = Settlement(status=WishStatus.FAILED, code="invalid_prompt")


class BatchContract:
    """Many wishes are one batch, whose members are told one by one."""

    async def test_a_batch_is_kept_as_it_was_asked_for(self, harness: LedgerHarness) -> None:
        wishes = (
            new_wish("one", paths=("/1.jpg", "/1.webp?w=64"), echo={"title": "First", "style": "oil"}),
            new_wish("two", paths=("/2.jpg",)),
        )
        batch = await harness.ledger.create_batch(
            new_batch(wishes=wishes, purpose=Purpose.WARM, thread_id="thread 1", idempotency_key="k", digest="d")
        )
        found = await seen(harness, batch)
        assert (found.id, found.owner, found.purpose, found.thread_id) == (batch, OWNER, Purpose.WARM, "thread 1")
        assert (found.total, found.cached, found.estimate_micro_usd) == (2, 0, 2 * PRICE)
        assert (found.canceled_at, found.is_private, found.is_final) == (None, False, False)
        assert dict(found.counts) == {State.PENDING: 2} | dict.fromkeys(set(State) - {State.PENDING}, 0)
        assert found.created_at.utcoffset() == timedelta(0)
        first, second = await members(harness, batch)
        assert (first.position, first.generation_key, first.kind) == (0, picture_request("one").generation_key, "image")
        assert (first.state, first.cached, first.code) == (State.PENDING, False, None)
        assert (first.paths, dict(first.echo)) == (("/1.jpg", "/1.webp?w=64"), {"title": "First", "style": "oil"})
        assert (second.position, second.paths, dict(second.echo)) == (1, ("/2.jpg",), {})

    async def test_nobody_knows_an_unknown_batch(self, harness: LedgerHarness) -> None:
        unknown = uuid4()
        assert await harness.ledger.find_batch(unknown) is None
        assert list(await harness.ledger.batch_members(unknown)) == []
        assert await harness.ledger.cancel_batch(unknown) is None

    async def test_members_that_are_stored_are_completed_at_once_and_cost_nothing(self, harness: LedgerHarness) -> None:
        await complete(harness.ledger, picture_request("stored"))
        batch = await harness.ledger.create_batch(new_batch("stored", "new"))
        found = await seen(harness, batch)
        assert (found.cached, found.estimate_micro_usd) == (1, PRICE)
        assert await counts(harness, batch) == {State.COMPLETED: 1, State.PENDING: 1}
        assert [(each.state, each.cached) for each in await members(harness, batch)] == [
            (State.COMPLETED, True),
            (State.PENDING, False),
        ]
        assert prompts(await take(harness)) == ["new"]

    async def test_a_batch_of_stored_pictures_is_final_and_no_work(self, harness: LedgerHarness) -> None:
        await complete(harness.ledger, picture_request("stored"))
        batch = await harness.ledger.create_batch(new_batch("stored"))
        found = await seen(harness, batch)
        assert (found.is_final, found.estimate_micro_usd) == (True, 0)
        assert not await harness.ledger.is_work_due()

    async def test_the_estimate_is_unknown_where_a_price_is(self, harness: LedgerHarness) -> None:
        wishes = (new_wish("priced"), new_wish("unpriced", spending=None))
        batch = await harness.ledger.create_batch(new_batch(wishes=wishes))
        assert (await seen(harness, batch)).estimate_micro_usd is None

    async def test_a_batch_with_a_private_picture_is_private(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("public", memoji()))
        assert (await seen(harness, batch)).is_private
        assert [each.kind for each in await members(harness, batch)] == ["image", "memoji"]

    async def test_members_are_told_by_pages_in_their_order(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch(*(f"picture {n}" for n in range(7))))
        pages = [await harness.ledger.batch_members(batch, after=after, limit=3) for after in (-1, 2, 5, 6)]
        assert [[each.position for each in page] for page in pages] == [[0, 1, 2], [3, 4, 5], [6], []]

    async def test_a_batch_of_a_thousand_is_kept_and_told_whole(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch(*(f"picture {n}" for n in range(1_000))))
        assert (await seen(harness, batch)).counts[State.PENDING] == 1_000
        assert len(await harness.ledger.batch_members(batch)) == 100
        assert [each.position for each in await members(harness, batch)] == list(range(1_000))
        assert prompts(await take(harness, in_flight=3)) == ["picture 0", "picture 1", "picture 2"]

    async def test_a_batch_that_is_held_is_its_makers_until_the_hold_is_over(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await complete(ledger, picture_request("stored"))
        batch = await ledger.create_batch(new_batch("stored", "asked", "died"), held_for=HOLD)
        assert not await ledger.is_work_due()
        assert await take(harness) == []
        stored, asked, _ = await members(harness, batch)
        assert (stored.state, stored.cached) == (State.COMPLETED, True)
        assert await ledger.settle_wish(asked.wish, DONE)
        await pass_hold(harness)
        assert prompts(await take(harness)) == ["died"]

    # --- said twice -------------------------------------------------------------------------------

    async def test_a_batch_that_is_sent_again_is_the_same_batch(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, new_batch("one", "two", idempotency_key="k", digest="d")
        batch = await ledger.create_batch(asked)
        assert await ledger.create_batch(asked) == batch
        assert (await seen(harness, batch)).total == 2
        assert len(await take(harness)) == 2

    async def test_of_twenty_that_send_it_at_once_all_get_one_batch(self, harness: LedgerHarness) -> None:
        asked = new_batch("one", "two", idempotency_key="k", digest="d")
        made = await asyncio.gather(*(harness.ledger.create_batch(asked) for _ in range(20)))
        assert len(set(made)) == 1
        assert made[0] is not None
        assert len(await take(harness)) == 2

    async def test_a_key_that_stands_for_something_else_is_a_conflict_and_nothing_is_written(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        batch = await ledger.create_batch(new_batch("one", idempotency_key="k", digest="d"))
        assert await ledger.create_batch(new_batch("two", idempotency_key="k", digest="e")) is None
        assert prompts(await take(harness)) == ["one"]
        assert (await seen(harness, batch)).total == 1

    async def test_a_key_is_its_owners_alone(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        first = await ledger.create_batch(new_batch("one", idempotency_key="k", digest="d"))
        other = await ledger.create_batch(new_batch("one", owner=OTHER, idempotency_key="k", digest="e"))
        assert other not in (None, first)

    async def test_a_key_is_free_again_after_a_day(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        first = await ledger.create_batch(new_batch("one", idempotency_key="k", digest="d"))
        await harness.advance(DAY_SECONDS - 3_600)
        assert await ledger.create_batch(new_batch("one", idempotency_key="k", digest="d")) == first
        await harness.advance(2 * 3_600)
        assert await ledger.create_batch(new_batch("two", idempotency_key="k", digest="e")) not in (None, first)

    async def test_batches_without_a_key_are_two(self, harness: LedgerHarness) -> None:
        first = await harness.ledger.create_batch(new_batch("one"))
        assert await harness.ledger.create_batch(new_batch("one")) != first

    # --- how its members do -----------------------------------------------------------------------

    async def test_members_are_told_as_their_generations_are(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        batch = await ledger.create_batch(new_batch("pending", "led", "sent"))
        await lead(ledger, picture_request("led"))
        sent = await lead(ledger, picture_request("sent"))
        assert await ledger.begin_submit(picture_request("sent").generation_key, sent.fence, submit_no=1, provider="p")
        states = [each.state for each in await members(harness, batch)]
        assert states == [State.PENDING, State.PENDING, State.GENERATING]
        assert await counts(harness, batch) == {State.PENDING: 2, State.GENERATING: 1}
        # Money is out, though its leader died.
        await harness.advance(60)
        assert await counts(harness, batch) == {State.PENDING: 2, State.GENERATING: 1}

    async def test_a_settled_member_is_told_as_it_was_settled(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("done", "refused"))
        done, refused = await take(harness)
        await harness.ledger.settle_wish(done.id, DONE)
        await harness.ledger.settle_wish(refused.id, REFUSED)
        assert [(each.state, each.code) for each in await members(harness, batch)] == [
            (State.COMPLETED, None),
            (State.FAILED, "invalid_prompt"),
        ]
        assert (await seen(harness, batch)).is_final

    async def test_a_picture_that_another_made_is_told_before_its_wish_is_settled(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("made"))
        await complete(harness.ledger, picture_request("made"))
        found = await seen(harness, batch)
        assert (found.counts[State.COMPLETED], found.cached, found.is_final) == (1, 0, True)
        assert (await members(harness, batch))[0].state is State.COMPLETED

    async def test_a_refusal_that_another_got_is_told_before_its_wish_is_settled(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        batch = await ledger.create_batch(new_batch("refused", "busy"))
        for prompt, reason in (("refused", FailureClass.MODERATED), ("busy", FailureClass.RATE_LIMITED)):
            held = await lead(ledger, picture_request(prompt))
            key = picture_request(prompt).generation_key
            assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
            assert await ledger.fail(key, held.fence, failure(reason, rest=3_600, billed=False))
        # What may pass is asked for again.
        assert [(each.state, each.code) for each in await members(harness, batch)] == [
            (State.FAILED, "moderated"),
            (State.PENDING, None),
        ]
        assert await counts(harness, batch) == {State.FAILED: 1, State.PENDING: 1}

    async def test_it_is_told_whether_somebody_is_at_work_on_a_member(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        batch = await ledger.create_batch(new_batch("one", "two"))
        assert not (await seen(harness, batch)).is_led
        await take(harness, in_flight=1)
        assert (await seen(harness, batch)).is_led
        await pass_hold(harness)
        assert not (await seen(harness, batch)).is_led
        held = await acquire(ledger, picture_request("two"), lease_duration=HOLD)
        assert isinstance(held, Lead)
        assert await ledger.begin_submit(picture_request("two").generation_key, held.fence, submit_no=1, provider="p")
        assert (await seen(harness, batch)).is_led
        await pass_hold(harness)
        assert not (await seen(harness, batch)).is_led

    # --- canceled ---------------------------------------------------------------------------------

    async def test_canceling_withdraws_what_is_neither_in_flight_nor_paid(self, harness: LedgerHarness) -> None:
        batch = await self._mixed_batch(harness)
        assert await harness.ledger.cancel_batch(batch) == Canceled(withdrawn=2, under_way=2, saved_micro_usd=PRICE)
        states = {str(each.position): each.state.value for each in await members(harness, batch)}
        assert states == {
            "0": "pending",  # taken
            "1": "generating",  # paid, and its leader died
            "2": "completed",
            "3": "canceled",
            "4": "canceled",
        }
        found = await seen(harness, batch)
        assert found.canceled_at is not None
        assert found.canceled_at >= found.created_at
        assert not found.is_final
        await pass_hold(harness)
        assert sorted(prompts(await take(harness))) == ["made", "paid", "wanted"]
        # Whoever had taken it is dead, and nothing was paid for it.
        assert (await members(harness, batch))[0].state is State.CANCELED

    async def test_canceled_again_nothing_more_is_withdrawn(self, harness: LedgerHarness) -> None:
        batch = await self._mixed_batch(harness)
        await harness.ledger.cancel_batch(batch)
        first = await seen(harness, batch)
        await harness.advance(5)
        assert await harness.ledger.cancel_batch(batch) == Canceled(withdrawn=0, under_way=2, saved_micro_usd=0)
        assert await seen(harness, batch) == first

    async def test_canceling_a_batch_that_has_ended_changes_nothing(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("made", "settled"))
        await complete(harness.ledger, picture_request("made"))
        for wish in await take(harness):
            if prompts([wish]) == ["settled"]:
                await harness.ledger.settle_wish(wish.id, REFUSED)
        ended = await seen(harness, batch)
        assert ended.is_final
        assert await harness.ledger.cancel_batch(batch) == Canceled(withdrawn=0, under_way=0, saved_micro_usd=0)
        assert await seen(harness, batch) == ended
        assert ended.canceled_at is None

    async def test_a_batch_that_is_canceled_before_it_begins_is_over(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("one", "two"))
        canceled = await harness.ledger.cancel_batch(batch)
        assert canceled == Canceled(withdrawn=2, under_way=0, saved_micro_usd=2 * PRICE)
        assert (await seen(harness, batch)).is_final
        assert not await harness.ledger.is_work_due()
        assert await harness.ledger.pending_prompts(5) == []

    async def test_a_member_under_way_is_settled_although_its_batch_is_canceled(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("one"))
        [taken] = await take(harness)
        assert (await harness.ledger.cancel_batch(batch)) == Canceled(withdrawn=0, under_way=1, saved_micro_usd=0)
        assert await harness.ledger.settle_wish(taken.id, DONE)
        assert await counts(harness, batch) == {State.COMPLETED: 1}

    async def test_a_member_that_is_put_back_after_its_batch_was_canceled_is_withdrawn_unless_it_is_paid(
        self, harness: LedgerHarness
    ) -> None:
        batch = await harness.ledger.create_batch(new_batch("unpaid", "paid"))
        unpaid, paid = await take(harness)
        held = await lead(harness.ledger, picture_request("paid"))
        assert await harness.ledger.begin_submit(paid.generation_key, held.fence, submit_no=1, provider="painter")
        assert (await harness.ledger.cancel_batch(batch)) == Canceled(withdrawn=0, under_way=2, saved_micro_usd=0)
        for wish in (unpaid, paid):
            assert await harness.ledger.settle_wish(wish.id, Settlement(status=WishStatus.OPEN))
        assert await counts(harness, batch) == {State.CANCELED: 1, State.GENERATING: 1}

    async def test_another_batch_with_the_same_pictures_goes_on(self, harness: LedgerHarness) -> None:
        first = await harness.ledger.create_batch(new_batch("one"))
        second = await harness.ledger.create_batch(new_batch("one", owner=OTHER))
        assert await harness.ledger.cancel_batch(first) == Canceled(withdrawn=1, under_way=0, saved_micro_usd=0)
        assert await counts(harness, second) == {State.PENDING: 1}
        assert prompts(await take(harness)) == ["one"]

    async def _mixed_batch(self, harness: LedgerHarness) -> UUID:
        """Five members: taken, paid by a leader that died, stored since, wanted by somebody else too, and untouched."""
        ledger = harness.ledger
        batch: UUID = await ledger.create_batch(new_batch("taken", "paid", "made", "wanted", "untouched"))
        held = await lead(ledger, picture_request("paid"))
        key = picture_request("paid").generation_key
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="painter")
        await complete(ledger, picture_request("made"))
        await make(harness, "wanted", owner=OTHER)
        await harness.advance(60)
        # By order of urgency the single wish comes first.
        assert sorted(prompts(await take(harness, in_flight=2))) == ["taken", "wanted"]
        return batch

    async def test_what_warming_was_good_for_is_counted_once_a_picture(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await complete(ledger, picture_request("stored"))
        warm = ("used", "unused", "stored", "failed")
        await ledger.create_batch(new_batch(*warm, purpose=Purpose.WARM))
        await harness.advance(1)
        used = picture_request("used")
        held = await lead(ledger, used)
        await ledger.begin_submit(used.generation_key, held.fence, submit_no=1, provider="painter")
        await harness.advance(1)
        # The run is killed and run again, and then the picture comes.
        await ledger.create_batch(new_batch(*warm, purpose=Purpose.WARM))
        await ledger.intend_upload(used.generation_key, held.fence, upload("used"), usage={})
        await ledger.complete(used.generation_key, held.fence, upload("used"), url=None)
        await complete(ledger, picture_request("unused"), "unused")
        await ledger.create_batch(new_batch("of no warming"))
        await complete(ledger, picture_request("of no warming"), "of no warming")
        for wish in await take(harness):
            await ledger.settle_wish(wish.id, REFUSED if wish.recipe["prompt"] == "failed" else DONE)
        nobody = await ledger.warming_stats()
        assert (nobody.pictures, nobody.asked_for, nobody.requests) == (2, 0, 0)
        await ledger.record_usage(
            [request_count(picture_request(prompt), Outcome.HIT, 3) for prompt in ("used", "stored", "of no warming")]
        )
        stats = await ledger.warming_stats()
        assert (stats.pictures, stats.asked_for, stats.requests) == (2, 1, 3)
        assert (stats.estimated_micro_usd, stats.unused_micro_usd) == (2 * PRICE, PRICE)
