"""What every ledger promises of lineage: seen both ways, followed by takedowns and by purges with children."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from copperplate.ledger_answers import Gone, Hit, Lead, Miss
from copperplate.model import Condition
from copperplate.ports.takedowns import Found
from copperplate.source_pictures import Crop, Operation, Parent
from tests.contract.ledger.harness import acquire, complete, discarded, lead, peek
from tests.contract.ledger.source_pictures import ALICE, ENLARGE, KEPT, KEY, asked, source
from tests.support.pictures import picture_request, upload

if TYPE_CHECKING:
    from copperplate.source_pictures import LineageNode
    from tests.contract.ledger.harness import LedgerHarness

ROOT = picture_request()
CROP = Crop(left=0, top=8, width=640, height=480)
MIDDLE_SOURCE = source("rectangle", Parent(generation_key=ROOT.generation_key, crop=CROP))
MIDDLE = asked(MIDDLE_SOURCE)
LAST_SOURCE = source("cut out", Parent(generation_key=MIDDLE.generation_key))
LAST = asked(LAST_SOURCE, ENLARGE, scale="3")
DAY = 86_400


async def make_line(harness: LedgerHarness) -> None:
    """A picture that is generated, what was made from a rectangle of it, and what was made from that."""
    await complete(harness.ledger, ROOT, "root")
    for number, (noted, made) in enumerate(((MIDDLE_SOURCE, MIDDLE), (LAST_SOURCE, LAST))):
        await harness.advance(60)
        await harness.ledger.note_source(noted, owner=KEY)
        await complete(harness.ledger, made, f"made {number}")


def told(nodes: list[LineageNode]) -> list[tuple[str, int]]:
    return [(node.generation_key, node.depth) for node in nodes]


class LineageContract:
    """A picture's ancestors and descendants, through the bytes."""

    async def test_a_picture_is_told_with_what_it_was_made_from_and_what_was_made_from_it(
        self, harness: LedgerHarness
    ) -> None:
        await make_line(harness)
        first, middle, last = nodes = list(await harness.ledger.lineage(MIDDLE.generation_key))
        assert told(nodes) == [(ROOT.generation_key, -1), (MIDDLE.generation_key, 0), (LAST.generation_key, 1)]
        assert (first.kind, first.operation, first.source, first.parent) == ("image", None, None, None)
        assert (middle.operation, middle.source) == (Operation.REMOVE_BACKGROUND, MIDDLE_SOURCE.digest)
        assert (middle.parent, middle.crop) == (ROOT.generation_key, CROP)
        assert (last.operation, last.parent, last.crop) == (Operation.UPSCALE, MIDDLE.generation_key, None)
        assert (last.kind, last.model) == ("processed", ENLARGE.name)
        assert first.created_at < middle.created_at < last.created_at

    async def test_a_lineage_is_found_by_the_key_of_a_form_and_is_empty_of_an_unknown_one(
        self, harness: LedgerHarness
    ) -> None:
        await make_line(harness)
        hit = await peek(harness.ledger, LAST)
        assert isinstance(hit, Hit)
        assert [node.depth for node in await harness.ledger.lineage(hit.entry.key)] == [-2, -1, 0]
        assert await harness.ledger.lineage("0" * 64) == []

    async def test_a_lineage_goes_on_beyond_a_picture_that_is_no_longer_kept(self, harness: LedgerHarness) -> None:
        await make_line(harness)
        await harness.ledger.purge(Condition(key=MIDDLE.generation_key), 10, is_dry_run=False)
        assert told(await harness.ledger.lineage(LAST.generation_key)) == [
            (ROOT.generation_key, -2),
            (LAST.generation_key, 0),
        ]
        assert told(await harness.ledger.lineage(ROOT.generation_key))[-1] == (LAST.generation_key, 2)
        taken = await harness.ledger.take_down(ROOT.generation_key)
        assert (taken.generations, taken.descendants) == (2, 1)
        assert await peek(harness.ledger, LAST) == Gone()

    async def test_a_cleanup_keeps_the_sources_that_a_lineage_goes_through(self, harness: LedgerHarness) -> None:
        await make_line(harness)
        await harness.ledger.purge(Condition(key=MIDDLE.generation_key), 10, is_dry_run=False)
        await harness.advance(29 * DAY)
        await harness.ledger.purge(Condition(key=LAST.generation_key), 10, is_dry_run=False)
        await complete(harness.ledger, LAST, "again")
        await harness.advance(2 * DAY)
        await harness.ledger.cleanup_entries("processed", 100)
        assert await harness.ledger.find_source(MIDDLE_SOURCE.digest, owner=None)
        await harness.ledger.take_down(ROOT.generation_key)
        assert await peek(harness.ledger, LAST) == Gone()

    async def test_each_of_a_lineage_is_told_with_whether_an_owner_had_its_bytes(self, harness: LedgerHarness) -> None:
        await make_line(harness)
        await harness.ledger.note_source(LAST_SOURCE, owner=ALICE)
        for owner, had in ((KEY, [False, True, True]), (ALICE, [False, False, True]), (None, [False] * 3)):
            nodes = await harness.ledger.lineage(LAST.generation_key, with_descendants=False, owner=owner)
            assert [node.is_owned for node in nodes] == had


class LineageTakedownContract:
    """What is taken down takes with it all that was made from it."""

    async def test_a_takedown_takes_every_descendant_with_it(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make_line(harness)
        await complete(ledger, picture_request("another"), "another")
        taken = await ledger.take_down(ROOT.generation_key, reason="a letter of a lawyer")
        assert (taken.found, taken.generations, taken.descendants) == (Found.GENERATION, 3, 2)
        assert (taken.is_new, taken.is_whole) == (True, True)
        assert set(taken.keys) == {ROOT.generation_key, MIDDLE.generation_key, LAST.generation_key}
        paths = {upload(name).path for name in ("root", "made 0", "made 1")}
        assert {path for _, path in taken.objects} == paths
        for gone in (ROOT, MIDDLE, LAST):
            assert await peek(ledger, gone) == Gone()
            assert await acquire(ledger, gone) == Gone()
        assert isinstance(await peek(ledger, picture_request("another")), Hit)
        assert {path for _, path in (await ledger.take_down(ROOT.generation_key)).objects} == paths
        await harness.advance(3_700)
        assert await discarded(ledger) == paths

    async def test_of_bytes_that_were_taken_down_nothing_is_made_by_any_operation(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make_line(harness)
        await ledger.take_down(ROOT.generation_key)
        for noted in (MIDDLE_SOURCE, LAST_SOURCE):
            assert (await ledger.find_source(noted.digest, owner=KEY)).is_taken_down
            assert await acquire(ledger, asked(noted, ENLARGE, scale="4")) == Gone()
        later = source("later", Parent(generation_key=LAST.generation_key, crop=CROP))
        assert (await ledger.note_source(later, owner=KEY)).is_taken_down
        assert await acquire(ledger, asked(later)) == Gone()

    async def test_the_bytes_of_a_picture_that_was_taken_down_are_refused_as_a_file(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        original = await complete(ledger, ROOT, "root")
        downloaded = replace(source(), digest=original.digest)
        await ledger.note_source(downloaded, owner=KEY)
        await complete(ledger, asked(downloaded), "of a file")
        assert told(await ledger.lineage(ROOT.generation_key))[1:] == [(asked(downloaded).generation_key, 1)]
        assert (await ledger.take_down(ROOT.generation_key)).descendants == 1
        assert await acquire(ledger, asked(downloaded, ENLARGE)) == Gone()

    async def test_bytes_are_taken_down_by_their_digest_and_their_parent_stays(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make_line(harness)
        taken = await ledger.take_down(MIDDLE_SOURCE.digest)
        assert (taken.found, taken.descendants) == (Found.SOURCE, 2)
        assert isinstance(await peek(ledger, ROOT), Hit)
        for refused in (MIDDLE, LAST, asked(MIDDLE_SOURCE, ENLARGE)):
            assert await acquire(ledger, refused) == Gone()
        assert await ledger.lift_takedown(MIDDLE_SOURCE.digest)
        assert isinstance(await acquire(ledger, asked(MIDDLE_SOURCE, ENLARGE)), Lead)

    async def test_a_leader_that_notes_its_parent_after_the_takedown_keeps_nothing(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        await complete(ledger, ROOT, "root")
        held = await lead(ledger, MIDDLE)
        assert await ledger.begin_submit(MIDDLE.generation_key, held.fence, submit_no=1, provider="painter")
        await ledger.take_down(ROOT.generation_key)
        assert (await ledger.note_source(MIDDLE_SOURCE, owner=KEY)).is_taken_down
        stored = upload("late")
        assert not await ledger.intend_upload(MIDDLE.generation_key, held.fence, stored, usage={})
        assert await ledger.complete(MIDDLE.generation_key, held.fence, stored, url=None) is None
        assert await acquire(ledger, MIDDLE) == Gone()

    async def test_a_leader_at_work_on_a_descendant_loses_its_lease(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await complete(ledger, ROOT, "root")
        await ledger.note_source(MIDDLE_SOURCE, owner=KEY)
        held = await lead(ledger, MIDDLE)
        assert (await ledger.take_down(ROOT.generation_key)).descendants == 1
        assert not await ledger.begin_submit(MIDDLE.generation_key, held.fence, submit_no=1, provider="painter")
        assert await harness.spent(MIDDLE.generation_key) is None

    async def test_results_of_bytes_go_when_their_parent_turns_out_to_be_taken_down(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        await ledger.note_source(replace(MIDDLE_SOURCE, parent=None), owner=KEY)
        await complete(ledger, MIDDLE, "made before")
        await ledger.take_down(ROOT.generation_key)
        assert isinstance(await peek(ledger, MIDDLE), Hit)
        assert (await ledger.note_source(MIDDLE_SOURCE, owner=KEY)).is_taken_down
        assert not isinstance(await peek(ledger, MIDDLE), Hit)
        assert await acquire(ledger, MIDDLE) == Gone()

    async def test_a_lift_gives_back_what_the_takedown_took_with_it_and_nothing_else(
        self, harness: LedgerHarness
    ) -> None:
        ledger = harness.ledger
        await make_line(harness)
        await ledger.take_down(LAST.generation_key)
        await ledger.take_down(ROOT.generation_key)
        assert not await ledger.lift_takedown(MIDDLE.generation_key)
        assert await ledger.lift_takedown(ROOT.generation_key)
        assert await peek(ledger, ROOT) == Miss()
        assert isinstance(await acquire(ledger, MIDDLE), Lead)
        assert await acquire(ledger, LAST) == Gone()
        assert await ledger.lift_takedown(LAST.generation_key)
        assert isinstance(await acquire(ledger, LAST), Lead)

    async def test_what_followed_may_be_taken_down_for_itself(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make_line(harness)
        await ledger.take_down(ROOT.generation_key)
        again = await ledger.take_down(MIDDLE.generation_key)
        assert (again.found, again.is_new, again.generations) == (Found.TOMBSTONE, True, 0)
        assert await ledger.lift_takedown(ROOT.generation_key)
        assert await peek(ledger, MIDDLE) == Gone()

    async def test_the_clean_copies_of_what_is_taken_down_go_too(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make_line(harness)
        copies = {
            noted.digest: replace(KEPT, path=f"2026/11/{noted.digest}.png") for noted in (MIDDLE_SOURCE, LAST_SOURCE)
        }
        for digest, kept in copies.items():
            assert await ledger.keep_input(digest, kept)
        taken = await ledger.take_down(MIDDLE_SOURCE.digest)
        assert {kept.path for kept in copies.values()} <= {path for _, path in taken.objects}
        for digest in copies:
            assert (await ledger.find_source(digest, owner=KEY)).kept_input is None
        again = await ledger.take_down(MIDDLE_SOURCE.digest)
        assert set(again.objects) == set(taken.objects)
        # A copy that was stored beside the takedown.
        late = replace(KEPT, path=f"2026/11/{'f' * 64}.png")
        assert not await ledger.keep_input(LAST_SOURCE.digest, late)
        await harness.advance(3_700)
        assert {late.path, *(kept.path for kept in copies.values())} <= await discarded(ledger)


class LineagePurgeContract:
    """A purge removes what was made from a picture only where that is asked."""

    async def test_a_purge_leaves_children_and_a_dry_run_counts_them(self, harness: LedgerHarness) -> None:
        await make_line(harness)
        condition = Condition(key=ROOT.generation_key)
        counted = await harness.ledger.purge(condition, 10, is_dry_run=True)
        assert (counted.generations, counted.children, counted.tree) == (1, 2, ())
        removed = await harness.ledger.purge(condition, 10, is_dry_run=False)
        assert removed.generations == 1
        assert isinstance(await peek(harness.ledger, MIDDLE), Hit)

    async def test_a_purge_with_children_shows_the_tree_first_and_removes_all(self, harness: LedgerHarness) -> None:
        await make_line(harness)
        condition = Condition(key=ROOT.generation_key)
        counted = await harness.ledger.purge(condition, 10, is_dry_run=True, with_children=True)
        assert (counted.generations, counted.children, counted.has_more) == (3, 2, False)
        assert [(node.key, node.parent_key) for node in counted.tree] == [
            (ROOT.generation_key, None),
            (MIDDLE.generation_key, ROOT.generation_key),
            (LAST.generation_key, MIDDLE.generation_key),
        ]
        assert [(node.kind, node.operation, node.bytes) for node in counted.tree] == [
            ("image", None, 1_000),
            ("processed", "remove-background", 1_000),
            ("processed", "upscale", 1_000),
        ]
        removed = await harness.ledger.purge(condition, 10, is_dry_run=False, with_children=True)
        assert (removed.generations, removed.children, len(removed.objects)) == (3, 2, 3)
        for gone in (ROOT, MIDDLE, LAST):
            assert await peek(harness.ledger, gone) == Miss()

    async def test_more_children_than_one_call_removes_go_before_their_parent(self, harness: LedgerHarness) -> None:
        await make_line(harness)
        condition = Condition(key=ROOT.generation_key)
        first = await harness.ledger.purge(condition, 1, is_dry_run=False, with_children=True)
        assert (first.generations, first.has_more) == (1, True)
        assert isinstance(await peek(harness.ledger, ROOT), Hit)
        await harness.ledger.purge(condition, 1, is_dry_run=False, with_children=True)
        for gone in (ROOT, MIDDLE, LAST):
            assert await peek(harness.ledger, gone) == Miss()

    async def test_pages_of_a_purge_with_children_take_the_last_of_a_lineage_first(
        self, harness: LedgerHarness
    ) -> None:
        """Whatever their keys: the order of these is another one."""
        await complete(harness.ledger, ROOT, "root")
        line = [ROOT]
        for number in range(6):
            noted = source(f"bytes {number}", Parent(generation_key=line[-1].generation_key))
            await harness.ledger.note_source(noted, owner=KEY)
            line.append(asked(noted))
            await complete(harness.ledger, line[-1], f"made {number}")
        condition = Condition(key=ROOT.generation_key)
        while line:
            purged = await harness.ledger.purge(condition, 1, is_dry_run=False, with_children=True)
            gone = [line.pop().generation_key] if len(line) > 2 else [each.generation_key for each in line]
            assert (sorted(purged.keys), purged.has_more) == (sorted(gone), True)
            line = line if len(line) > 1 and len(gone) == 1 else []

    async def test_a_pinned_child_is_left_and_counted_unless_it_is_meant(self, harness: LedgerHarness) -> None:
        ledger = harness.ledger
        await make_line(harness)
        await ledger.pin(MIDDLE.generation_key)
        condition = Condition(key=ROOT.generation_key)
        meant = await ledger.purge(condition, 10, is_dry_run=True, with_children=True, with_pinned=True)
        assert (meant.generations, meant.pinned_children) == (3, 0)
        removed = await ledger.purge(condition, 10, is_dry_run=False, with_children=True)
        assert (removed.generations, removed.pinned_children) == (2, 1)
        assert isinstance(await peek(ledger, MIDDLE), Hit)
