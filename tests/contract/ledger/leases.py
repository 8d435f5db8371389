"""What every ledger promises of leases and fences."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.ledger_answers import Lead, Miss, Wait
from copperplate.model import Job, Phase
from tests.contract.ledger.harness import LEASE, LONG_LEASE, acquire, failure, lead, peek
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class LeaseContract:
    """One leader for each key, and writes of that leader only."""

    async def test_first_caller_leads_and_the_second_waits(self, harness: LedgerHarness) -> None:
        first = await acquire(harness.ledger, picture_request())
        second = await acquire(harness.ledger, picture_request())
        assert isinstance(first, Lead)
        assert (first.phase, first.attempt, first.submit_no) == (Phase.CLAIMED, 1, 0)
        assert isinstance(second, Wait)
        assert timedelta(0) < second.lease_left <= LEASE

    async def test_holder_that_asks_again_gets_the_same_lead_and_fence(self, harness: LedgerHarness) -> None:
        leader = uuid4()
        first = await harness.ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        again = await harness.ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        assert isinstance(first, Lead)
        assert again == first

    async def test_lease_of_a_holder_that_asks_again_runs_from_there(self, harness: LedgerHarness) -> None:
        leader, most = uuid4(), 0.75 * LONG_LEASE.total_seconds()
        first = await harness.ledger.acquire(picture_request(), leader=leader, lease_duration=LONG_LEASE)
        await harness.advance(most)
        assert await harness.ledger.acquire(picture_request(), leader=leader, lease_duration=LONG_LEASE) == first
        await harness.advance(most)
        assert isinstance(await acquire(harness.ledger, picture_request()), Wait)

    async def test_of_three_hundred_callers_at_once_exactly_one_leads(self, harness: LedgerHarness) -> None:
        results = await asyncio.gather(
            *(acquire(harness.ledger, picture_request(), lease_duration=LONG_LEASE) for _ in range(300))
        )
        assert Counter(type(result) for result in results) == {Lead: 1, Wait: 299}

    async def test_different_pictures_have_different_leaders_and_rising_fences(self, harness: LedgerHarness) -> None:
        first = await lead(harness.ledger, picture_request("one"))
        second = await lead(harness.ledger, picture_request("two"))
        assert second.fence > first.fence

    async def test_caller_that_only_looks_learns_that_it_is_free(self, harness: LedgerHarness) -> None:
        assert await peek(harness.ledger, picture_request()) == Miss()
        assert isinstance(await acquire(harness.ledger, picture_request()), Lead)

    async def test_dead_lease_is_taken_over_with_a_higher_fence_and_the_same_phase(
        self, harness: LedgerHarness
    ) -> None:
        first = await lead(harness.ledger, picture_request())
        assert await harness.ledger.begin_submit(
            picture_request().generation_key, first.fence, submit_no=1, provider="p"
        )
        await harness.advance(LEASE.total_seconds() + 1)
        assert await harness.ledger.peek(picture_request().generation_key, picture_request().rendition_key) == Miss()
        second = await lead(harness.ledger, picture_request())
        assert second.fence > first.fence
        assert (second.phase, second.submit_no, second.attempt) == (Phase.SUBMITTING, 1, 1)

    async def test_of_fifty_callers_at_a_dead_lease_exactly_one_takes_over(self, harness: LedgerHarness) -> None:
        await lead(harness.ledger, picture_request())
        await harness.advance(LEASE.total_seconds() + 1)
        results = await asyncio.gather(
            *(acquire(harness.ledger, picture_request(), lease_duration=LONG_LEASE) for _ in range(50))
        )
        assert Counter(type(result) for result in results) == {Lead: 1, Wait: 49}

    async def test_heartbeat_keeps_the_lease(self, harness: LedgerHarness) -> None:
        most = 0.75 * LONG_LEASE.total_seconds()
        held = await acquire(harness.ledger, picture_request(), lease_duration=LONG_LEASE)
        assert isinstance(held, Lead)
        await harness.advance(most)
        assert await harness.ledger.heartbeat(picture_request().generation_key, held.fence, LONG_LEASE)
        await harness.advance(most)
        assert isinstance(await acquire(harness.ledger, picture_request()), Wait)

    async def test_lease_that_is_given_up_is_free_at_once_and_its_fence_is_stale(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        assert await harness.ledger.heartbeat(picture_request().generation_key, held.fence, timedelta(0))
        successor = await lead(harness.ledger, picture_request())
        assert successor.fence > held.fence
        assert not await harness.ledger.heartbeat(picture_request().generation_key, held.fence, LEASE)

    async def test_every_write_of_a_stale_fence_is_refused(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await harness.advance(LEASE.total_seconds() + 1)
        new = await lead(ledger, picture_request())
        assert not await ledger.heartbeat(key, old.fence, LEASE)
        assert not await ledger.begin_submit(key, old.fence, submit_no=2, provider="p")
        assert not await ledger.begin_decode(key, old.fence, decode_no=1)
        assert not await ledger.intend_upload(key, old.fence, upload("stale"), usage={})
        assert await ledger.complete(key, old.fence, upload("stale"), url=None) is None
        assert not await ledger.fail(key, old.fence, failure())
        assert await ledger.heartbeat(key, new.fence, LEASE)

    async def test_write_for_an_unknown_key_is_refused(self, harness: LedgerHarness) -> None:
        key = picture_request("nobody asked").generation_key
        assert not await harness.ledger.heartbeat(key, 1, LEASE)
        assert not await harness.ledger.note_request(key, 1, Job(request_id="r"))
        assert await harness.ledger.complete(key, 1, upload("x"), url=None) is None
