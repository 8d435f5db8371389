"""What every ledger promises of parents: found by the bytes of a source picture, or told by who alone had them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.ledger_answers import Gone, Hit
from copperplate.model import Condition
from copperplate.recipes.objects import sha256_hex
from copperplate.source_pictures import Parent
from tests.contract.ledger.harness import acquire, complete, peek
from tests.contract.ledger.lineage import CROP, MIDDLE, MIDDLE_SOURCE, ROOT, told
from tests.contract.ledger.source_pictures import ALICE, ENLARGE, KEY, asked, source
from tests.support.pictures import upload

if TYPE_CHECKING:
    from tests.contract.ledger.harness import LedgerHarness


class ParentContract:
    """Where a source picture comes from is noted once."""

    async def test_a_parent_that_was_itself_made_from_the_bytes_is_not_noted(self, harness: LedgerHarness) -> None:
        """Neither where that is said, nor where the bytes of both are the same."""
        ledger, photo = harness.ledger, source()
        await ledger.note_source(photo, owner=KEY)
        cut_out = await complete(ledger, asked(photo), "cut out")
        below = replace(source(), digest=cut_out.digest)
        await ledger.note_source(below, owner=KEY)
        await complete(ledger, asked(below, ENLARGE), "photo")
        for parent in (asked(photo), asked(below, ENLARGE)):
            said = replace(photo, parent=Parent(generation_key=parent.generation_key, crop=CROP))
            assert (await ledger.note_source(said, owner=KEY)).picture.parent is None
        assert upload("photo").digest == photo.digest
        assert told(await ledger.lineage(asked(photo).generation_key))[0] == (asked(photo).generation_key, 0)
        assert (await ledger.take_down(asked(below, ENLARGE).generation_key)).descendants == 1
        assert await acquire(ledger, asked(photo, ENLARGE)) == Gone()

    async def test_a_lineage_of_bytes_that_came_as_a_file_goes_on_beyond_the_picture_they_are(
        self, harness: LedgerHarness
    ) -> None:
        """Nobody named the parent: it is found by the bytes."""
        ledger = harness.ledger
        await complete(ledger, ROOT, "root")
        await ledger.note_source(MIDDLE_SOURCE, owner=KEY)
        middle = await complete(ledger, MIDDLE, "middle")
        brought = replace(source(), digest=middle.digest)
        parent = Parent(generation_key=MIDDLE.generation_key)
        assert (await ledger.note_source(brought, owner=ALICE)).picture.parent == parent
        last = asked(brought, ENLARGE)
        await complete(ledger, last, "last")
        await ledger.purge(Condition(key=MIDDLE.generation_key), 10, is_dry_run=False)
        assert told(await ledger.lineage(last.generation_key)) == [(ROOT.generation_key, -2), (last.generation_key, 0)]
        assert (await ledger.take_down(ROOT.generation_key)).descendants == 1
        assert (await ledger.find_source(brought.digest, owner=ALICE)).is_taken_down
        assert await peek(ledger, last) == Gone()

    async def test_the_picture_that_bytes_are_is_their_parent_before_one_they_are_said_to_be_cropped_from(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        original = await complete(ledger, ROOT, "root")
        said = replace(MIDDLE_SOURCE, digest=original.digest, parent=Parent(generation_key="f" * 64, crop=CROP))
        known = await ledger.note_source(said, owner=KEY)
        assert known.picture.parent == Parent(generation_key=ROOT.generation_key)

    async def test_nobody_says_of_bytes_that_others_had_that_they_are_cropped(self, harness: LedgerHarness) -> None:
        """Else whoever has a picture taken down takes others' results with it."""
        ledger, photo, bare = harness.ledger, source(), source("nobody's")
        await complete(ledger, ROOT, "root")
        await ledger.note_source(photo, owner=ALICE)
        await ledger.note_source(bare, owner=None)
        await complete(ledger, asked(photo), "cut out")
        parent = Parent(generation_key=ROOT.generation_key, crop=CROP)
        for picture in (photo, bare):
            for owner in (KEY, None):
                known = await ledger.note_source(replace(picture, parent=parent), owner=owner)
                assert (known.picture.parent, known.is_owned_alone) == (None, owner == KEY and picture == bare)
        assert (await ledger.take_down(ROOT.generation_key)).descendants == 0
        assert isinstance(await peek(ledger, asked(photo)), Hit)

    async def test_who_alone_had_bytes_may_still_say_what_they_are_cropped_from(self, harness: LedgerHarness) -> None:
        ledger, photo = harness.ledger, source()
        assert (await ledger.note_source(photo, owner=KEY)).is_owned_alone
        assert (await ledger.find_source(photo.digest, owner=KEY)).is_owned_alone
        parent = Parent(generation_key=ROOT.generation_key, crop=CROP)
        assert (await ledger.note_source(replace(photo, parent=parent), owner=KEY)).picture.parent == parent

    async def test_what_one_owner_declared_is_forgotten_once_another_has_the_bytes(
        self, harness: LedgerHarness
    ) -> None:
        ledger, photo = harness.ledger, source()
        await complete(ledger, ROOT, "root")
        parent = Parent(generation_key=ROOT.generation_key, crop=CROP)
        assert (await ledger.note_source(replace(photo, parent=parent), owner=KEY)).picture.parent == parent
        await complete(ledger, asked(photo), "cut out")
        assert (await ledger.note_source(photo, owner=None)).picture.parent == parent
        assert (await ledger.note_source(photo, owner=ALICE)).picture.parent is None
        assert (await ledger.note_source(replace(photo, parent=parent), owner=KEY)).picture.parent is None
        assert (await ledger.take_down(ROOT.generation_key)).descendants == 0
        assert isinstance(await peek(ledger, asked(photo)), Hit)

    async def test_strangers_declare_nothing(self, harness: LedgerHarness) -> None:
        parent = Parent(generation_key=ROOT.generation_key, crop=CROP)
        known = await harness.ledger.note_source(replace(source(), parent=parent), owner=None)
        assert known.picture.parent is None

    async def test_what_is_proved_stands_in_place_of_what_was_declared(self, harness: LedgerHarness) -> None:
        ledger, said = harness.ledger, Parent(generation_key="f" * 64, crop=CROP)
        photo = replace(source(), digest=sha256_hex(b"root"), parent=said)
        assert (await ledger.note_source(photo, owner=KEY)).picture.parent == said
        kept = await complete(ledger, ROOT, "root")
        assert kept.digest == photo.digest
        known = await ledger.note_source(replace(photo, parent=None), owner=KEY)
        assert known.picture.parent == Parent(generation_key=ROOT.generation_key)
