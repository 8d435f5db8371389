"""What every ledger promises of an upload that is written ahead, of its usage, and of the original it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.ledger_answers import Hit
from copperplate.model import Job, Phase
from copperplate.recipes.objects import original_key
from tests.contract.ledger.harness import LEASE, PNG, WEBP, acquire, complete, discarded, failure, lead
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class UploadContract:
    """An upload is intended, then completed; usage of a submit counts once."""

    async def test_successor_finds_the_intended_upload(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await ledger.intend_upload(key, held.fence, upload("a"), usage={})
        assert await ledger.intend_upload(key, held.fence, upload("a"), usage={})
        await harness.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert (successor.phase, successor.intent) == (Phase.UPLOADING, upload("a"))

    async def test_usage_is_written_ahead_with_the_upload_and_stays(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        assert await harness.usage(key) == {}
        await ledger.intend_upload(key, held.fence, upload("a"), usage={"text_in": 10, "out": 430})
        await harness.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert await ledger.complete(key, successor.fence, upload("a"), url=None)
        assert await harness.usage(key) == {"text_in": 10, "out": 430}

    async def test_usage_of_one_submit_counts_once_however_often_it_is_told(self, harness: LedgerHarness) -> None:
        ledger, key, usage = harness.ledger, picture_request().generation_key, {"micro_units": 1_500_000}
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        for name in ("a", "a", "b"):
            assert await ledger.intend_upload(key, held.fence, upload(name), usage=usage)
        await harness.advance(LEASE.total_seconds() + 1)
        # The successor finds no object, and collects the same job once more.
        successor = await lead(ledger, picture_request())
        assert await ledger.intend_upload(key, successor.fence, upload("c"), usage=usage)
        assert await harness.usage(key) == usage

    async def test_usage_of_every_submit_counts(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        for submit_no, usage in ((1, {"text_in": 10, "out": 430}), (2, {"text_in": 10, "out": 500, "image_in": 1})):
            assert await ledger.begin_submit(key, held.fence, submit_no=submit_no, provider="p")
            assert await ledger.intend_upload(key, held.fence, upload(str(submit_no)), usage=usage)
        await ledger.fail(key, held.fence, failure(rest=1))
        await harness.advance(2)
        again = await lead(ledger, picture_request())
        await ledger.begin_submit(key, again.fence, submit_no=1, provider="p")
        assert await ledger.intend_upload(key, again.fence, upload("3"), usage={"out": 70})
        assert await harness.usage(key) == {"text_in": 20, "out": 1_000, "image_in": 1}

    async def test_completed_generation_is_a_hit_on_its_original(self, harness: LedgerHarness) -> None:
        entry = await complete(harness.ledger, picture_request())
        assert entry.is_original
        assert entry.key == original_key(picture_request().generation_key)
        for request in (picture_request(), picture_request(picture_format=PNG), picture_request(picture_format=WEBP)):
            assert await acquire(harness.ledger, request) == Hit(entry=entry)
            assert await harness.ledger.peek(request.generation_key, request.rendition_key) == Hit(entry=entry)

    async def test_complete_that_is_said_twice_gives_the_same_entry(self, harness: LedgerHarness) -> None:
        entry = await complete(harness.ledger, picture_request())
        again = await harness.ledger.complete(picture_request().generation_key, 1, upload("original"), url=None)
        assert again == entry
        assert (await harness.ledger.generation_stats()).total_completed == 1

    async def test_object_of_a_stale_leader_is_discarded_unless_adopted(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        old = await lead(ledger, picture_request())
        await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, old.fence, upload("adopted"), usage={})
        await harness.advance(LEASE.total_seconds() + 1)
        new = await lead(ledger, picture_request())
        # The zombie speaks first, then the successor completes with the object it adopted.
        assert await ledger.complete(key, old.fence, upload("adopted"), url=None) is None
        assert await ledger.complete(key, old.fence, upload("lost"), url=None) is None
        assert await ledger.complete(key, new.fence, upload("adopted"), url=None) is not None
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("lost").path}

    async def test_replaced_intent_is_discarded(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("first"), usage={})
        await ledger.intend_upload(key, held.fence, upload("second"), usage={})
        await ledger.complete(key, held.fence, upload("second"), url=None)
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("first").path}
