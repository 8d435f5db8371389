"""What every ledger promises of pictures that exist already: stored without a submit, and labelled as they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Hit, Lead, Negative
from copperplate.model import Phase
from tests.contract.ledger.harness import (
    LEASE,
    STORAGE,
    acquire,
    acquire_with_services,
    complete,
    failure,
    lead,
    peek,
    record,
)
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness

KEY = picture_request().generation_key
GIVEN = replace(upload("given"), is_ai_made=False)


class GivenPictureContract:
    """A picture that is given goes from a lease to an entry, and nothing was submitted."""

    async def test_a_given_picture_is_stored_without_a_submit(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        held = await lead(ledger, picture_request())
        for _ in range(2):
            assert await ledger.intend_upload(KEY, held.fence, GIVEN, usage={})
        entry = await ledger.complete(KEY, held.fence, GIVEN, url=None)
        assert entry is not None
        assert await acquire(ledger, picture_request()) == Hit(entry=entry)
        assert (entry.path, entry.is_ai_made) == (GIVEN.path, False)
        assert await ledger.complete(KEY, held.fence, GIVEN, url=None) == entry
        stats = await ledger.generation_stats()
        assert (stats.total_api_calls_made, stats.total_completed) == (0, 1)
        assert await harness.spent(KEY) is None
        assert await harness.usage(KEY) == {}

    async def test_who_made_it_is_told_with_every_form_of_a_picture(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        held = await lead(ledger, asked)
        beside = rendition(asked, "beside")
        assert await ledger.intend_upload(KEY, held.fence, GIVEN, usage={}, rendition_paths=[beside.path])
        entry = await ledger.complete(KEY, held.fence, GIVEN, url=None, renditions=[beside])
        assert entry is not None
        assert (entry.key, entry.is_ai_made) == (asked.rendition_key, False)
        png = picture_request(picture_format=type(asked.rendition.format)("png"))
        original = await peek(ledger, png)
        assert isinstance(original, Hit)
        assert (original.entry.is_original, original.entry.is_ai_made) == (True, False)
        later = await record(ledger, original.entry, png, "later")
        assert later is not None
        assert not later.is_ai_made
        # Of a picture that a model made they say so.
        made = await complete(ledger, picture_request("generated"))
        kept = await record(ledger, made, picture_request("generated"), "jpg")
        assert kept is not None
        assert (made.is_ai_made, kept.is_ai_made) == (True, True)

    async def test_a_successor_of_an_import_finds_what_it_was_about_to_store(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        held = await lead(ledger, picture_request())
        assert await ledger.intend_upload(KEY, held.fence, GIVEN, usage={})
        await harness.advance(LEASE.total_seconds() + 1)
        assert not await ledger.intend_upload(KEY, held.fence - 1, GIVEN, usage={})
        successor = await lead(ledger, picture_request())
        assert (successor.phase, successor.submit_no, successor.intent) == (Phase.UPLOADING, 0, GIVEN)
        # It adopts the object, or submits: both are open.
        assert await ledger.begin_submit(KEY, successor.fence, submit_no=1, provider="painter")

    async def test_a_given_picture_closes_the_stores_breaker_alone(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        # Its generation knows who failed before.
        failed = await lead(ledger, picture_request())
        assert await ledger.begin_submit(KEY, failed.fence, submit_no=1, provider="painter")
        assert await ledger.fail(KEY, failed.fence, failure(rest=1))
        await ledger.report_refusal("painter", FailureClass.TRANSIENT, "it fails", timedelta(seconds=30))
        await ledger.report_refusal(STORAGE, FailureClass.STORE, "it fails", timedelta(seconds=5))
        await harness.advance(6)
        held = await acquire(ledger, picture_request())
        assert isinstance(held, Lead)
        assert await ledger.intend_upload(KEY, held.fence, GIVEN, usage={})
        assert await ledger.complete(KEY, held.fence, GIVEN, url=None)
        refused = await acquire_with_services(harness, "another picture")
        assert isinstance(refused, Negative)
        assert refused.failure_class is FailureClass.TRANSIENT

    async def test_a_given_picture_took_no_time_of_the_model_that_failed_before(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        held = await lead(ledger, picture_request())
        assert await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="painter")
        assert await ledger.fail(KEY, held.fence, failure(rest=1))
        await harness.advance(3_600)
        held = await lead(ledger, picture_request())
        assert await ledger.intend_upload(KEY, held.fence, GIVEN, usage={})
        assert await ledger.complete(KEY, held.fence, GIVEN, url=None)
        kept = await ledger.describe_kept(KEY)
        assert kept is not None
        assert (kept.generation_ms, kept.is_ai_made) == (None, False)
