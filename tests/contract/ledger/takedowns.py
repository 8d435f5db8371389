"""What every ledger promises of pictures that are taken down, and of those that are pinned."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.budgets import Charge
from copperplate.ledger_answers import Gone, Hit, Lead, Miss
from copperplate.model import Condition, Outcome
from copperplate.ports.takedowns import Found, Pin
from copperplate.recipes.memoji import MemojiRecipe, request_of
from tests.contract.ledger.credits import ALICE, balance_and_held, complete_charged
from tests.contract.ledger.harness import (
    LEASE,
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
from tests.support.pictures import picture_request, rendition, upload

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from tests.contract.ledger.harness import LedgerHarness

KEY = picture_request().generation_key
YEAR = 365 * 86_400
UNKNOWN = "0" * 64


async def make(harness: LedgerHarness, asked: PictureRequest, name: str) -> None:
    """A stored original, with a rendition where the kind has them."""
    original = await complete(harness.ledger, asked, name)
    if asked.kind == "image":
        assert await record(harness.ledger, original, asked, f"{name} jpg")


class TakedownContract:
    """A picture that is taken down is gone for good; one that is pinned stays."""

    @pytest.mark.parametrize("which", ["generation_key", "rendition_key"])
    async def test_a_picture_is_taken_down_by_either_key_and_gone_in_every_format(
        self, harness: LedgerHarness, which: str
    ) -> None:
        ledger, asked = harness.ledger, picture_request()
        await make(harness, asked, "wrong")
        taken = await ledger.take_down(getattr(asked, which), reason="a letter of a lawyer")
        is_picture = which == "rendition_key"
        assert taken.found is (Found.PICTURE if is_picture else Found.GENERATION)
        assert (taken.generation_key, taken.is_new, taken.keys) == (KEY, True, (KEY,))
        assert (taken.generations, taken.images, taken.size_bytes) == (1, 1, 2_000)
        paths = {upload("wrong").path, rendition(asked, "wrong jpg").path}
        assert set(taken.objects) == {("generated-images", path) for path in paths}
        for picture_format in (asked.rendition.format, WEBP):
            again = picture_request(picture_format=picture_format)
            assert await peek(ledger, again) == Gone()
            assert await acquire(ledger, again) == Gone()
        await harness.advance(3_700)
        assert await discarded(ledger) == paths

    async def test_other_pictures_are_as_they_were(self, harness: LedgerHarness) -> None:
        await make(harness, picture_request("right"), "right")
        await harness.ledger.take_down(KEY)
        assert isinstance(await peek(harness.ledger, picture_request("right")), Hit)
        assert isinstance(await acquire(harness.ledger, picture_request("another")), Lead)

    async def test_what_nobody_asked_for_yet_can_be_taken_down(self, harness: LedgerHarness) -> None:
        taken = await harness.ledger.take_down(KEY)
        assert (taken.found, taken.is_new, taken.generations, taken.objects) == (Found.NOTHING, True, 0, ())
        assert await acquire(harness.ledger, picture_request()) == Gone()

    async def test_a_rendition_of_which_nothing_is_known_is_gone_too(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        assert (await ledger.take_down(asked.rendition_key)).found is Found.NOTHING
        assert await peek(ledger, asked) == Gone()
        assert await acquire(ledger, asked) == Gone()
        # Now its generation is known.
        assert await acquire(ledger, picture_request(picture_format=WEBP)) == Gone()
        assert await ledger.lift_takedown(asked.rendition_key)
        assert isinstance(await acquire(ledger, picture_request(picture_format=WEBP)), Lead)

    async def test_taken_down_again_it_names_what_the_store_may_still_have(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        await make(harness, asked, "wrong")
        first = await ledger.take_down(asked.rendition_key)
        again = await ledger.take_down(asked.rendition_key)
        assert (again.found, again.is_new, again.generation_key) == (Found.TOMBSTONE, False, KEY)
        assert (again.generations, set(again.objects)) == (0, set(first.objects))
        assert await peek(ledger, asked) == Gone()

    @pytest.mark.parametrize("which", ["generation_key", "rendition_key"])
    async def test_a_takedown_is_lifted_by_either_key(self, harness: LedgerHarness, which: str) -> None:
        ledger, asked = harness.ledger, picture_request()
        await make(harness, asked, "wrong")
        await ledger.take_down(asked.rendition_key)
        assert not await ledger.lift_takedown(UNKNOWN)
        assert await ledger.lift_takedown(getattr(asked, which))
        assert not await ledger.lift_takedown(getattr(asked, which))
        assert await peek(ledger, asked) == Miss()
        await complete(ledger, asked, "right")
        assert isinstance(await peek(ledger, asked), Hit)

    async def test_a_leader_at_work_loses_its_lease_and_nothing_of_it_is_kept(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        held = await lead(ledger, asked)
        assert await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="p")
        assert await ledger.intend_upload(KEY, held.fence, upload("late"), usage={})
        taken = await ledger.take_down(KEY)
        assert (taken.found, taken.objects) == (Found.GENERATION, (("generated-images", upload("late").path),))
        assert not await ledger.heartbeat(KEY, held.fence, LEASE)
        assert not await ledger.begin_submit(KEY, held.fence, submit_no=2, provider="p")
        stored = rendition(asked, "late jpg")
        assert await ledger.complete(KEY, held.fence, upload("late"), url=None, renditions=[stored]) is None
        assert await peek(ledger, asked) == Gone()
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("late").path, stored.path}

    async def test_an_elected_leader_that_is_taken_down_submits_nothing(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        await harness.ledger.take_down(KEY)
        assert not await harness.ledger.begin_submit(KEY, held.fence, submit_no=1, provider="p", estimate_micro_usd=50)
        assert await harness.spent(KEY) is None
        assert await acquire(harness.ledger, picture_request()) == Gone()

    async def test_a_failure_that_is_remembered_is_no_way_around(self, harness: LedgerHarness) -> None:
        held = await lead(harness.ledger, picture_request())
        await harness.ledger.fail(KEY, held.fence, failure(rest=1))
        await harness.ledger.take_down(KEY)
        assert not await harness.ledger.fail(KEY, held.fence, failure(rest=1))
        await harness.advance(60)
        assert await acquire(harness.ledger, picture_request()) == Gone()

    async def test_a_rendition_made_meanwhile_is_not_recorded(self, harness: LedgerHarness) -> None:
        ledger, webp = harness.ledger, picture_request(picture_format=WEBP)
        original = await complete(ledger, picture_request(), "wrong")
        stored = rendition(webp, "wrong webp")
        assert await ledger.intend_rendition(original, stored)
        await ledger.take_down(KEY)
        assert await ledger.record_rendition(original, stored) is None
        assert not await ledger.intend_rendition(original, stored)
        assert await peek(ledger, webp) == Gone()
        await harness.advance(3_700)
        assert await discarded(ledger) == {original.path, stored.path}

    async def test_a_rendition_whose_key_alone_is_known_takes_its_generation_with_it(
        self, harness: LedgerHarness
    ) -> None:
        ledger, webp = harness.ledger, picture_request(picture_format=WEBP)
        original = await complete(ledger, picture_request(), "wrong")
        stored = rendition(webp, "wrong webp")
        assert await ledger.intend_rendition(original, stored)
        assert (await ledger.take_down(webp.rendition_key)).found is Found.NOTHING
        assert await ledger.record_rendition(original, stored) is None
        assert await peek(ledger, picture_request()) == Gone()
        assert await ledger.lift_takedown(webp.rendition_key)
        assert await peek(ledger, picture_request()) == Miss()

    async def test_a_completion_with_a_rendition_that_was_taken_down_is_refused(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request()
        held = await lead(ledger, asked)
        assert await ledger.begin_submit(KEY, held.fence, submit_no=1, provider="p")
        stored = rendition(asked, "wrong jpg")
        assert await ledger.intend_upload(KEY, held.fence, upload("wrong"), usage={}, rendition_paths=[stored.path])
        await ledger.take_down(asked.rendition_key)
        assert await ledger.complete(KEY, held.fence, upload("wrong"), url=None, renditions=[stored]) is None
        assert await peek(ledger, picture_request(picture_format=WEBP)) == Gone()
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("wrong").path, stored.path}

    async def test_what_was_held_or_paid_and_not_delivered_is_given_back(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, picture_request("under way")
        await ledger.grant_credits(ALICE, 2, "order 1")
        await complete_charged(ledger, picture_request(), ALICE)
        charges = [Charge(user=ALICE)]
        assert isinstance(await ledger.acquire(asked, leader=ALICE, lease_duration=LEASE, charges=charges), Lead)
        assert await balance_and_held(ledger, ALICE) == (1, 1)
        await ledger.take_down(KEY)
        await ledger.take_down(asked.generation_key)
        assert await balance_and_held(ledger, ALICE) == (2, 0)

    async def test_a_tombstone_outlives_every_cleanup(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make(harness, picture_request(), "wrong")
        await ledger.take_down(KEY)
        await harness.advance(YEAR)
        await ledger.cleanup_entries("image", 100)
        await ledger.cleanup_generations(100)
        await ledger.sweep(100)
        await ledger.purge(Condition(key=KEY), 10, is_dry_run=False)
        assert await peek(ledger, picture_request()) == Gone()

    async def test_a_picture_that_is_its_own_original_counts_as_one(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, request_of(MemojiRecipe(model="m", hair="short"))
        await make(harness, asked, "memoji")
        condition = Condition(key=asked.generation_key)
        for is_dry_run in (True, False):
            assert (await ledger.purge(condition, 10, is_dry_run=is_dry_run)).images == 1
        await make(harness, asked, "memoji")
        assert (await ledger.take_down(asked.generation_key)).images == 1

    # --- pins -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", ["image", "memoji"])
    async def test_no_cleanup_removes_what_is_pinned(self, harness: LedgerHarness, kind: str) -> None:
        ledger = harness.ledger
        if kind == "image":
            pinned, other = picture_request("pinned"), picture_request("other")
        else:
            pinned, other = (request_of(MemojiRecipe(model="m", hair=hair)) for hair in ("short", "long"))
        await make(harness, pinned, "pinned")
        await make(harness, other, "other")
        assert (await ledger.pin(pinned.generation_key)) == Pin(
            generation_key=pinned.generation_key, status="completed", is_new=True
        )
        await harness.advance(YEAR)
        counted = await ledger.count_old_entries(kind)
        assert (counted.pictures, counted.generations) == (1, 1)
        assert await ledger.cleanup_entries(kind, 100) == counted
        place: str | None = ""
        while place is not None:
            removed = await ledger.cleanup_entries(kind, 100, after=place)
            assert (removed.pictures, removed.generations) == (0, 0)
            place = removed.reached
        assert isinstance(await peek(ledger, pinned), Hit)
        assert await peek(ledger, other) == Miss()
        assert await ledger.unpin(pinned.generation_key)
        assert (await ledger.cleanup_entries(kind, 100)).generations == 1

    @pytest.mark.parametrize("which", ["generation_key", "rendition_key"])
    async def test_a_pin_is_set_once_by_either_key_and_covers_every_format(
        self, harness: LedgerHarness, which: str
    ) -> None:
        ledger, asked = harness.ledger, picture_request()
        await make(harness, asked, "kept")
        assert await ledger.pin(UNKNOWN) is None
        assert await ledger.unpin(UNKNOWN) is None
        pins = [await ledger.pin(getattr(asked, which)) for _ in range(2)]
        assert [pin and (pin.generation_key, pin.is_new) for pin in pins] == [(KEY, True), (KEY, False)]
        await harness.advance(YEAR)
        assert (await ledger.cleanup_entries("image", 100)).pictures == 0
        unpins = [await ledger.unpin(getattr(asked, which)) for _ in range(2)]
        assert [unpin and unpin.is_new for unpin in unpins] == [True, False]

    async def test_a_pin_outlasts_a_lost_object_and_the_failure_after_it(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        original = await complete(ledger, picture_request(), "lost")
        await ledger.pin(KEY)
        assert await ledger.report_missing(original)
        await harness.advance(YEAR)
        assert await ledger.cleanup_generations(100) == 0
        await make(harness, picture_request(), "again")
        await harness.advance(YEAR)
        assert (await ledger.cleanup_entries("image", 100)).pictures == 0
        assert isinstance(await peek(ledger, picture_request()), Hit)

    async def test_a_pin_does_not_keep_a_picture_from_being_archived(self, harness: LedgerHarness) -> None:
        asked = request_of(MemojiRecipe(model="m"))
        await make(harness, asked, "much used")
        await harness.ledger.pin(asked.generation_key)
        await harness.ledger.record_usage([replace(request_count(asked, Outcome.HIT, 101), kind="memoji")])
        assert (await harness.ledger.cleanup_entries("memoji", 100)).archived == 1

    async def test_a_purge_leaves_what_is_pinned_unless_it_is_meant(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        for prompt in ("a pin", "another"):
            await make(harness, picture_request(prompt), prompt)
        pinned = picture_request("a pin")
        await ledger.pin(pinned.generation_key)
        every = Condition(model=pinned.model)
        for is_dry_run in (True, False):
            removed = await ledger.purge(every, 10, is_dry_run=is_dry_run)
            assert (removed.generations, removed.pinned) == (1, 1)
        assert isinstance(await peek(ledger, pinned), Hit)
        meant = await ledger.purge(every, 10, is_dry_run=True, with_pinned=True)
        assert (meant.generations, meant.pinned) == (1, 0)
        named = await ledger.purge(Condition(key=pinned.rendition_key), 10, is_dry_run=False)
        assert (named.generations, named.pinned) == (1, 0)
        assert await peek(ledger, pinned) == Miss()

    async def test_what_is_pinned_can_be_taken_down_and_the_pin_goes_with_it(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make(harness, picture_request(), "kept")
        await ledger.pin(KEY)
        assert (await ledger.take_down(KEY)).generations == 1
        assert await ledger.pin(KEY) is None
        await ledger.lift_takedown(KEY)
        await make(harness, picture_request(), "anew")
        await harness.advance(YEAR)
        removed = await ledger.cleanup_entries("image", 100, older_than=timedelta(days=30))
        assert removed.generations == 1
