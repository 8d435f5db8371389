"""What every ledger promises of the forms of one picture: what is kept, shown and removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from copperplate.ledger_answers import Gone, Hit, Lead, Miss
from copperplate.model import Condition, Outcome, PictureFormat, Placeholder, Rendition, Size
from copperplate.recipes.image import image_request
from copperplate.recipes.memoji import MemojiRecipe, request_of
from copperplate.recipes.objects import original_key
from tests.contract.ledger.harness import complete, discarded, lead, peek, request_count
from tests.support.pictures import MODEL, rendition, upload

if TYPE_CHECKING:
    from copperplate.model import Entry, OriginalUpload, PictureRequest, RenditionUpload
    from tests.contract.ledger.harness import LedgerHarness

JPG, PNG, WEBP, AVIF = PictureFormat.JPG, PictureFormat.PNG, PictureFormat.WEBP, PictureFormat.AVIF
PLACEHOLDER = Placeholder(thumbhash=bytes(range(21)), color="#ff8000")
LEADER = UUID(int=1)
MONTH = timedelta(days=30)
DAY = 86_400


def form(
    picture_format: PictureFormat = JPG, *, side: int | None = None, quality: int = 85, prompt: str = "a fox"
) -> PictureRequest:
    """A wish for one form of a picture, in one size: whole where no `side` is given."""
    asked = Rendition(
        format=picture_format,
        quality=None if picture_format is PNG else quality,
        size=None if side is None else Size(width=side, height=side),
    )
    return image_request(prompt=prompt, width=64, height=64, format=picture_format, model=MODEL, rendition=asked)


def made(asked: PictureRequest, name: str = "", *, size_bytes: int = 1_000, version: int = 2) -> RenditionUpload:
    """An object for that form; its name differs from every other form's."""
    stored = rendition(asked, f"{name} {asked.rendition_key}")
    return replace(
        stored,
        width=asked.size.width,
        height=asked.size.height,
        size_bytes=size_bytes,
        encoder_version=version,
    )


async def keep(harness: LedgerHarness, original: Entry, stored: RenditionUpload) -> Entry | None:
    await harness.ledger.intend_rendition(original, stored)
    kept: Entry | None = await harness.ledger.record_rendition(original, stored)
    return kept


async def complete_with(
    harness: LedgerHarness, original: OriginalUpload, *renditions: RenditionUpload, asked: PictureRequest | None = None
) -> tuple[int, Entry | None]:
    """Lead and complete with renditions, all of them written ahead; answers the fence and the entry."""
    asked, ledger = asked or form(), harness.ledger
    held = await lead(ledger, asked)
    key, fence, paths = asked.generation_key, held.fence, [each.path for each in renditions]
    assert await ledger.begin_submit(key, fence, submit_no=1, provider="painter")
    await harness.advance(2)
    assert await ledger.intend_upload(key, fence, original, usage={}, rendition_paths=paths)
    return fence, await ledger.complete(key, fence, original, url=None, renditions=renditions)


async def sizes(harness: LedgerHarness) -> tuple[int, int, int]:
    """Pictures that are shown, their bytes, and all bytes that are stored."""
    stats = await harness.ledger.kind_stats("image")
    assert await harness.entry_faults() == []
    return stats.pictures, stats.size_bytes, stats.stored_bytes


class FormContract:
    """One form a format is shown, and what is done to a picture reaches all of them."""

    async def test_completion_records_all_forms_and_answers_the_first(self, harness: LedgerHarness) -> None:
        asked, ahead, small = form(WEBP), form(JPG), form(AVIF, side=16)
        first, second, third = made(asked), made(ahead), made(small)
        fence, entry = await complete_with(harness, upload("original"), first, second, third)
        assert entry is not None
        for request, stored in ((asked, first), (ahead, second), (small, third)):
            hit = await peek(harness.ledger, request)
            assert isinstance(hit, Hit)
            assert (hit.entry.path, hit.entry.encoder_version) == (stored.path, 2)
            assert (hit.entry.width, hit.entry.is_original) == (stored.width, False)
        assert await peek(harness.ledger, asked) == Hit(entry=entry)
        assert await sizes(harness) == (3, 3_000, 4_000)
        # The answer was lost: said again, it is the same, and nothing is recorded twice.
        again = await harness.ledger.complete(
            asked.generation_key, fence, upload("original"), url=None, renditions=[first, second, third]
        )
        assert again == entry
        assert await sizes(harness) == (3, 3_000, 4_000)
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == set()

    async def test_form_that_was_written_ahead_and_not_stored_is_discarded(self, harness: LedgerHarness) -> None:
        ledger, asked, lost = harness.ledger, made(form(JPG)), made(form(WEBP))
        held = await lead(ledger, form())
        key = form().generation_key
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        paths = [asked.path, lost.path]
        await ledger.intend_upload(key, held.fence, upload("original"), usage={}, rendition_paths=paths)
        entry = await ledger.complete(key, held.fence, upload("original"), url=None, renditions=[asked])
        assert entry is not None
        assert entry.path == asked.path
        await harness.advance(3_700)
        assert await discarded(ledger) == {lost.path}

    async def test_all_objects_of_a_stale_leader_are_discarded(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, form().generation_key
        held = await lead(ledger, form())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await harness.advance(21)
        theirs = made(form(WEBP), "theirs")
        await complete_with(harness, upload("theirs"), theirs)
        ours = [made(form(WEBP), "ours"), made(form(JPG), "ours")]
        assert await ledger.complete(key, held.fence, upload("ours"), url=None, renditions=ours) is None
        await harness.advance(3_700)
        assert await discarded(ledger) == {upload("ours").path, *(each.path for each in ours)}
        hit = await peek(ledger, form(WEBP))
        assert isinstance(hit, Hit)
        assert hit.entry.path == theirs.path

    async def test_first_form_of_a_format_is_shown_until_the_standard_one_comes(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, form())
        small, sharp = made(form(side=16), size_bytes=10), made(form(quality=95), size_bytes=2_000)
        whole = made(form(), size_bytes=300)
        assert await keep(harness, original, small)
        assert await sizes(harness) == (1, 10, 1_010)
        assert await keep(harness, original, sharp)
        assert await sizes(harness) == (1, 10, 3_010)
        standard = await keep(harness, original, whole)
        assert await sizes(harness) == (1, 300, 3_310)
        assert await keep(harness, original, made(form(WEBP, side=16), size_bytes=7))
        assert await sizes(harness) == (2, 307, 3_317)
        # It goes alone: the first of the others takes its place.
        assert standard is not None
        assert await harness.ledger.report_missing(standard)
        assert await sizes(harness) == (2, 17, 3_017)

    async def test_form_by_older_encoders_is_replaced_where_it_stands(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        older, newer = made(form(), "old", version=1), made(form(), "new", size_bytes=700, version=2)
        assert await keep(harness, original, older)
        await ledger.record_usage([request_count(form(), Outcome.HIT, 5)])
        replaced = await keep(harness, original, newer)
        assert replaced is not None
        assert (replaced.path, replaced.encoder_version, replaced.size_bytes) == (newer.path, 2, 700)
        assert await peek(ledger, form()) == Hit(entry=replaced)
        assert await ledger.record_rendition(original, newer) == replaced
        assert (await ledger.kind_stats("image")).accesses == 5
        assert await sizes(harness) == (1, 700, 1_700)
        late = made(form(), "late", version=1)
        assert await keep(harness, original, late) == replaced
        await harness.advance(3_700)
        assert await discarded(ledger) == {older.path, late.path}

    async def test_under_the_key_of_an_original_nothing_else_stands(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, form())
        imitation = replace(made(form(PNG)), key=original.key)
        assert await keep(harness, original, imitation) == original
        await harness.advance(3_700)
        assert await discarded(harness.ledger) == {imitation.path}

    async def test_what_verification_found_is_kept_and_told_with_every_form(self, harness: LedgerHarness) -> None:
        original = replace(upload("original"), placeholder=PLACEHOLDER, has_c2pa=True)
        _, entry = await complete_with(harness, original, made(form(WEBP)))
        assert entry is not None
        assert (entry.placeholder, entry.encoder_version) == (PLACEHOLDER, 2)
        kept = await peek(harness.ledger, form())
        assert isinstance(kept, Hit)
        assert (kept.entry.is_original, kept.entry.placeholder) == (True, PLACEHOLDER)
        later = await keep(harness, kept.entry, made(form(side=16)))
        assert later is not None
        assert later.placeholder == PLACEHOLDER
        info = await harness.ledger.describe_kept(form().generation_key)
        assert (info.placeholder, info.has_c2pa, info.kind) == (PLACEHOLDER, True, "image")
        assert 2_000 <= info.generation_ms < 60_000

    async def test_successor_is_told_what_verification_found(self, harness: LedgerHarness) -> None:
        ledger, key = harness.ledger, form().generation_key
        original = replace(upload("original"), placeholder=PLACEHOLDER, has_c2pa=True)
        held = await lead(ledger, form())
        await ledger.begin_submit(key, held.fence, submit_no=1, provider="p")
        await ledger.intend_upload(key, held.fence, original, usage={})
        await harness.advance(21)
        assert (await lead(ledger, form())).intent == original

    async def test_picture_is_found_by_each_of_its_names(self, harness: LedgerHarness) -> None:
        ledger, small = harness.ledger, form(WEBP, side=16, quality=60)
        original = await complete(ledger, form())
        stored = await keep(harness, original, made(small))
        assert stored is not None
        bucket = "generated-images"
        for name in (stored.key, stored.path, f"{bucket}/{stored.path}"):
            kept = await ledger.find_kept(name)
            assert (kept.key, kept.format, kept.quality, kept.size) == (
                stored.key,
                "webp",
                60,
                Size(width=16, height=16),
            )
            assert (kept.is_original, kept.is_sized, kept.canvas, kept.model) == (False, True, form().canvas, MODEL)
        for name in (form().generation_key, original.key, original.path, f"{bucket}/{original.path}"):
            kept = await ledger.find_kept(name)
            assert (kept.key, kept.generation_key, kept.is_original) == (original.key, form().generation_key, True)
        for name in ("", form(JPG).rendition_key, f"memoji-images/{stored.path}", f"{bucket}/", "2026/01/x.png"):
            assert await ledger.find_kept(name) is None

    async def test_picture_is_described_with_its_forms_its_original_first(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        assert await ledger.describe_kept(form().generation_key) is None
        original = await complete(ledger, form())
        for wish in (form(WEBP), form(JPG), form(JPG, side=16), form(PNG)):
            assert await keep(harness, original, made(wish))
        info = await ledger.describe_kept(form().generation_key)
        assert [(each.format, each.size.width, each.quality) for each in info.forms] == [
            ("png", 64, None),
            ("jpg", 16, 85),
            ("jpg", 64, 85),
            ("png", 64, None),
            ("webp", 64, 85),
        ]
        assert info.original == info.forms[0]
        assert [each.is_original for each in info.forms] == [True, False, False, False, False]
        assert (info.canvas, info.model, info.placeholder, info.has_c2pa) == (form().canvas, MODEL, None, False)

    async def test_placeholder_that_is_not_known_yet_is_filled_in_once(self, harness: LedgerHarness) -> None:
        ledger, prompts = harness.ledger, ("one", "two", "three")
        bare = [await complete(ledger, form(prompt=prompt), prompt) for prompt in prompts]
        known = replace(upload("known"), placeholder=PLACEHOLDER)
        await complete_with(harness, known, asked=form(prompt="known"))
        await keep(harness, bare[0], made(form(prompt="one")))
        expected = sorted(bare, key=lambda entry: entry.key)
        assert await ledger.originals_without_placeholder(2) == expected[:2]
        assert await ledger.originals_without_placeholder(2, after=expected[1].key) == expected[2:]
        assert await ledger.set_placeholder(bare[0].generation_key, PLACEHOLDER)
        other = Placeholder(thumbhash=b"\1\2\3\4\5", color="#000000")
        assert not await ledger.set_placeholder(bare[0].generation_key, other)
        assert not await ledger.set_placeholder(form(prompt="unknown").generation_key, other)
        hit = await peek(ledger, form(prompt="one"))
        assert isinstance(hit, Hit)
        assert (hit.entry.is_original, hit.entry.placeholder) == (False, PLACEHOLDER)
        assert len(await ledger.originals_without_placeholder(10)) == 2

    @pytest.mark.parametrize("how", ["purge", "purge of a sized form", "takedown", "lost original"])
    async def test_what_is_done_to_a_picture_reaches_all_forms(self, harness: LedgerHarness, how: str) -> None:
        ledger, wishes = harness.ledger, (form(), form(WEBP, side=16), form(AVIF))
        original = await complete(ledger, form())
        stored = [made(wish) for wish in wishes]
        assert all([await keep(harness, original, each) for each in stored])
        match how:
            case "takedown":
                taken = await ledger.take_down(form(WEBP, side=16).rendition_key)
                assert (taken.generations, taken.images, taken.size_bytes) == (1, 3, 4_000)
                assert len(taken.objects) == 4
            case "lost original":
                assert await ledger.report_missing(original)
            case _:
                key = form().generation_key if how == "purge" else form(WEBP, side=16).rendition_key
                purged = await ledger.purge(Condition(key=key), 10, is_dry_run=False)
                assert (purged.generations, purged.images, purged.size_bytes) == (1, 3, 4_000)
                assert len(purged.objects) == 4
        for wish in wishes:
            assert await peek(ledger, wish) == (Gone() if how == "takedown" else Miss())
        assert await sizes(harness) == (0, 0, 0)
        await harness.advance(3_700)
        assert await discarded(ledger) == {original.path, *(each.path for each in stored)}

    async def test_pin_by_the_key_of_a_sized_form_keeps_every_form(self, harness: LedgerHarness) -> None:
        ledger, original = harness.ledger, await complete(harness.ledger, form())
        for wish in (form(), form(side=16)):
            await keep(harness, original, made(wish))
        assert await ledger.pin(form(side=16).rendition_key)
        await harness.advance(100 * DAY)
        removed = await ledger.cleanup_entries("image", 100, older_than=MONTH)
        assert (removed.pictures, removed.generations) == (0, 0)
        assert isinstance(await peek(ledger, form(side=16)), Hit)

    async def test_sized_form_that_is_lost_goes_alone(self, harness: LedgerHarness) -> None:
        original = await complete(harness.ledger, form())
        await keep(harness, original, made(form()))
        small = await keep(harness, original, made(form(side=16)))
        assert small is not None
        assert await harness.ledger.report_missing(small)
        assert await peek(harness.ledger, form(side=16)) == Hit(entry=original)
        assert await sizes(harness) == (1, 1_000, 2_000)

    async def test_uses_of_every_form_of_a_memoji_are_uses_of_it(self, harness: LedgerHarness) -> None:
        ledger, asked = harness.ledger, request_of(MemojiRecipe(model="m", hair="short"))
        webp = replace(made(form(WEBP)), key="f" * 64)
        _, entry = await complete_with(harness, upload("memoji"), webp, asked=asked)
        assert entry is not None
        assert (await ledger.kind_stats("memoji")).pictures == 1
        use = replace(request_count(asked, Outcome.HIT, 3), kind="memoji", rendition_key=webp.key)
        await ledger.record_usage([use])
        await harness.advance(200 * DAY)
        # Used thrice, it is kept; its WebP does not go alone.
        assert (await ledger.cleanup_entries("memoji", 100)).generations == 0
        assert isinstance(await peek(ledger, asked), Hit)
        unused = request_of(MemojiRecipe(model="m", hair="long"))
        beside = replace(made(form(WEBP), "beside"), key="e" * 64)
        await complete_with(harness, upload("unused"), beside, asked=unused)
        await harness.advance(200 * DAY)
        counted = await ledger.count_old_entries("memoji")
        assert (counted.pictures, counted.generations, counted.size_bytes) == (1, 1, 2_000)
        assert await ledger.cleanup_entries("memoji", 100) == counted
        assert await harness.entry_faults() == []
        assert isinstance(await ledger.acquire(unused, leader=LEADER, lease_duration=timedelta(seconds=20)), Lead)

    async def test_original_key_names_the_original_of_a_memoji(self, harness: LedgerHarness) -> None:
        asked = request_of(MemojiRecipe(model="m", hair="short"))
        await complete_with(harness, upload("memoji"), asked=asked)
        kept = await harness.ledger.find_kept(asked.generation_key)
        assert (kept.kind, kept.key) == ("memoji", original_key(asked.generation_key))
        assert kept.canvas == asked.canvas
