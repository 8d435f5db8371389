"""What every ledger promises of submits, of the jobs they begin and of decoding what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.ledger_answers import Lead
from copperplate.model import Job, Phase
from tests.contract.ledger.harness import LEASE, lead
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class SubmitContract:
    """A submit is announced before it is made, and a successor finds how far its predecessor came."""

    async def test_submit_that_is_announced_twice_counts_once(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert (await ledger.generation_stats()).total_api_calls_made == 1

    async def test_submit_numbers_cannot_be_skipped(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        assert not await harness.ledger.begin_submit(
            picture_request().generation_key, held.fence, submit_no=2, provider="p"
        )

    async def test_successor_finds_the_noted_job(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        job = Job(request_id="r-1", urls={"status_url": "https://queue.example/r-1"})
        held = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await ledger.note_request(key, held.fence, job)
        await harness.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert (successor.phase, successor.job) == (Phase.SUBMITTED, job)

    async def test_late_job_of_a_stale_leader_is_kept_only_while_none_is_known(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await harness.advance(LEASE.total_seconds() + 1)
        await lead(ledger, picture_request())
        assert not await ledger.note_request(key, old.fence, Job(request_id="late"))
        assert not await ledger.note_request(key, old.fence, Job(request_id="later"))
        await harness.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert successor.job == Job(request_id="late")

    async def test_submit_is_refused_while_a_job_is_known_that_can_be_collected(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        assert await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await harness.advance(LEASE.total_seconds() + 1)
        leader = uuid4()
        new = await ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        assert isinstance(new, Lead)
        await ledger.note_request(key, old.fence, Job(request_id="late"))
        assert not await ledger.begin_submit(key, new.fence, submit_no=2, provider="p")
        again = await ledger.acquire(picture_request(), leader=leader, lease_duration=LEASE)
        assert isinstance(again, Lead)
        assert again.job == Job(request_id="late")

    async def test_leader_that_died_decoding_leaves_the_number_and_a_repeat_counts_once(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        for number in (1, 2):
            held = await lead(ledger, picture_request())
            assert held.decode_no == number - 1
            assert number > 1 or await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
            assert not await ledger.begin_decode(key, held.fence, decode_no=number + 1)
            assert await ledger.begin_decode(key, held.fence, decode_no=number)
            assert await ledger.begin_decode(key, held.fence, decode_no=number)
            await harness.advance(LEASE.total_seconds() + 1)
            assert not await ledger.begin_decode(key, held.fence + 1, decode_no=number)
        assert (await lead(ledger, picture_request())).decode_no == 2

    async def test_decoding_that_ended_well_is_forgotten(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.begin_decode(key, held.fence, decode_no=1)
        await ledger.intend_upload(key, held.fence, upload("a"), usage={})
        await harness.advance(LEASE.total_seconds() + 1)
        assert (await lead(ledger, picture_request())).decode_no == 0

    async def test_submit_that_is_announced_again_late_undoes_no_later_step(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"out": 430})
        assert await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"out": 430})
        assert await harness.usage(key) == {"out": 430}
        await harness.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert (successor.phase, successor.intent) == (Phase.UPLOADING, upload("a"))
