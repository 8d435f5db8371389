"""What every ledger promises of purges of CDNs: those that wait, and who makes them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from copperplate.feed import Tier
from copperplate.model import Condition
from copperplate.ports.cdns import CdnCopies, CdnScope
from copperplate.ports.tiers import TierFigures
from tests.contract.ledger.harness import complete, lead, record
from tests.contract.ledger.source_pictures import asked as processed
from tests.contract.ledger.source_pictures import source
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from tests.contract.ledger.harness import LedgerHarness

BUCKET = "generated-images"
BOTH = (CdnScope.TAG, CdnScope.OBJECT)
HOUR = timedelta(hours=1)


async def take(
    harness: LedgerHarness, *scopes: CdnScope, claim: UUID | None = None, limit: int = 32, lifetime: timedelta = HOUR
) -> CdnCopies:
    taken: CdnCopies = await harness.ledger.take_cdn_purges(
        scopes or BOTH, claim or uuid4(), limit=limit, held_for=timedelta(seconds=60), lifetime=lifetime
    )
    return taken


async def settle(harness: LedgerHarness, claim: UUID, *scopes: CdnScope, is_done: bool = True) -> int:
    left = [await harness.ledger.settle_cdn_purges(claim, scope, is_done=is_done) for scope in scopes or BOTH]
    return sum(left)


async def make(harness: LedgerHarness, prompt: str) -> tuple[PictureRequest, set[tuple[str, str | None]]]:
    """A picture with a rendition, and its objects."""
    asked = picture_request(prompt)
    original = await complete(harness.ledger, asked, prompt)
    assert await record(harness.ledger, original, asked, f"{prompt} jpg")
    return asked, {(BUCKET, upload(prompt).path), (BUCKET, rendition(asked, f"{prompt} jpg").path)}


async def purge(harness: LedgerHarness, prompt: str) -> None:
    await harness.ledger.purge(Condition(prompt=prompt), 10, is_dry_run=False)


async def due(harness: LedgerHarness) -> frozenset[str]:
    page = await harness.ledger.read_feed(None, None)
    scopes: frozenset[str] = page.due_cdn_scopes
    return scopes


class CdnPurgeContract:
    """What is declared wrong waits for the CDNs until they were told, once at once and once when no tier has it."""

    async def test_a_purge_waits_for_cdns_by_key_and_by_object(self, harness: LedgerHarness) -> None:
        assert not await due(harness)
        asked, objects = await make(harness, "wrong")
        await make(harness, "right")
        assert await take(harness) == CdnCopies()
        await purge(harness, "wrong")
        assert await due(harness) == {"tag", "object"}
        taken = await take(harness)
        assert (taken.generation_keys, taken.is_everything) == ((asked.generation_key,), False)
        assert set(taken.objects) == set(taken.discarded) == objects
        # Held by whoever took it.
        assert await take(harness) == CdnCopies()
        assert not await due(harness)

    async def test_the_feed_says_which_scopes_are_due(self, harness: LedgerHarness) -> None:
        await make(harness, "wrong")
        await purge(harness, "wrong")
        await take(harness, CdnScope.TAG)
        assert await due(harness) == {"object"}

    async def test_what_waits_is_counted_by_scope_from_the_oldest_on(self, harness: LedgerHarness) -> None:
        assert not (await harness.ledger.usage_totals()).cdn_purges
        await make(harness, "wrong")
        await purge(harness, "wrong")
        await harness.advance(5)
        await harness.ledger.take_down(picture_request("nobody's").generation_key)
        objects, tags = (await harness.ledger.usage_totals()).cdn_purges
        assert [(each.scope, each.purges) for each in (objects, tags)] == [("object", 2), ("tag", 2)]
        assert abs(objects.since - tags.since) < 1

    async def test_a_dry_run_and_a_cleanup_by_age_declare_nothing_wrong(self, harness: LedgerHarness) -> None:
        await make(harness, "old")
        await harness.ledger.purge(Condition(prompt="old"), 10, is_dry_run=True)
        await harness.advance(40 * 86_400)
        removed = await harness.ledger.cleanup_entries("image", 100)
        assert (removed.generations, removed.pictures) == (1, 1)
        assert await take(harness) == CdnCopies()
        # The mark of the cleanup ends with it.
        asked, _ = await make(harness, "wrong")
        await purge(harness, "wrong")
        assert (await take(harness)).generation_keys == (asked.generation_key,)

    async def test_a_lost_object_and_a_takedown_declare_it_wrong(self, harness: LedgerHarness) -> None:
        lost, objects = await make(harness, "lost")
        original = await complete(harness.ledger, picture_request("altered"), "altered")
        assert await harness.ledger.report_missing(original)
        await harness.ledger.take_down(lost.generation_key)
        taken = await take(harness)
        assert set(taken.generation_keys) == {lost.generation_key, original.generation_key}
        assert set(taken.objects) == set(taken.discarded) == {*objects, (BUCKET, original.path)}

    async def test_objects_that_are_needed_again_are_not_among_the_discarded(self, harness: LedgerHarness) -> None:
        asked, objects = await make(harness, "wrong")
        await purge(harness, "wrong")
        [again] = objects - {(BUCKET, rendition(asked, "wrong jpg").path)}
        fence = (await lead(harness.ledger, asked)).fence
        assert await harness.ledger.begin_submit(asked.generation_key, fence, submit_no=1, provider="painter")
        assert await harness.ledger.intend_upload(asked.generation_key, fence, upload("wrong"), usage={})
        claim = uuid4()
        taken = await take(harness, claim=claim)
        assert (set(taken.objects), set(taken.discarded)) == (objects, objects - {again})
        assert await harness.ledger.complete(asked.generation_key, fence, upload("wrong"), url=None)
        assert set((await take(harness, claim=claim)).discarded) == objects - {again}

    async def test_taking_down_again_tells_cdns_again_though_nothing_is_left(self, harness: LedgerHarness) -> None:
        for _ in range(2):
            await harness.ledger.take_down(picture_request().generation_key)
            assert (await take(harness)).generation_keys == (picture_request().generation_key,)

    async def test_pictures_of_private_kinds_are_known_by_their_objects_alone(self, harness: LedgerHarness) -> None:
        photo = source()
        await harness.ledger.note_source(photo, owner=None)
        original = await complete(harness.ledger, processed(photo), "cut out")
        await harness.ledger.purge(Condition(key=original.generation_key), 10, is_dry_run=False)
        taken = await take(harness)
        assert (taken.generation_keys, taken.objects) == ((), (("processed-images", original.path),))

    @pytest.mark.parametrize("how", ["takedown", "copies"])
    async def test_no_tag_of_a_private_kind_is_purged(self, harness: LedgerHarness, how: str) -> None:
        photo = source()
        await harness.ledger.note_source(photo, owner=None)
        key = (await complete(harness.ledger, processed(photo), "cut out")).generation_key
        if how == "takedown":
            await harness.ledger.take_down(key)
        else:
            await harness.ledger.purge_copies([Tier.CDN], Condition(key=key), is_dry_run=False)
        taken = await take(harness)
        assert (taken.generation_keys, taken.is_everything) == ((), False)
        assert taken.objects

    async def test_a_process_takes_what_its_cdns_know(self, harness: LedgerHarness) -> None:
        asked, objects = await make(harness, "wrong")
        await purge(harness, "wrong")
        assert (await take(harness, CdnScope.TAG)).objects == ()
        taken = await take(harness, CdnScope.OBJECT)
        assert (taken.generation_keys, set(taken.objects)) == ((), objects)
        assert asked.generation_key

    async def test_what_was_told_at_once_is_told_once_more_and_then_over(self, harness: LedgerHarness) -> None:
        await make(harness, "wrong")
        await purge(harness, "wrong")
        claim = uuid4()
        taken = await take(harness, claim=claim)
        assert await settle(harness, claim) == 3
        assert await settle(harness, claim) == 0  # a repeat changes nothing
        await harness.advance(9)
        assert await take(harness) == CdnCopies()
        await harness.advance(1)
        claim = uuid4()
        assert await take(harness, claim=claim) == taken
        assert await settle(harness, claim) == 0
        await harness.advance(3_600)
        assert await take(harness) == CdnCopies()

    async def test_what_failed_is_due_after_growing_pauses_by_its_own_scope(self, harness: LedgerHarness) -> None:
        await make(harness, "wrong")
        await purge(harness, "wrong")
        claim = uuid4()
        taken = await take(harness, claim=claim)
        assert await settle(harness, claim, CdnScope.OBJECT) == 2
        for pause in (5, 10, 20, 40):
            assert await settle(harness, claim, CdnScope.TAG, is_done=False) == 1
            await harness.advance(pause - 1)
            assert (await take(harness, CdnScope.TAG)).generation_keys == ()
            await harness.advance(1)
            claim = uuid4()
            assert (await take(harness, CdnScope.TAG, claim=claim)).generation_keys == taken.generation_keys
        assert await settle(harness, claim, CdnScope.TAG) == 0

    async def test_what_a_dead_worker_took_is_taken_by_another(self, harness: LedgerHarness) -> None:
        asked, _ = await make(harness, "wrong")
        await purge(harness, "wrong")
        dead = uuid4()
        await take(harness, claim=dead)
        await harness.advance(61)
        claim = uuid4()
        assert (await take(harness, claim=claim)).generation_keys == (asked.generation_key,)
        # Its late answer is of a claim that is over.
        assert await settle(harness, dead) == 0
        assert await settle(harness, claim) == 0

    async def test_a_repeated_call_answers_what_the_first_one_took(self, harness: LedgerHarness) -> None:
        await make(harness, "wrong")
        await purge(harness, "wrong")
        claim = uuid4()
        assert await take(harness, claim=claim) == await take(harness, claim=claim) != CdnCopies()

    async def test_it_is_given_up_and_counted_once_copies_have_ended(self, harness: LedgerHarness) -> None:
        await make(harness, "wrong")
        await purge(harness, "wrong")
        await harness.advance(7_200)  # nobody was there: whoever comes first still tells
        claim = uuid4()
        assert (await take(harness, claim=claim)).dropped == 0
        await settle(harness, claim, is_done=False)
        await harness.advance(3_599)
        claim = uuid4()
        assert (await take(harness, claim=claim)).dropped == 0
        await settle(harness, claim, is_done=False)
        await harness.advance(30)
        assert await take(harness) == CdnCopies(dropped=3)
        assert await take(harness) == CdnCopies()

    async def test_more_than_a_run_takes_is_everything(self, harness: LedgerHarness) -> None:
        for number in range(3):
            await make(harness, f"wrong {number}")
            await purge(harness, f"wrong {number}")
        claim = uuid4()
        taken = await take(harness, claim=claim, limit=2)
        assert taken == CdnCopies(is_everything=True, objects=((BUCKET, None),))
        assert await settle(harness, claim) == 2
        await make(harness, "wrong too")
        await harness.advance(10)
        await purge(harness, "wrong too")
        taken = await take(harness, limit=32)
        assert (taken.generation_keys, taken.is_everything) == ((), True)

    async def test_twenty_at_once_take_each_of_it_once(self, harness: LedgerHarness) -> None:
        keys = set()
        for number in range(8):
            asked, _ = await make(harness, f"wrong {number}")
            keys.add(asked.generation_key)
            await purge(harness, f"wrong {number}")
        taken = await asyncio.gather(*(take(harness) for _ in range(20)))
        assert sorted(key for each in taken for key in each.generation_keys) == sorted(keys)
        assert len([path for each in taken for path in each.objects]) == 16


class CopyPurgeContract:
    """Copies in some tiers are declared wrong, and the pictures stay."""

    @pytest.mark.parametrize("tier", [Tier.MEMORY, Tier.DISK, Tier.REDIS])
    async def test_copies_in_a_tier_are_named_in_the_feed(self, harness: LedgerHarness, tier: Tier) -> None:
        asked, _ = await make(harness, "wrong")
        await make(harness, "right")
        before = await harness.ledger.read_feed(None, None)
        condition = Condition(prompt="wrong")
        counted = await harness.ledger.purge_copies({tier}, condition, is_dry_run=True)
        assert (counted.generations, counted.entries, counted.size_bytes, counted.objects) == (1, 2, 2_000, 2)
        assert counted.generation_keys == (asked.generation_key,)
        assert not (await harness.ledger.read_feed(before.cursor, before.database)).invalidations
        assert await harness.ledger.purge_copies({tier}, condition, is_dry_run=False) == counted
        told = await harness.ledger.read_feed(before.cursor, before.database)
        assert [(each.generation_key, each.tier) for each in told.invalidations] == [(asked.generation_key, tier)]
        assert await take(harness) == CdnCopies()

    async def test_copies_in_cdns_are_named_and_no_object_is_discarded(self, harness: LedgerHarness) -> None:
        asked, objects = await make(harness, "wrong")
        await harness.ledger.purge_copies({Tier.CDN}, Condition(key=asked.generation_key), is_dry_run=False)
        taken = await take(harness)
        assert (taken.generation_keys, set(taken.objects)) == ((asked.generation_key,), objects)
        assert taken.discarded == ()

    async def test_it_tells_what_processes_reported_of_their_tiers(self, harness: LedgerHarness) -> None:
        for entries in (3, 5):
            figures = TierFigures(tier=Tier.MEMORY, entries=entries, bytes=entries * 1_000, oldest_seconds=1.0)
            await harness.ledger.report_tiers(uuid4(), [figures])
        await harness.advance(60)
        reported = (await harness.ledger.purge_copies({Tier.MEMORY}, None, is_dry_run=True)).reported
        assert list(reported) == [Tier.MEMORY]
        memory = reported[Tier.MEMORY]
        assert (memory.places, memory.entries, memory.bytes) == (2, 8, 8_000)
        assert memory.seconds_ago >= 60
        await harness.advance(300)
        assert (await harness.ledger.purge_copies({Tier.MEMORY}, None, is_dry_run=True)).reported == {}

    async def test_everything_in_all_tiers(self, harness: LedgerHarness) -> None:
        await make(harness, "one")
        before = await harness.ledger.read_feed(None, None)
        purged = await harness.ledger.purge_copies({Tier.MEMORY, Tier.CDN}, None, is_dry_run=False)
        assert (purged.generations, purged.generation_keys) == (1, None)
        told = await harness.ledger.read_feed(before.cursor, before.database)
        assert [(each.generation_key, each.tier) for each in told.invalidations] == [(None, Tier.MEMORY)]
        taken = await take(harness)
        assert taken.is_everything
        assert {"generated-images", "memoji-images"} <= {bucket for bucket, path in taken.objects if path is None}

    async def test_a_cdn_forgets_a_key_that_the_ledger_does_not_know(self, harness: LedgerHarness) -> None:
        unknown = picture_request("gone by age").generation_key
        await harness.ledger.purge_copies({Tier.CDN}, Condition(key=unknown), is_dry_run=False)
        assert await take(harness) == CdnCopies(generation_keys=(unknown,))

    async def test_a_condition_that_nothing_meets_declares_nothing_wrong(self, harness: LedgerHarness) -> None:
        before = await harness.ledger.read_feed(None, None)
        tiers = {Tier.MEMORY, Tier.CDN}
        purged = await harness.ledger.purge_copies(tiers, Condition(prompt="nobody's"), is_dry_run=False)
        assert (purged.generations, purged.generation_keys) == (0, ())
        told = await harness.ledger.read_feed(before.cursor, before.database)
        assert (told.invalidations, await take(harness)) == ((), CdnCopies())
