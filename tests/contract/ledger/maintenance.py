"""What every ledger promises of the sweep, cleanup, purge and audit of objects."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.ledger_answers import Hit, Lead, Miss
from copperplate.model import Condition, Job, Outcome, Phase
from copperplate.ports.maintenance import CleanupCounts, Purged
from tests.contract.ledger.harness import (
    WEBP,
    acquire,
    complete,
    discarded,
    failure,
    lead,
    peek,
    record,
    request_count,
)
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class MaintenanceContract:
    """What is old, purged or unnamed is removed, and nothing else."""

    async def test_sweep_gives_up_on_leaders_that_died_long_ago_and_keeps_their_job(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.note_request(key, held.fence, Job(request_id="r"))
        await lead(ledger, picture_request("alive"))
        await harness.advance(700)
        alive = await acquire(ledger, picture_request("alive"))
        assert isinstance(alive, Lead)
        assert await ledger.sweep(10) == 1
        assert await ledger.sweep(10) == 0
        resumed = await lead(ledger, picture_request())
        assert (resumed.job, resumed.phase, resumed.attempt) == (Job(request_id="r"), Phase.SUBMITTED, 1)

    async def test_cleanup_removes_what_was_not_used_and_the_original_goes_last(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        original = await complete(ledger, picture_request())
        await record(ledger, original, picture_request(), "jpg")
        await record(ledger, original, picture_request(picture_format=WEBP), "webp")
        await harness.advance(20 * 86_400)
        await ledger.record_usage([request_count(picture_request(), Outcome.HIT, 3)])
        await harness.advance(15 * 86_400)
        month = timedelta(days=30)
        assert (await ledger.cleanup_entries("image", 100, older_than=month)).pictures == 1
        assert isinstance(await acquire(ledger, picture_request()), Hit)
        await harness.advance(20 * 86_400)
        counts = await ledger.cleanup_entries("image", 100, older_than=month)
        assert (counts.pictures, counts.generations) == (1, 1)
        assert await peek(ledger, picture_request()) == Miss()
        stats = await ledger.kind_stats("image")
        assert (stats.pictures, stats.stored_bytes) == (0, 0)

    async def test_cleanup_keeps_failures_for_the_day_in_which_they_count(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        await harness.ledger.fail(picture_request().generation_key, held.fence, failure(rest=60))
        await harness.advance(3_600)
        assert await harness.ledger.cleanup_generations(100) == 0
        await harness.advance(86_400)
        assert await harness.ledger.cleanup_generations(100) == 1

    async def test_generation_that_is_removed_leaves_what_it_was_about_to_store_to_be_discarded(
        self, harness: LedgerHarness
    ) -> None:
        ledger, key = harness.ledger, picture_request().generation_key
        held = await lead(ledger, picture_request())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, upload("left"), usage={})
        await harness.advance(700)
        assert await ledger.sweep(10) == 1
        await harness.advance(90_000)
        assert await ledger.cleanup_generations(10) == 1
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("left").path}

    async def test_discarded_object_is_offered_after_its_grace_to_one_caller_until_forgotten(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        original = await complete(ledger, picture_request())
        await ledger.report_missing(original)
        assert await ledger.claim_discarded(10) == []
        await harness.advance(3_700)
        [(identity, bucket, path)] = await ledger.claim_discarded(10)
        assert (bucket, path) == ("generated-images", original.path)
        assert await ledger.claim_discarded(10) == []
        await harness.advance(400)
        assert await ledger.claim_discarded(10) == [(identity, bucket, path)]
        assert await ledger.forget_discarded([identity]) == 1
        await harness.advance(400)
        assert await ledger.claim_discarded(10) == []

    async def test_discarded_objects_are_forgotten_one_by_one(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        for name in ("first", "second"):
            await ledger.report_missing(await complete(ledger, picture_request(name), name))
        await harness.advance(3_700)
        first, second = await ledger.claim_discarded(10)
        assert await ledger.forget_discarded([first[0]]) == 1
        await harness.advance(400)
        assert await ledger.claim_discarded(10) == [second]

    async def test_what_a_cleanup_would_remove_is_counted_and_stays(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        half = await complete(ledger, picture_request("half"), "half")
        await record(ledger, half, picture_request("half"), "half jpg")
        await record(ledger, half, picture_request("half", picture_format=WEBP), "half webp")
        whole = await complete(ledger, picture_request("whole"), "whole")
        await record(ledger, whole, picture_request("whole"), "whole jpg")
        await harness.advance(20 * 86_400)
        await ledger.record_usage([request_count(picture_request("half"), Outcome.HIT, 3)])
        await harness.advance(15 * 86_400)
        month = timedelta(days=30)
        counted = await ledger.count_old_entries("image", older_than=month)
        assert counted == CleanupCounts(pictures=2, generations=1, size_bytes=3_000, archived=0)
        assert isinstance(await peek(ledger, picture_request("whole")), Hit)
        assert await ledger.cleanup_entries("image", 100, older_than=month) == counted

    async def test_cleanup_step_by_step_comes_to_the_end_and_removes_the_same(self, harness: LedgerHarness) -> None:
        ledger, month = harness.ledger, timedelta(days=30)
        for name in map(str, range(7)):
            await record(
                ledger, await complete(ledger, picture_request(name), name), picture_request(name), f"{name} jpg"
            )
        await harness.advance(20 * 86_400)
        await ledger.record_usage([request_count(picture_request("3"), Outcome.HIT, 1)])
        await harness.advance(15 * 86_400)
        counted, sums, place = await ledger.count_old_entries("image", older_than=month), Counter[str](), ""
        for _ in range(20):
            removed = asdict(await ledger.cleanup_entries("image", 3, older_than=month, after=place))
            place = removed.pop("reached")
            sums.update(removed)
            if place is None:
                break
        assert place is None
        assert CleanupCounts(**sums) == counted
        assert isinstance(await peek(ledger, picture_request("3")), Hit)

    async def test_only_objects_that_nothing_names_are_discarded_by_an_audit(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        kept = await complete(ledger, picture_request("kept"), "kept")
        held = await lead(ledger, picture_request("intended"))
        await ledger.begin_submit(picture_request("intended").generation_key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(picture_request("intended").generation_key, held.fence, upload("intended"), usage={})
        removed = await complete(ledger, picture_request("gone"), "gone")
        await ledger.report_missing(removed)
        paths = [kept.path, upload("intended").path, removed.path, upload("orphan").path]
        assert await ledger.audit_objects("generated-images", paths, "2026/01:4") == 1
        assert await ledger.audit_objects("generated-images", paths, "2026/01:4") == 0
        await harness.advance(3_700)
        assert await discarded(ledger) == {removed.path, upload("orphan").path}

    async def test_audit_is_one_callers_for_a_minute_and_goes_on_where_it_ended(self, harness: LedgerHarness) -> None:
        ledger, bucket = harness.ledger, "generated-images"
        claims = await asyncio.gather(*(ledger.claim_audit(bucket) for _ in range(20)))
        assert sorted(claims, key=str) == ["", *[None] * 19]
        assert await ledger.audit_objects(bucket, [], "2026/03:1000") == 0
        assert await ledger.claim_audit("memoji-images") == ""
        await harness.advance(61)
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
        self, harness: LedgerHarness, condition: Condition
    ) -> None:
        ledger = harness.ledger
        wrong = await complete(ledger, picture_request("wrong"), "wrong")
        await record(ledger, wrong, picture_request("wrong"), "wrong jpg")
        await harness.advance(2 * 86_400)
        await complete(ledger, picture_request("right"), "right")
        counts = Purged(generations=1, images=1, size_bytes=2_000)
        assert await ledger.purge(condition, 10, is_dry_run=True) == counts
        assert isinstance(await peek(ledger, picture_request("wrong")), Hit)
        removed = await ledger.purge(condition, 10, is_dry_run=False)
        assert replace(removed, keys=(), objects=()) == counts
        assert list(removed.keys) == [picture_request("wrong").generation_key]
        assert await peek(ledger, picture_request("wrong")) == Miss()
        assert isinstance(await peek(ledger, picture_request("right")), Hit)
        assert (await ledger.purge(condition, 10, is_dry_run=False)).generations == 0
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("wrong").path, upload("wrong jpg", "jpg").path}

    async def test_purge_meets_every_condition_given(self, harness: LedgerHarness) -> None:
        await complete(harness.ledger, picture_request("kept"), "kept")
        condition = Condition(prompt="kept", model="another/model")
        assert (await harness.ledger.purge(condition, 10, is_dry_run=False)).generations == 0
