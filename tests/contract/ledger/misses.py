"""What every ledger promises of a miss: two objects, written ahead and recorded together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.ledger_answers import Hit, Lead
from copperplate.model import PictureFormat
from tests.contract.ledger.harness import LEASE, acquire, complete, discarded, lead, record
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Ledger
    from tests.contract.ledger.harness import LedgerHarness

WEBP = PictureFormat.WEBP


async def complete_both(ledger: Ledger, request: PictureRequest, name: str) -> Entry | None:
    """Lead and complete a generation together with a rendition called `name`."""
    held = await lead(ledger, request)
    key, fence = request.generation_key, held.fence
    stored = rendition(request, name)
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="painter")
    assert await ledger.intend_upload(key, fence, upload("original"), usage={}, rendition_paths=[stored.path])
    return await ledger.complete(key, fence, upload("original"), url=None, renditions=[stored])


class MissContract:
    """An original and the rendition its leader was asked for, recorded in one."""

    async def test_original_and_rendition_are_completed_in_one(self, harness: LedgerHarness) -> None:
        entry = await complete_both(harness.ledger, picture_request(), "jpg")
        assert entry is not None
        assert (entry.key, entry.path, entry.is_original) == (
            picture_request().rendition_key,
            upload("jpg", "jpg").path,
            False,
        )
        assert (entry.digest, entry.size_bytes, entry.format) == (upload("jpg", "jpg").digest, 1000, "jpg")
        assert await acquire(harness.ledger, picture_request()) == Hit(entry=entry)
        other = await acquire(harness.ledger, picture_request(picture_format=WEBP))
        assert isinstance(other, Hit)
        assert (other.entry.is_original, other.entry.path) == (True, upload("original").path)
        stats = await harness.ledger.kind_stats("image")
        assert (stats.pictures, stats.stored_bytes) == (1, 2_000)
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == set()

    async def test_both_that_are_intended_and_completed_twice_are_the_same_entry(self, harness: LedgerHarness) -> None:
        ledger, key, stored = harness.ledger, picture_request().generation_key, rendition(picture_request(), "jpg")
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        for _ in range(2):
            assert await ledger.intend_upload(key, held.fence, upload("a"), usage={}, rendition_paths=[stored.path])
        answers = [await ledger.complete(key, held.fence, upload("a"), url=None, renditions=[stored]) for _ in range(2)]
        assert answers[0] is not None
        assert answers == [answers[0], answers[0]]
        assert (await ledger.generation_stats()).total_completed == 1
        assert (await ledger.kind_stats("image")).pictures == 1
        await harness.advance(3_700)
        assert await discarded(ledger) == set()

    async def test_rendition_of_a_leader_that_died_is_discarded_and_its_original_adopted(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key, stored = harness.ledger, picture_request().generation_key, rendition(picture_request(), "jpg")
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("a"), usage={}, rendition_paths=[stored.path])
        await harness.advance(LEASE.total_seconds() + 1)
        successor = await lead(ledger, picture_request())
        assert successor.intent == upload("a")
        original = await ledger.complete(key, successor.fence, upload("a"), url=None)
        assert original is not None
        assert original.is_original
        # What the dead leader says late changes nothing: its picture stands, and answers for it.
        assert await ledger.complete(key, held.fence, upload("a"), url=None, renditions=[stored]) == original
        await harness.advance(3_700)
        [(identity, _, path)] = await ledger.claim_discarded(10)
        assert path == stored.path
        assert await ledger.forget_discarded([identity]) == 1
        # It slept for longer than the grace, and stored its rendition after the removal.
        assert await ledger.complete(key, held.fence, upload("a"), url=None, renditions=[stored]) == original
        await harness.advance(3_700)
        assert await discarded(ledger) == {stored.path}

    async def test_both_objects_of_a_stale_leader_are_discarded(self, harness: LedgerHarness) -> None:
        ledger, key, stored = harness.ledger, picture_request().generation_key, rendition(picture_request(), "jpg")
        old = await lead(ledger, picture_request())
        await ledger.begin_submit(key, old.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, old.fence, upload("lost"), usage={}, rendition_paths=[stored.path])
        await harness.advance(LEASE.total_seconds() + 1)
        new = await lead(ledger, picture_request())
        await ledger.begin_submit(key, new.fence, submit_no=2, provider="p")
        await ledger.intend_upload(key, new.fence, upload("kept"), usage={})
        await harness.advance(3_700)
        identities = [identity for identity, _, _ in await ledger.claim_discarded(10)]
        assert await ledger.forget_discarded(identities) == 2
        # It slept for longer than the grace, and stored both after their removal.
        assert await ledger.complete(key, old.fence, upload("lost"), url=None, renditions=[stored]) is None
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("lost").path, stored.path}

    async def test_rendition_whose_removal_has_begun_leaves_the_original_alone(self, harness: LedgerHarness) -> None:
        ledger, key, stored = harness.ledger, picture_request().generation_key, rendition(picture_request(), "jpg")
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("a"), usage={}, rendition_paths=[stored.path])
        await harness.advance(3_700)
        [(identity, _, path)] = await ledger.claim_discarded(10)
        assert path == stored.path
        entry = await ledger.complete(key, held.fence, upload("a"), url=None, renditions=[stored])
        assert entry is not None
        assert entry.is_original
        assert await ledger.complete(key, held.fence, upload("a"), url=None, renditions=[stored]) == entry
        assert await acquire(ledger, picture_request()) == Hit(entry=entry)
        assert await ledger.forget_discarded([identity]) == 1

    async def test_rendition_that_was_not_written_ahead_is_not_recorded(self, harness: LedgerHarness) -> None:
        ledger, key, stored = harness.ledger, picture_request().generation_key, rendition(picture_request(), "jpg")
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("a"), usage={})
        entry = await ledger.complete(key, held.fence, upload("a"), url=None, renditions=[stored])
        assert entry is not None
        assert entry.is_original
        await harness.advance(3_700)
        assert await discarded(ledger) == {stored.path}

    async def test_complete_that_is_repeated_answers_the_rendition_that_stands_by_then(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key, stored = harness.ledger, picture_request().generation_key, rendition(picture_request(), "ours")
        original = await complete(ledger, picture_request(), "a")
        theirs = await record(ledger, original, picture_request(), "theirs")
        assert theirs is not None
        assert await ledger.complete(key, 1, upload("a"), url=None, renditions=[stored]) == theirs

    async def test_missing_original_takes_the_rendition_with_it(self, harness: LedgerHarness) -> None:
        await complete_both(harness.ledger, picture_request(), "jpg")
        other = await acquire(harness.ledger, picture_request(picture_format=WEBP))
        assert isinstance(other, Hit)
        assert await harness.ledger.report_missing(other.entry)
        assert isinstance(await acquire(harness.ledger, picture_request()), Lead)
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == {upload("original").path, upload("jpg", "jpg").path}
