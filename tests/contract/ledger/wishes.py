"""What every ledger promises of wishes: kept, taken, held, settled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.budgets import Charge
from copperplate.ledger_answers import Lead
from copperplate.model import Outcome
from copperplate.wishes import Priority, Settlement, WishStatus
from tests.contract.ledger.api_keys import new_key
from tests.contract.ledger.credits import ALICE
from tests.contract.ledger.harness import LONG_LEASE, acquire, complete, request_count
from tests.contract.ledger.wishing import (
    DAY_SECONDS,
    HOLD,
    OTHER,
    OWNER,
    make,
    members,
    memoji,
    new_batch,
    new_wish,
    pass_hold,
    prompts,
    spending,
    take,
)
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness

DONE = Settlement(status=WishStatus.COMPLETED)
REFUSED = Settlement(status=WishStatus.FAILED, code="generation_failed")
WITHDRAWN = Settlement(status=WishStatus.CANCELED)


async def submit(harness: LedgerHarness, prompt: str) -> None:
    """Lead a picture for as long as a hold, and send its submit."""
    held = await acquire(harness.ledger, picture_request(prompt), lease_duration=HOLD)
    assert isinstance(held, Lead), held
    key = picture_request(prompt).generation_key
    assert await harness.ledger.begin_submit(key, held.fence, submit_no=1, provider="p")


class WishContract:
    """A wish is made once, taken by one at a time, and settled."""

    async def test_a_wish_is_its_makers_until_the_hold_is_over(self, harness: LedgerHarness) -> None:
        charge = Charge(user=ALICE, credits=2)
        wanted = new_wish(charge=charge, paths=("/a.jpg?w=64", "/a.webp"), echo={"title": "Sun"})
        wish = await harness.ledger.make_wish(wanted, held_for=HOLD)
        assert await take(harness) == []
        await pass_hold(harness)
        [taken] = await take(harness)
        assert (taken.id, taken.generation_key, dict(taken.recipe)) == (
            wish,
            wanted.generation_key,
            dict(wanted.recipe),
        )
        assert (taken.owner, taken.spending, taken.charge, taken.tries) == (OWNER, spending(), charge, 1)
        assert taken.paths == wanted.paths

    async def test_a_wish_without_spending_and_charge_has_none_when_it_is_taken(self, harness: LedgerHarness) -> None:
        await make(harness, "free", spending=None)
        [taken] = await take(harness)
        assert (taken.spending, taken.charge) == (None, None)

    async def test_an_open_wish_of_the_same_owner_for_the_same_picture_is_that_wish(
        self, harness: LedgerHarness
    ) -> None:
        first = await make(harness, "picture")
        assert await harness.ledger.make_wish(new_wish("picture"), held_for=HOLD) == first
        # Its maker begins at once, again.
        assert await take(harness) == []
        assert await make(harness, "picture", owner=OTHER) != first
        assert await make(harness, "another") != first
        await harness.ledger.settle_wish(first, DONE)
        assert await make(harness, "picture") != first

    async def test_a_member_of_a_batch_is_not_the_wish_of_its_owner(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_batch(new_batch("picture"))
        [member] = await take(harness)
        single = await make(harness, "picture")
        assert single != member.id
        assert [wish.id for wish in await take(harness)] == [single]

    async def test_of_twenty_makers_at_once_all_get_one_wish(self, harness: LedgerHarness) -> None:
        made = await asyncio.gather(*(make(harness, "picture") for _ in range(20)))
        assert len(set(made)) == 1
        assert len(await take(harness)) == 1

    async def test_of_twenty_takers_at_once_none_gets_what_another_has(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_batch(new_batch(*(f"picture {n}" for n in range(30))))
        takes = await asyncio.gather(*(take(harness) for _ in range(20)))
        taken = [wish.id for wishes in takes for wish in wishes]
        assert (len(taken), len(set(taken))) == (30, 30)

    async def test_twenty_takers_at_once_keep_to_the_bound(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_batch(new_batch(*(f"picture {n}" for n in range(30))))
        takes = await asyncio.gather(*(take(harness, in_flight=4) for _ in range(20)))
        taken = [wish for wishes in takes for wish in wishes]
        assert len(taken) == 4
        assert await take(harness, in_flight=4) == []
        await harness.ledger.settle_wish(taken[0].id, DONE)
        assert len(await take(harness, in_flight=4)) == 1
        assert await take(harness, in_flight=0) == []

    async def test_no_more_are_taken_than_the_limit(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_batch(new_batch(*(f"picture {n}" for n in range(5))))
        takes = [
            await harness.ledger.take_wishes(in_flight=in_flight, held_for=HOLD, limit=limit)
            for in_flight, limit in ((4, 0), (4, 1), (4, 2), (4, 2), (9, None))
        ]
        assert [len(taken) for taken in takes] == [0, 1, 2, 1, 1]

    async def test_a_hold_that_ran_out_is_taken_again_and_counted(self, harness: LedgerHarness) -> None:
        wish = await make(harness, "picture")
        assert [(each.id, each.tries) for each in await take(harness, in_flight=1)] == [(wish, 1)]
        await pass_hold(harness)
        assert [(each.id, each.tries) for each in await take(harness, in_flight=1)] == [(wish, 2)]

    async def test_a_wish_is_in_flight_while_its_generation_is_led(self, harness: LedgerHarness) -> None:
        await make(harness, "led")
        assert prompts(await take(harness)) == ["led"]
        await make(harness, "other")
        long = 3 * LONG_LEASE
        assert isinstance(await acquire(harness.ledger, picture_request("led"), lease_duration=long), Lead)
        assert await take(harness, in_flight=1) == []
        assert prompts(await take(harness)) == ["other"]
        await pass_hold(harness)
        assert prompts(await take(harness)) == ["other"]

    async def test_two_wishes_for_one_generation_are_one_in_flight(self, harness: LedgerHarness) -> None:
        for owner in (OWNER, OTHER):
            await make(harness, "led", owner=owner)
        assert prompts(await take(harness)) == ["led", "led"]
        await make(harness, "other")
        assert isinstance(await acquire(harness.ledger, picture_request("led"), lease_duration=HOLD), Lead)
        assert await take(harness, in_flight=1) == []
        assert prompts(await take(harness, in_flight=2)) == ["other"]

    async def test_what_callers_own_calls_make_takes_no_room_of_the_steps(self, harness: LedgerHarness) -> None:
        for prompt in ("held", "led"):
            await harness.ledger.make_wish(new_wish(prompt), held_for=HOLD)
        assert isinstance(await acquire(harness.ledger, picture_request("led"), lease_duration=HOLD), Lead)
        await make(harness, "waiting")
        assert prompts(await take(harness, in_flight=1)) == ["waiting"]
        assert await take(harness, in_flight=1) == []

    async def test_a_wish_that_is_promised_anew_is_due_when_its_hold_is_over(self, harness: LedgerHarness) -> None:
        wish = await make(harness, "picture")
        await take(harness)
        await harness.advance(DAY_SECONDS - 3_600)
        rest = Settlement(status=WishStatus.OPEN, retry_after=timedelta(days=1))
        assert await harness.ledger.settle_wish(wish, rest)
        assert await harness.ledger.make_wish(new_wish("picture"), held_for=HOLD) == wish
        # It has its day again.
        await harness.advance(2 * 3_600)
        assert [each.id for each in await take(harness)] == [wish]

    async def test_a_wish_whose_leader_died_is_due(self, harness: LedgerHarness) -> None:
        await make(harness, "dead")
        assert isinstance(await acquire(harness.ledger, picture_request("dead"), lease_duration=HOLD), Lead)
        assert not await harness.ledger.is_work_due()
        await pass_hold(harness)
        assert await harness.ledger.is_work_due()
        assert prompts(await take(harness, in_flight=1)) == ["dead"]

    async def test_a_wish_that_is_put_back_rests_and_is_due_again(self, harness: LedgerHarness) -> None:
        wish = await make(harness, "picture")
        await take(harness)
        back = Settlement(status=WishStatus.OPEN, retry_after=HOLD)
        assert await harness.ledger.settle_wish(wish, back)
        assert await take(harness) == []
        await pass_hold(harness)
        assert [(each.id, each.tries) for each in await take(harness)] == [(wish, 2)]

    async def test_a_wish_that_is_put_back_without_a_pause_is_due_at_once(self, harness: LedgerHarness) -> None:
        wish = await make(harness, "picture")
        await take(harness)
        assert await harness.ledger.settle_wish(wish, Settlement(status=WishStatus.OPEN))
        assert [each.id for each in await take(harness, in_flight=1)] == [wish]

    async def test_a_pause_does_not_count_as_in_flight(self, harness: LedgerHarness) -> None:
        wish = await make(harness, "resting")
        await take(harness)
        await harness.ledger.settle_wish(wish, Settlement(status=WishStatus.OPEN, retry_after=HOLD))
        await make(harness, "next")
        assert prompts(await take(harness, in_flight=1)) == ["next"]

    async def test_a_wish_ends_once_and_is_never_taken_again(self, harness: LedgerHarness) -> None:
        for settlement in (DONE, REFUSED, WITHDRAWN):
            wish = await make(harness, f"picture {settlement.status}")
            await take(harness)
            assert await harness.ledger.settle_wish(wish, settlement)
            for again in (settlement, DONE, REFUSED, Settlement(status=WishStatus.OPEN)):
                assert not await harness.ledger.settle_wish(wish, again)
        await pass_hold(harness)
        assert await take(harness) == []
        assert await harness.ledger.pending_prompts(10) == []

    async def test_an_unknown_wish_is_not_settled(self, harness: LedgerHarness) -> None:
        assert not await harness.ledger.settle_wish(123_456, DONE)

    async def test_the_most_urgent_is_taken_first_and_of_those_the_first_made(self, harness: LedgerHarness) -> None:
        await make(harness, "low", priority=Priority.LOW)
        await make(harness, "first")
        await make(harness, "second")
        assert prompts(await take(harness, in_flight=1)) == ["first"]
        assert prompts(await take(harness, in_flight=3)) == ["second", "low"]

    async def test_what_was_paid_for_and_lost_its_leader_is_taken_first(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await ledger.create_batch(new_batch("low", "low paid"))
        await ledger.create_batch(new_batch(wishes=(new_wish("member"), new_wish("member paid"))))
        await make(harness, "alone")
        await ledger.make_wish(new_wish("told"), held_for=HOLD)
        await take(harness)
        for prompt in ("low paid", "member paid", "told"):
            await submit(harness, prompt)
        await pass_hold(harness)
        await make(harness, "new")
        order = prompts(await take(harness, in_flight=9))
        assert order == ["told", "member paid", "alone", "new", "member", "low paid", "low"]

    async def test_what_is_put_back_paid_is_taken_first(self, harness: LedgerHarness) -> None:
        await harness.ledger.create_batch(new_batch("one", "two", "three"))
        one, two = await take(harness, in_flight=2)
        await submit(harness, "two")
        await pass_hold(harness)
        for wish in (one, two):
            await harness.ledger.settle_wish(wish.id, Settlement(status=WishStatus.OPEN))
        assert prompts(await take(harness, in_flight=9)) == ["two", "three", "one"]

    async def test_jobs_that_outlast_their_workers_are_the_only_ones_at_the_provider(
        self, harness: LedgerHarness
    ) -> None:
        await harness.ledger.create_batch(new_batch(*(f"picture {n}" for n in range(12))))
        sent: set[str] = set()
        for _ in range(3):
            taken = prompts(await take(harness, in_flight=4))
            assert len(taken) == 4
            for prompt in set(taken) - sent:
                await submit(harness, prompt)
            sent.update(taken)
            # The worker is killed while its jobs go on.
            await pass_hold(harness)
        assert sent == {f"picture {n}" for n in range(4)}

    async def test_a_wish_that_stayed_open_for_a_day_is_abandoned(self, harness: LedgerHarness) -> None:
        batch = await harness.ledger.create_batch(new_batch("old"))
        old = await make(harness, "old")
        await harness.advance(DAY_SECONDS + 60)
        new = await make(harness, "new")
        assert [wish.id for wish in await take(harness)] == [new]
        assert not await harness.ledger.settle_wish(old, DONE)
        [member] = await harness.ledger.batch_members(batch)
        assert (member.state, member.code) == ("failed", "abandoned")

    async def test_wishes_of_a_key_that_is_over_are_unauthorized_unless_they_are_paid(
        self, harness: LedgerHarness
    ) -> None:
        ledger, batches = harness.ledger, {}
        for name, ends in (("good", {}), ("revoked", {}), ("expired", {"expires_in": HOLD})):
            key = await ledger.create_api_key(new_key(f"{name:0<8}", **ends))
            batches[name] = await ledger.create_batch(new_batch(f"{name} new", f"{name} paid", owner=f"key:{key.id}"))
        await take(harness)
        for name in batches:
            await submit(harness, f"{name} paid")
        await pass_hold(harness)
        await ledger.revoke_api_key("revoked0")
        assert prompts(await take(harness)) == ["good paid", "revoked paid", "expired paid", "good new"]
        codes = {name: [each.code for each in await members(harness, batch)] for name, batch in batches.items()}
        over = ["unauthorized", None]
        assert codes == {"good": [None, None], "revoked": over, "expired": over}

    async def test_a_wish_that_stayed_open_for_a_day_is_not_abandoned_where_its_picture_is_stored(
        self, harness: LedgerHarness
    ) -> None:
        batch = await harness.ledger.create_batch(new_batch("made", "never made"))
        await complete(harness.ledger, picture_request("made"))
        await harness.advance(DAY_SECONDS + 60)
        assert await take(harness) == []
        told = await members(harness, batch)
        assert [(each.state, each.code) for each in told] == [("completed", None), ("failed", "abandoned")]

    async def test_what_is_being_made_is_not_abandoned(self, harness: LedgerHarness) -> None:
        wish = await make(harness, "slow")
        await harness.advance(DAY_SECONDS + 60)
        assert isinstance(await acquire(harness.ledger, picture_request("slow"), lease_duration=HOLD), Lead)
        assert await take(harness) == []
        assert await harness.ledger.settle_wish(wish, DONE)

    async def test_work_is_due_while_a_wish_is(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        assert not await ledger.is_work_due()
        held = await ledger.make_wish(new_wish("held"), held_for=HOLD)
        assert not await ledger.is_work_due()
        await make(harness, "due")
        assert await ledger.is_work_due()
        await take(harness)
        assert not await ledger.is_work_due()
        await pass_hold(harness)
        assert await ledger.is_work_due()
        for wish in await take(harness):
            await ledger.settle_wish(wish.id, DONE)
        assert not await ledger.settle_wish(held, DONE)
        await pass_hold(harness)
        assert not await ledger.is_work_due()

    async def test_recorded_usage_answers_whether_work_is_due(self, harness: LedgerHarness) -> None:
        ledger, batch = harness.ledger, uuid4()
        uses = [request_count(picture_request(), Outcome.HIT, 1)]
        assert await ledger.record_usage(uses, batch=batch) is False
        await make(harness, "due")
        # Also where nothing is counted, and where it was counted before.
        assert await ledger.record_usage([]) is True
        assert await ledger.record_usage(uses, batch=batch) is True
        assert (await ledger.generation_stats()).total_requests == 1
        await take(harness)
        assert await ledger.record_usage([]) is False

    async def test_pending_prompts_are_of_open_wishes_in_their_order(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make(harness, "low", priority=Priority.LOW)
        await ledger.make_wish(new_wish(memoji()), held_for=HOLD)
        await make(harness, "usual")
        done = await make(harness, "done")
        await ledger.settle_wish(done, DONE)
        expected = [
            (memoji().generation_key, "memoji"),
            (picture_request("usual").generation_key, "usual"),
            (picture_request("low").generation_key, "low"),
        ]
        assert [tuple(each) for each in await ledger.pending_prompts(10)] == expected
        assert [tuple(each) for each in await ledger.pending_prompts(2)] == expected[:2]

    async def test_a_wish_is_only_a_reminder_and_what_is_stored_is_a_hit(self, harness: LedgerHarness) -> None:
        await make(harness, "picture")
        await complete(harness.ledger, picture_request("picture"))
        # Whoever takes it asks for it and finds it.
        assert prompts(await take(harness)) == ["picture"]

    async def test_wishes_of_a_forgotten_user_go_with_them(self, harness: LedgerHarness) -> None:
        ledger, owner = harness.ledger, f"user:{ALICE}"
        await ledger.grant_credits(ALICE, 1, "g")
        batch = await ledger.create_batch(new_batch("in a batch", owner=owner))
        await make(harness, "alone", owner=owner)
        assert await ledger.forget_user(ALICE)
        # A token of theirs may still be good.
        await make(harness, "later", owner=owner)
        assert await take(harness) == []
        assert await ledger.pending_prompts(10) == []
        found = await ledger.find_batch(batch)
        assert found is None or (found.is_final and found.owner != owner)
