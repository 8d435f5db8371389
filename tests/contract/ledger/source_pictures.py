"""What every ledger promises of source pictures: who had their bytes, what comes of them, how long they are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from copperplate.ledger_answers import Hit
from copperplate.model import Condition, PictureFormat, Size
from copperplate.processing_models import NumberParameter, ProcessingModel
from copperplate.recipes.objects import sha256_hex
from copperplate.recipes.processed import processed_recipe, processed_request
from copperplate.source_pictures import Crop, KeptInput, KnownSource, Operation, Parent, SourcePicture
from tests.contract.ledger.harness import LONG_LEASE, complete, failure, lead, peek
from tests.contract.ledger.wishing import new_wish
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from tests.contract.ledger.harness import LedgerHarness

DAY = 86_400
ALICE_ID = UUID("00000000-0000-4000-8000-00000000a11c")
ALICE, KEY = f"user:{ALICE_ID}", "key:5dd3"
PARENT = Parent(generation_key=sha256_hex(b"parent"))
CROPPED = Parent(generation_key=sha256_hex(b"other"), crop=Crop(left=0, top=8, width=16, height=24))
KEPT = KeptInput(path=f"2026/11/{sha256_hex(b'kept')}.jpg", digest=sha256_hex(b"kept"), format=PictureFormat.JPG)
CUT_OUT = ProcessingModel(name="painter/cut-out", operation=Operation.REMOVE_BACKGROUND)
ENLARGE = ProcessingModel(
    name="painter/enlarge",
    operation=Operation.UPSCALE,
    parameters=(NumberParameter(name="scale", default=Decimal(2), least=Decimal(1), most=Decimal(4)),),
)


def source(name: str = "photo", parent: Parent | None = None) -> SourcePicture:
    digest = sha256_hex(name.encode())
    return SourcePicture(digest=digest, format="gif", size=Size(width=640, height=480), size_bytes=5_000, parent=parent)


def asked(picture: SourcePicture, model: ProcessingModel = CUT_OUT, **given: str) -> PictureRequest:
    return processed_request(processed_recipe(picture.digest, model, given))


class SourcePictureContract:
    """A picture is known by its bytes, to each owner apart."""

    async def test_a_source_picture_is_unknown_until_it_is_noted(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        assert await ledger.find_source(photo.digest, owner=ALICE) is None
        assert not await ledger.keep_input(photo.digest, KEPT)
        known = KnownSource(picture=photo, is_owned=False, is_taken_down=False)
        assert await ledger.note_source(photo, owner=None) == known
        assert await ledger.find_source(photo.digest, owner=None) == known
        assert await ledger.find_source(photo.digest, owner=ALICE) == known

    async def test_owners_of_a_source_picture_are_apart(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        for _ in range(2):
            known = await ledger.note_source(photo, owner=ALICE)
            assert known == KnownSource(picture=photo, is_owned=True, is_owned_alone=True, is_taken_down=False)
        assert not (await ledger.find_source(photo.digest, owner=KEY)).is_owned
        assert (await ledger.note_source(photo, owner=KEY)).is_owned
        assert (await ledger.find_source(photo.digest, owner=ALICE)).is_owned
        assert not (await ledger.find_source(photo.digest, owner=None)).is_owned
        await ledger.note_source(source("another"), owner=None)
        assert not (await ledger.find_source(source("another").digest, owner=ALICE)).is_owned

    async def test_the_parent_of_a_source_picture_is_noted_once(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        await ledger.note_source(photo, owner=KEY)
        # The picture that these bytes are stands in place of one that they are said to be cropped from.
        for told, kept in ((CROPPED, CROPPED), (None, CROPPED), (PARENT, PARENT), (CROPPED, PARENT), (None, PARENT)):
            known = await ledger.note_source(replace(photo, parent=told), owner=KEY)
            assert known.picture == replace(photo, parent=kept)
        whole = await ledger.note_source(source("whole", PARENT), owner=KEY)
        assert whole.picture.parent == PARENT
        assert whole == await ledger.find_source(whole.picture.digest, owner=KEY)

    async def test_a_kept_input_is_known_and_given_anew_to_promises_while_it_is_young(
        self, harness: LedgerHarness
    ) -> None:
        ledger, photo = harness.ledger, source()
        await ledger.note_source(photo, owner=None)
        assert await ledger.keep_input(photo.digest, KEPT)
        assert (await ledger.find_source(photo.digest, owner=None)).kept_input == KEPT
        assert (await ledger.note_source(photo, owner=ALICE)).kept_input == KEPT
        # The store drops it a day after it was stored: a promise made now may be kept later than that.
        await harness.advance(3_600)
        assert await ledger.keep_input(photo.digest, KEPT)
        assert (await ledger.note_source(photo, owner=ALICE)).kept_input is None
        assert (await ledger.find_source(photo.digest, owner=None)).kept_input == KEPT
        anew = replace(KEPT, path=f"2026/11/{sha256_hex(b'anew')}.webp", format=PictureFormat.WEBP)
        assert await ledger.keep_input(photo.digest, anew)
        assert (await ledger.note_source(photo, owner=None)).kept_input == anew
        assert (await ledger.find_source(photo.digest, owner=None)).kept_input == anew

    async def test_a_source_picture_is_taken_down_by_its_digest_and_with_its_parent(
        self, harness: LedgerHarness
    ) -> None:
        ledger, photo, whole = harness.ledger, source(), source("whole", PARENT)
        for picture in (photo, whole):
            assert not (await ledger.note_source(picture, owner=None)).is_taken_down
        await ledger.take_down(photo.digest)
        assert (await ledger.find_source(photo.digest, owner=None)).is_taken_down
        assert not (await ledger.find_source(whole.digest, owner=None)).is_taken_down
        await ledger.take_down(PARENT.generation_key)
        assert (await ledger.find_source(whole.digest, owner=None)).is_taken_down
        await ledger.lift_takedown(PARENT.generation_key)
        assert not (await ledger.note_source(whole, owner=None)).is_taken_down


class ProcessedResultContract:
    """Results of a source picture: those that are stored, for those who had its bytes."""

    async def test_results_of_a_source_picture_are_found_the_newest_first(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        assert await ledger.find_results(photo.digest) == []
        await complete(ledger, asked(photo), "cut out")
        await harness.advance(60)
        await complete(ledger, asked(photo, ENLARGE, scale="3"), "enlarged")
        await complete(ledger, asked(source("another")), "of another")
        await lead(ledger, asked(photo, ENLARGE))
        newest, oldest = await ledger.find_results(photo.digest)
        assert (newest.operation, newest.generation_key) == (
            Operation.UPSCALE,
            asked(photo, ENLARGE, scale="3").generation_key,
        )
        assert (newest.model, newest.parameters) == ("painter/enlarge", ("scale=3",))
        assert (oldest.operation, oldest.parameters) == (Operation.REMOVE_BACKGROUND, ())
        assert newest.created_at - oldest.created_at >= timedelta(seconds=59)

    async def test_a_result_that_is_lost_or_purged_is_not_found(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        await complete(ledger, asked(photo), "cut out")
        await complete(ledger, asked(photo, ENLARGE), "enlarged")
        await harness.ledger.fail(
            asked(photo, ENLARGE, scale="4").generation_key,
            (await lead(ledger, asked(photo, ENLARGE, scale="4"))).fence,
            failure(),
        )
        hit = await peek(ledger, asked(photo))
        assert isinstance(hit, Hit)
        assert await ledger.report_missing(hit.entry)
        assert [found.operation for found in await ledger.find_results(photo.digest)] == [Operation.UPSCALE]
        await ledger.purge(Condition(key=asked(photo, ENLARGE).generation_key), 10, is_dry_run=False)
        assert await ledger.find_results(photo.digest) == []

    async def test_only_who_had_the_bytes_may_see_what_is_made_of_them(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        key = asked(photo).generation_key
        await ledger.note_source(photo, owner=ALICE)
        assert not await ledger.may_see_processed(key, ALICE)
        await complete(ledger, asked(photo), "cut out")
        assert await ledger.may_see_processed(key, ALICE)
        assert not await ledger.may_see_processed(key, KEY)
        assert not await ledger.may_see_processed("0" * 64, ALICE)
        # A picture that was drawn is nobody's.
        await complete(ledger, picture_request(), "drawn")
        assert not await ledger.may_see_processed(picture_request().generation_key, ALICE)

    async def test_a_processed_picture_is_as_large_as_it_was_made(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        await complete(ledger, asked(photo), "cut out")
        kept = await ledger.find_kept(asked(photo).generation_key)
        assert (kept.kind, kept.canvas, kept.is_original) == ("processed", Size(width=64, height=64), True)
        assert (await ledger.describe_kept(asked(photo).generation_key)).canvas == Size(width=64, height=64)

    async def test_what_is_promised_of_the_bytes_may_be_seen_before_it_is_begun(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        await ledger.note_source(photo, owner=ALICE)
        await ledger.make_wish(new_wish(asked(photo)), held_for=LONG_LEASE)
        assert await ledger.may_see_processed(asked(photo).generation_key, ALICE)
        assert not await ledger.may_see_processed(asked(photo).generation_key, KEY)

    async def test_a_user_who_is_forgotten_had_no_bytes_from_then_on(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        await ledger.grant_credits(ALICE_ID, 1, "g")
        await complete(ledger, asked(photo), "cut out")
        for owner in (ALICE, KEY):
            await ledger.note_source(photo, owner=owner)
        assert await ledger.forget_user(ALICE_ID)
        # A token of theirs may still be good.
        assert not (await ledger.note_source(photo, owner=ALICE)).is_owned
        assert not await ledger.may_see_processed(asked(photo).generation_key, ALICE)
        assert await ledger.may_see_processed(asked(photo).generation_key, KEY)


class SourceRetentionContract:
    """A source picture is known while something is made of it, and for as long as a result of it would be kept."""

    async def test_cleanup_forgets_source_pictures_with_the_last_of_their_results(self, harness: LedgerHarness) -> None:
        ledger, photo, bare = harness.ledger, source(), source("nothing came of it")
        await ledger.note_source(bare, owner=KEY)
        await complete(ledger, asked(photo), "cut out")
        await ledger.note_source(photo, owner=KEY)
        await harness.advance(20 * DAY)
        await ledger.cleanup_entries("processed", 100, after="")
        assert await ledger.find_source(bare.digest, owner=KEY)
        await harness.advance(11 * DAY)
        await ledger.cleanup_entries("image", 100, after="")
        assert await ledger.find_source(bare.digest, owner=KEY)
        counts = await ledger.cleanup_entries("processed", 100, after="")
        assert (counts.pictures, counts.generations) == (1, 1)
        assert await ledger.find_source(bare.digest, owner=KEY) is None
        assert await ledger.find_source(photo.digest, owner=KEY) is None
        # Whoever brings it again brings a new one.
        assert not (await ledger.note_source(photo, owner=None)).is_owned
        assert not (await ledger.find_source(photo.digest, owner=KEY)).is_owned

    async def test_source_pictures_of_which_something_is_kept_stay(self, harness: LedgerHarness) -> None:
        ledger, photo, pinned = harness.ledger, source(), source("pinned")
        for picture in (photo, pinned):
            await ledger.note_source(picture, owner=KEY)
        await complete(ledger, asked(pinned), "pinned")
        await ledger.pin(asked(pinned).generation_key)
        await harness.advance(29 * DAY)
        await complete(ledger, asked(photo), "cut out late")
        await harness.advance(2 * DAY)
        for _ in range(2):
            await ledger.cleanup_entries("processed", 100, after="")
            for picture in (photo, pinned):
                assert (await ledger.find_source(picture.digest, owner=KEY)).is_owned
        await harness.advance(31 * DAY)
        await ledger.cleanup_entries("processed", 100, after="")
        assert await ledger.find_source(photo.digest, owner=KEY) is None
        assert (await ledger.find_source(pinned.digest, owner=KEY)).is_owned

    async def test_a_line_of_source_pictures_of_which_nothing_is_left_is_forgotten_at_once(
        self, harness: LedgerHarness
    ) -> None:
        """However long it is, and whatever is said of where they come from."""
        ledger = harness.ledger
        line = [source("0")]
        await ledger.note_source(line[0], owner=KEY)
        made = []
        for number in range(1, 6):
            made.append(asked(line[-1]))
            await complete(ledger, made[-1], f"made {number}")
            line.append(source(str(number), Parent(generation_key=made[-1].generation_key)))
            await ledger.note_source(line[-1], owner=KEY)
        for gone in made:
            await ledger.purge(Condition(key=gone.generation_key), 10, is_dry_run=False)
        await harness.advance(20 * DAY)
        # Of the one in the middle something is used until then.
        await ledger.note_source(line[3], owner=KEY)
        await harness.advance(11 * DAY)
        await ledger.cleanup_entries("processed", 100, after="")
        known = [await ledger.find_source(each.digest, owner=None) for each in line]
        assert [each is not None for each in known] == [True, True, True, True, False, False]
        await harness.advance(20 * DAY)
        await ledger.cleanup_entries("processed", 100, after="")
        assert [await ledger.find_source(each.digest, owner=None) for each in line] == [None] * 6

    async def test_a_source_picture_goes_within_a_day_of_a_result_that_was_pinned(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        await ledger.note_source(photo, owner=KEY)
        await complete(ledger, asked(photo), "cut out")
        await ledger.pin(asked(photo).generation_key)
        await harness.advance(60 * DAY)
        await ledger.cleanup_entries("processed", 100, after="")
        assert (await ledger.find_source(photo.digest, owner=KEY)).is_owned
        await ledger.unpin(asked(photo).generation_key)
        await harness.advance(DAY + 60)
        await ledger.cleanup_entries("processed", 100, after="")
        assert await ledger.find_source(photo.digest, owner=KEY) is None

    async def test_no_cleanup_forgets_a_source_picture_that_a_wish_may_need(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        await ledger.note_source(photo, owner=KEY)
        await harness.advance(DAY + 1)
        await ledger.cleanup_entries("processed", 100, older_than=timedelta(0), after="")
        assert await ledger.find_source(photo.digest, owner=KEY)
        await harness.advance(DAY)
        await ledger.cleanup_entries("processed", 100, older_than=timedelta(0), after="")
        assert await ledger.find_source(photo.digest, owner=KEY) is None

    async def test_more_source_pictures_than_a_cleanup_looks_at_are_forgotten_page_by_page(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        pictures = [source(f"photo {each}") for each in range(5)]
        for picture in pictures:
            await ledger.note_source(picture, owner=KEY)
        await harness.advance(31 * DAY)
        reached, calls = "", 0
        while reached is not None:
            reached = (await ledger.cleanup_entries("processed", 2, after=reached)).reached
            calls += 1
            assert calls < 10
        assert [await ledger.find_source(each.digest, owner=None) for each in pictures] == [None] * 5
