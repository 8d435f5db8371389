"""Pictures answered from copies: who is asked, what is kept where, and when a copy is not answered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.denials import TakenDown
from copperplate.errors import LedgerUnavailable, NotFound, ObjectMissing
from copperplate.feed import Cursor, Tier
from copperplate.generation.lookup import LOOK_ONLY, LookupResult
from copperplate.ledger_answers import Hit
from copperplate.model import Condition, Outcome, PictureFormat
from copperplate.recipes.objects import original_key
from copperplate.serving.kept_names import find_kept_near
from copperplate.single_flight import call_scope
from copperplate.testing import GENERATE
from copperplate.tiers import tiers as tiers_module
from copperplate.tiers.memory import MemoryTier
from copperplate.tiers.removals import PAUSE_SECONDS
from copperplate.tiers.shared_writes import SharedWrites
from copperplate.tiers.tiers import Tiers
from tests.support.copies import BODY, copy_of
from tests.support.feeds import PartedClock, read_feed
from tests.support.pictures import ENCODER_VERSION, picture_request
from tests.support.shelves import ShelfTier
from tests.support.tiers_harness import STALE, Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.model import PictureRequest
    from copperplate.ports.tiers import Copy
    from copperplate.serving.renditions import Renditions

JPG, WEBP = picture_request(), picture_request(picture_format=PictureFormat.WEBP)
KEY = JPG.generation_key
# As `/api/images/{generation key}` asks for it.
ORIGINAL = replace(picture_request(picture_format=PictureFormat.PNG), rendition_key=original_key(KEY))


@pytest.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    monkeypatch.setattr("tests.support.coordinator_harness.FakeClock", PartedClock)
    made = Machine()
    made.count_calls(monkeypatch)
    yield made
    for tiers in made.opened:
        await tiers.close()


async def read_twice(serving: Renditions, request: PictureRequest = JPG) -> LookupResult:
    await serving.read(request, GENERATE)
    return await serving.read(request, GENERATE)


# --- hits ------------------------------------------------------------------------------------------


async def test_hit_in_memory_asks_neither_ledger_nor_store(machine: Machine) -> None:
    serving, tiers = await machine.begin_process()
    made = await serving.read(JPG, GENERATE)
    machine.asked.clear()
    again = await serving.read(JPG, GENERATE)
    found = await serving.find(JPG, LOOK_ONLY)
    assert (again.entry, again.body, again.outcome, again.tier) == (made.entry, made.body, Outcome.HIT, Tier.MEMORY)
    assert found.entry == made.entry
    item = tiers.find_hot(JPG.rendition_key)
    assert item is not None
    assert item.copy.body == made.body
    assert machine.asked == []
    assert machine.objects.gets == {}


async def test_hit_of_another_process_comes_from_the_disk_they_share_and_then_from_memory(machine: Machine) -> None:
    first, kept = await machine.begin_process(machine.disk, machine.redis)
    made = await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    other, _ = await machine.begin_process(machine.disk, machine.redis)
    machine.asked.clear()
    hits = [await other.read(JPG, GENERATE) for _ in range(2)]
    assert [hit.tier for hit in hits] == [Tier.DISK, Tier.MEMORY]
    assert {hit.body for hit in hits} == {made.body}
    assert machine.asked == []
    assert machine.redis.asked["find"] == 1  # by the first one, before the picture was made


async def test_entry_in_redis_needs_the_store_alone_and_goes_into_nearer_tiers(machine: Machine) -> None:
    first, kept = await machine.begin_process(machine.redis)
    made = await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    other, tiers = await machine.begin_process(machine.disk, machine.redis)
    machine.asked.clear()
    hit = await other.read(JPG, GENERATE)
    assert (hit.tier, hit.body, machine.asked) == (Tier.REDIS, made.body, [])
    await tiers.shut_down(within_seconds=5)
    assert (await other.read(JPG, GENERATE)).tier is Tier.MEMORY
    assert machine.disk.copies[JPG.rendition_key].body == made.body
    assert machine.redis.asked["keep"] == 1


async def test_found_in_the_ledger_it_is_kept_too(machine: Machine) -> None:
    await machine.serving.read(JPG, GENERATE)
    serving, _ = await machine.begin_process()
    assert [(await serving.read(JPG, GENERATE)).tier for _ in range(2)] == [None, Tier.MEMORY]


async def test_what_was_looked_up_before_it_is_read_is_kept_too(machine: Machine) -> None:
    await machine.serving.read(JPG, GENERATE)
    serving, _ = await machine.begin_process()
    looked_up = await serving.find(JPG, GENERATE)
    await serving.read(JPG, GENERATE, found=looked_up)
    assert (await serving.read(JPG, GENERATE)).tier is Tier.MEMORY


async def test_first_request_of_a_process_that_has_not_read_is_answered_and_not_kept(machine: Machine) -> None:
    await machine.serving.read(JPG, GENERATE)
    tiers = Tiers(
        machine.feed,
        machine.clock,
        memory=MemoryTier(machine.clock, max_pictures=5, max_bytes=10**6, max_age_seconds=60),
    )
    machine.opened.append(tiers)
    serving = machine.server(machine.process(tiers=tiers), tiers)
    reads = [await serving.read(JPG, GENERATE)]
    await machine.clock.settle()
    reads += [await serving.read(JPG, GENERATE) for _ in range(2)]
    assert [read.tier for read in reads] == [None, None, Tier.MEMORY]


async def test_process_that_starts_reads_the_feed_behind_it(machine: Machine) -> None:
    tiers = Tiers(machine.feed, machine.clock, shared=[machine.disk])
    machine.opened.append(tiers)
    tiers.start()
    assert tiers.begin_fill() is None
    await machine.clock.settle()
    assert tiers.begin_fill() is not None


async def test_private_kinds_enter_no_tier_and_are_found_in_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Private:
        is_public = False

    serving, tiers = await machine.begin_process(machine.disk, machine.redis)
    made = await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    monkeypatch.setattr(tiers_module, "KINDS", {"image": Private})
    assert await tiers.find(JPG) is None
    assert await tiers.find_stale_original(JPG) is None
    assert await tiers.find_body(made.entry) is None
    tiers.keep(WEBP, replace(made, entry=replace(made.entry, key="another")))
    await tiers.shut_down(within_seconds=5)
    assert tiers.find_hot("another") is None
    assert "another" not in machine.disk.copies


async def test_without_tiers_all_is_as_ever(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(memory_pictures=0)
    reads = machine.feed.reads
    hit = await read_twice(serving)
    assert (hit.tier, tiers.is_off, tiers.find_hot(JPG.rendition_key)) == (None, True, None)
    assert (tiers.find_hot_stale(JPG.rendition_key), tiers.begin_fill()) == (None, None)
    tiers.start()
    await machine.pass_time(5)
    assert machine.feed.reads == reads


# --- what is wrong -----------------------------------------------------------------------------------


async def test_what_is_purged_is_answered_by_no_tier_three_seconds_later(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk, machine.redis)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    await machine.ledger.purge(Condition(key=KEY), 1, is_dry_run=False)
    await machine.pass_time(3)
    again = await serving.read(JPG, GENERATE)
    assert (again.outcome, again.body) == (Outcome.GENERATED, b"picture 2 as jpg")
    assert (await serving.read(JPG, GENERATE)).body == again.body


async def test_what_is_taken_down_is_gone_from_a_warm_process_within_three_seconds(machine: Machine) -> None:
    serving, _ = await machine.begin_process(machine.disk)
    await read_twice(serving)
    await machine.ledger.take_down(KEY)
    for _ in range(6):
        await machine.pass_time(0.5)
        try:
            await serving.read(JPG, GENERATE)
        except TakenDown:
            break
    with pytest.raises(TakenDown):
        await serving.read(JPG, GENERATE)
    assert machine.clock.monotonic() <= 3


async def test_fill_is_dropped_where_its_picture_was_declared_wrong_while_it_ran(machine: Machine) -> None:
    await machine.serving.read(JPG, GENERATE)
    serving, tiers = await machine.begin_process(machine.disk)
    found = await serving.find(JPG, GENERATE)
    await machine.ledger.purge(Condition(key=KEY), 1, is_dry_run=False)
    await read_feed(tiers.coherence)
    tiers.keep(JPG, replace(found, body=b"picture 1 as jpg"))
    await tiers.shut_down(within_seconds=5)
    assert tiers.find_hot(JPG.rendition_key) is None
    assert JPG.rendition_key not in machine.disk.copies
    assert (await serving.read(JPG, GENERATE, found=found)).body == b"picture 2 as jpg"


async def test_fill_that_lands_before_its_purge_is_read_of_goes_with_it(machine: Machine) -> None:
    serving, tiers = await machine.begin_process()
    await serving.read(JPG, GENERATE)
    await machine.ledger.purge(Condition(key=KEY), 1, is_dry_run=False)
    assert tiers.find_hot(JPG.rendition_key) is not None  # not read of yet
    await read_feed(tiers.coherence)
    assert tiers.find_hot(JPG.rendition_key) is None


async def test_copy_on_disk_is_judged_after_it_was_found(machine: Machine) -> None:
    """The process stands still while it reads the file, and the picture is purged meanwhile."""
    first, kept = await machine.begin_process(machine.disk)
    await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    serving, tiers = await machine.begin_process(machine.disk)
    machine.disk.gate = asyncio.Event()
    finding = asyncio.create_task(tiers.find(JPG))
    await machine.clock.settle()
    await machine.ledger.purge(Condition(key=KEY), 1, is_dry_run=False)
    machine.clock.set_wall(600)
    machine.disk.gate.set()
    assert await finding is None
    assert JPG.rendition_key not in machine.disk.copies
    assert (await serving.read(JPG, GENERATE)).outcome is Outcome.GENERATED


async def test_who_joins_a_flight_keeps_nothing_that_was_declared_wrong_since_it_began(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.serving.read(JPG, GENERATE)
    serving, tiers = await machine.begin_process()
    looked, go_on, acquire = asyncio.Event(), asyncio.Event(), machine.ledger.acquire

    async def answered_late(*arguments: Any, **named: Any) -> Any:
        result = await acquire(*arguments, **named)
        looked.set()
        await go_on.wait()
        return result

    monkeypatch.setattr(machine.ledger, "acquire", answered_late)
    first = asyncio.create_task(serving.read(JPG, GENERATE))
    await asyncio.wait_for(looked.wait(), 10)
    await machine.ledger.purge(Condition(key=KEY), 10, is_dry_run=False)
    await read_feed(tiers.coherence)
    second = asyncio.create_task(serving.read(JPG, GENERATE))
    await asyncio.sleep(0)
    go_on.set()
    assert {(await first).body, (await second).body} == {b"picture 2 as jpg"}
    hot = tiers.find_hot(JPG.rendition_key)
    assert hot is None or hot.copy.body == b"picture 2 as jpg"


async def test_entry_in_redis_is_judged_again_once_its_bytes_are_there(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await machine.begin_process(machine.redis)
    made = await first.read(JPG, GENERATE)
    await asyncio.sleep(0)
    serving, tiers = await machine.begin_process(machine.redis)
    get = machine.store.get

    async def slow(path: str) -> bytes:
        body = await get(path)
        monkeypatch.undo()
        await machine.ledger.purge(Condition(key=KEY), 10, is_dry_run=False)
        await read_feed(tiers.coherence)
        return body

    monkeypatch.setattr(machine.store, "get", slow)
    found = await serving.read(JPG, GENERATE)
    assert (found.entry.path != made.entry.path, found.outcome) == (True, Outcome.GENERATED)


async def test_copy_that_a_young_process_knows_too_little_of_is_passed_over_and_stays(machine: Machine) -> None:
    first, kept = await machine.begin_process(machine.disk)
    await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    _, tiers = await machine.begin_process(machine.disk)
    tiers.coherence._known._known_from = 10**6
    assert await tiers.find(JPG) is None
    assert JPG.rendition_key in machine.disk.copies


async def test_copies_of_one_tier_can_be_declared_wrong(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    await machine.ledger.invalidate((Tier.MEMORY,), None)
    await read_feed(tiers.coherence)
    assert [(await serving.read(JPG, GENERATE)).tier for _ in range(2)] == [Tier.DISK, Tier.MEMORY]
    await machine.ledger.invalidate((Tier.MEMORY, Tier.DISK), (KEY,))
    await read_feed(tiers.coherence)
    assert (await serving.read(JPG, GENERATE)).tier is None


async def test_another_database_has_none_of_these_copies(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    machine.ledger._database = "restored"
    await read_feed(tiers.coherence)
    assert tiers.find_hot(JPG.rendition_key) is None
    assert await tiers.find(JPG) is None


@pytest.mark.parametrize("tier", [Tier.DISK, Tier.REDIS])
async def test_head_is_answered_by_a_shared_tier_without_the_ledger(machine: Machine, tier: Tier) -> None:
    shelf = ShelfTier(tier)
    first, kept = await machine.begin_process(shelf)
    await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    serving, _ = await machine.begin_process(shelf)
    machine.asked.clear()
    assert (await serving.find(JPG, LOOK_ONLY)).tier is tier
    assert machine.asked == []


async def test_purged_copies_leave_the_disk_although_nobody_asks_for_them(machine: Machine) -> None:
    other = picture_request("another")
    serving, tiers = await machine.begin_process(machine.disk, machine.redis)
    for request in (JPG, other):
        await serving.read(request, GENERATE)
    await tiers.shut_down(within_seconds=5)
    await machine.ledger.purge(Condition(key=KEY), 100, is_dry_run=False)
    await read_feed(tiers.coherence)
    await machine.pass_time(PAUSE_SECONDS)  # and no other page is read
    assert JPG.rendition_key not in machine.disk.copies
    assert machine.disk.copies[other.rendition_key].body is not None
    assert machine.redis.asked["remove_wrong"] == 0


async def test_memory_and_names_forget_what_is_wrong_before_anybody_else_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    await serving.read(JPG, GENERATE)
    await find_kept_near(machine.ledger, KEY, tiers)
    memory, names = tiers._memory, tiers._names
    assert memory is not None
    assert names is not None
    assert memory.find(JPG.rendition_key) is not None
    assert names.find(KEY) is not None
    known: list[tuple[object, object]] = []

    def look_and_fail(_: object) -> None:
        known.append((memory.find(JPG.rendition_key), names.find(KEY)))
        raise RuntimeError("whoever is told fails")

    monkeypatch.setattr(tiers, "_note_cdn_purges", look_and_fail)
    monkeypatch.setattr(tiers._removals, "note", look_and_fail)
    await machine.ledger.purge(Condition(key=KEY), 100, is_dry_run=False)
    await read_feed(tiers.coherence)
    assert known == [(None, None)]
    assert tiers.find_hot(JPG.rendition_key) is None


async def test_a_disk_is_looked_through_once_in_a_while_however_much_is_purged(machine: Machine) -> None:
    _, tiers = await machine.begin_process(machine.disk)
    looked = []
    for _ in range(12):
        await machine.ledger.invalidate([Tier.DISK], [KEY])
        await machine.pass_time(1)
        await read_feed(tiers.coherence)
        await asyncio.sleep(0)
        looked.append(machine.disk.asked["remove_wrong"])
    assert looked == [0] * 4 + [1] * 5 + [2] * 3
    await machine.pass_time(PAUSE_SECONDS)
    for _ in range(3):  # the last of what was named, and then nothing more
        await machine.pass_time(PAUSE_SECONDS)
        await read_feed(tiers.coherence)
        await asyncio.sleep(0)
    assert machine.disk.asked["remove_wrong"] == 3


async def test_what_a_disk_did_not_remove_is_removed_after_the_next_page(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    await machine.ledger.purge(Condition(key=KEY), 100, is_dry_run=False)
    machine.disk.refuses = True
    await read_feed(tiers.coherence)
    for _ in range(3):
        await machine.pass_time(PAUSE_SECONDS)
        assert JPG.rendition_key in machine.disk.copies
    assert machine.disk.asked["remove_wrong"] == 1
    machine.disk.refuses = False
    await read_feed(tiers.coherence)
    await machine.clock.settle()
    assert JPG.rendition_key not in machine.disk.copies


async def test_a_disk_that_goes_on_refusing_is_looked_through_less_and_less_often(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    _, tiers = await machine.begin_process(machine.disk)
    machine.disk.refuses = True
    await machine.ledger.invalidate([Tier.DISK], [KEY])
    for _ in range(32):
        await machine.pass_time(PAUSE_SECONDS)
        await read_feed(tiers.coherence)
        await machine.clock.settle()
    # After 5, 15, 35 and 75 seconds, and once more before 160.
    assert machine.disk.asked["remove_wrong"] == 5
    assert caplog.text.count("may be left there") == 1


async def test_a_copy_that_went_wrong_while_it_was_written_and_cannot_be_dropped_is_looked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    keep = machine.disk.keep

    async def keep_slowly(copy: Copy, request: PictureRequest) -> None:
        await machine.ledger.purge(Condition(key=KEY), 100, is_dry_run=False)
        await read_feed(tiers.coherence)
        await machine.pass_time(PAUSE_SECONDS)  # the look comes before the copy
        await keep(copy, request)
        machine.disk.refuses = True

    monkeypatch.setattr(machine.disk, "keep", keep_slowly)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    assert JPG.rendition_key in machine.disk.copies
    machine.disk.refuses = False
    await read_feed(tiers.coherence)
    await machine.pass_time(PAUSE_SECONDS)
    assert JPG.rendition_key not in machine.disk.copies


async def test_copies_that_are_too_old_to_be_judged_leave_the_disk_and_those_of_other_databases_stay(
    machine: Machine,
) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    kept = machine.disk.copies[JPG.rendition_key]
    # So old that the feed of then may be forgotten; nothing is known against it.
    old = replace(kept, entry=replace(kept.entry, generation_key="1" * 64), cursor=Cursor(0, 0))
    machine.disk.copies |= {"old": old, "of another database": replace(old, database="another")}
    tiers.coherence._known._known_from = 1
    assert not tiers.coherence.is_wrong(old, Tier.DISK)
    await machine.pass_time(PAUSE_SECONDS)
    assert set(machine.disk.copies) == {JPG.rendition_key, "of another database"}


async def test_a_copy_that_is_declared_wrong_while_it_is_written_is_dropped(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    keep, written = machine.disk.keep, asyncio.Event()

    async def keep_slowly(copy: Copy, request: PictureRequest) -> None:
        await keep(copy, request)
        await written.wait()

    machine.disk.keep = keep_slowly  # type: ignore[method-assign]
    await serving.read(JPG, GENERATE)
    await machine.clock.settle()
    assert JPG.rendition_key in machine.disk.copies
    await machine.ledger.purge(Condition(key=KEY), 100, is_dry_run=False)
    await read_feed(tiers.coherence)
    written.set()
    await tiers.shut_down(within_seconds=5)
    assert JPG.rendition_key not in machine.disk.copies


async def test_lost_object_takes_the_copies_with_it(machine: Machine) -> None:
    first, kept = await machine.begin_process(machine.redis)
    made = await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    await machine.objects.remove([made.entry.path])
    other, _ = await machine.begin_process(machine.disk, machine.redis)
    again = await other.read(JPG, GENERATE)
    assert (again.body, machine.provider.submits) == (made.body, 1)
    assert again.entry.path != made.entry.path
    assert "report_missing" in machine.asked


async def test_address_of_a_copy_whose_object_is_gone_is_not_handed_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, tiers = await machine.begin_process()
    made = await serving.read(JPG, GENERATE)
    monkeypatch.setattr(machine.objects, "public_url", lambda path: f"https://store.example/{path}")
    assert (await serving.read(JPG, GENERATE, at_most_bytes=1)).body is None
    await machine.objects.remove([made.entry.path])
    again = await serving.read(JPG, GENERATE, at_most_bytes=1)
    assert again.entry.path != made.entry.path
    assert tiers.find_hot(JPG.rendition_key) is None


async def test_copies_of_older_encoders_are_passed_over_and_never_hot(machine: Machine) -> None:
    first, kept = await machine.begin_process(machine.disk)
    await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    machine.images.encoder_version = ENCODER_VERSION + 1
    serving, tiers = await machine.begin_process(machine.disk)
    renewed = await serving.read(JPG, GENERATE)
    assert (renewed.tier, renewed.entry.encoder_version) == (None, ENCODER_VERSION + 1)
    await serving.shut_down(within_seconds=5)
    hot = tiers.find_hot(JPG.rendition_key)
    assert hot is None or hot.copy.entry.encoder_version == ENCODER_VERSION + 1


async def test_old_bytes_that_cannot_be_renewed_are_answered_and_not_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.serving.read(JPG, GENERATE)
    machine.images.encoder_version = ENCODER_VERSION + 1

    async def fail(*_: object) -> bytes:
        raise ObjectMissing

    serving, tiers = await machine.begin_process()
    monkeypatch.setattr(machine.artist, "encode", fail)
    assert (await serving.read(JPG, GENERATE)).body == b"picture 1 as jpg"
    assert tiers.find_hot(JPG.rendition_key) is None


# --- renditions and originals ------------------------------------------------------------------------


async def test_rendition_that_is_not_kept_yet_is_in_memory_and_on_disk_once_it_is(machine: Machine) -> None:
    await machine.serving.read(JPG, GENERATE)
    serving, tiers = await machine.begin_process(machine.disk)
    machine.objects.put_gate = asyncio.Event()
    made = await serving.read(WEBP, GENERATE)
    await machine.clock.settle()
    assert tiers.find_hot(WEBP.rendition_key) is not None
    assert WEBP.rendition_key not in machine.disk.copies
    machine.objects.put_gate.set()
    await tiers.shut_down(within_seconds=5)
    kept = machine.disk.copies[WEBP.rendition_key]
    assert kept.body == made.body
    found = await machine.ledger.peek(KEY, WEBP.rendition_key)
    assert isinstance(found, Hit)
    assert found.entry == kept.entry


async def test_rendition_that_cannot_be_kept_is_on_no_disk(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    await machine.serving.read(JPG, GENERATE)
    serving, tiers = await machine.begin_process(machine.disk)
    machine.objects.failing = 100
    await serving.read(WEBP, GENERATE)
    await machine.clock.advance(60)
    await tiers.shut_down(within_seconds=5)
    assert tiers._memory is not None
    assert tiers._memory.find(WEBP.rendition_key) is not None
    assert WEBP.rendition_key not in machine.disk.copies


async def test_original_that_was_read_for_a_rendition_is_on_disk_and_not_in_memory(machine: Machine) -> None:
    await machine.serving.read(JPG, GENERATE)
    serving, tiers = await machine.begin_process(machine.disk, machine.redis)
    await serving.read(WEBP, GENERATE)
    await tiers.shut_down(within_seconds=5)
    key = original_key(KEY)
    assert key in machine.disk.copies
    assert key not in machine.redis.copies
    assert tiers.find_hot(key) is None
    other, _ = await machine.begin_process(machine.disk)
    machine.objects.gets.clear()
    await other.read(picture_request(picture_format=PictureFormat.AVIF), GENERATE)
    assert machine.objects.gets == {}


async def test_bytes_of_a_copy_are_those_of_the_same_object_alone(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    made = await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    assert await tiers.find_body(made.entry) == made.body
    assert await tiers.find_body(replace(made.entry, path="2026/11/another.jpg")) is None
    tiers._memory = None
    assert await tiers.find_body(made.entry) == made.body


async def test_disk_is_not_asked_for_bytes_before_the_ledger_is_known(machine: Machine) -> None:
    made = await machine.serving.read(JPG, GENERATE)
    tiers = Tiers(machine.feed, machine.clock, shared=[machine.disk])
    assert await tiers.find_body(made.entry) is None
    assert machine.disk.asked == {}


# --- the ledger is away --------------------------------------------------------------------------------


async def test_while_the_ledger_is_away_hot_pictures_are_stale_however_old_their_copies_are(machine: Machine) -> None:
    serving, tiers = await machine.begin_process()
    tiers.coherence._stale_seconds = 1e6
    made = await serving.read(JPG, GENERATE)
    machine.stop_ledger()
    await machine.pass_time(2 * STALE.total_seconds())
    assert tiers.find_hot(JPG.rendition_key) is None
    assert tiers.find_hot_stale(JPG.rendition_key) is None  # nobody knows yet that it is away
    hit = await serving.read(JPG, GENERATE)
    assert (hit.outcome, hit.body, hit.tier) == (Outcome.STALE, made.body, Tier.MEMORY)
    hot = tiers.find_hot_stale(JPG.rendition_key)
    assert hot is not None
    machine.feed.error = None
    await machine.pass_time(1.5)
    assert tiers.find_hot_stale(JPG.rendition_key) is None
    assert (await serving.read(JPG, GENERATE)).outcome is Outcome.HIT


async def test_too_old_copy_is_replaced_while_the_ledger_answers(machine: Machine) -> None:
    serving, _ = await machine.begin_process()
    await serving.read(JPG, GENERATE)
    await machine.pass_time(STALE.total_seconds() + 1)
    assert [(await serving.read(JPG, GENERATE)).tier for _ in range(2)] == [None, Tier.MEMORY]


async def test_disk_serves_stale_copies_too_until_the_hour_is_over(machine: Machine) -> None:
    first, kept = await machine.begin_process(machine.disk)
    await first.read(JPG, GENERATE)
    await kept.shut_down(within_seconds=5)
    serving, _ = await machine.begin_process(machine.disk)
    machine.stop_ledger()
    await machine.pass_time(10)
    hit = await serving.read(JPG, GENERATE)
    assert (hit.outcome, hit.tier) == (Outcome.STALE, Tier.DISK)
    await machine.pass_time(STALE.total_seconds())
    with pytest.raises(LedgerUnavailable):
        await serving.read(JPG, GENERATE)


@pytest.mark.parametrize("tier", [Tier.MEMORY, Tier.DISK])
async def test_while_the_ledger_is_away_renditions_are_made_of_a_copy_of_the_original(
    machine: Machine, tier: Tier, caplog: pytest.LogCaptureFixture
) -> None:
    first, kept = await machine.begin_process(machine.disk)
    await read_twice(first)
    await read_twice(first, ORIGINAL)
    await kept.shut_down(within_seconds=5)
    serving, tiers = (first, kept) if tier is Tier.MEMORY else await machine.begin_process(machine.disk)
    encodings = machine.artist.encodings
    machine.stop_ledger()
    await machine.pass_time(10)
    machine.asked.clear()
    caplog.clear()
    made = [await serving.read(WEBP, GENERATE) for _ in range(3)]
    assert {(each.outcome, each.body) for each in made} == {(Outcome.STALE, b"picture 1 as webp")}
    assert [each.tier for each in made] == [tier, Tier.MEMORY, Tier.MEMORY]
    assert machine.artist.encodings == encodings + 1
    await machine.clock.settle()
    assert machine.asked == []
    assert [record.message for record in caplog.records if "not kept" in record.message] == []
    with pytest.raises(LedgerUnavailable):
        await serving.read(picture_request("another"), GENERATE)
    await machine.pass_time(60)
    await tiers.shut_down(within_seconds=5)
    assert WEBP.rendition_key not in machine.disk.copies


async def test_while_the_ledger_answers_renditions_are_made_by_its_word(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    await read_twice(serving)
    await read_twice(serving, ORIGINAL)
    machine.asked.clear()
    assert await tiers.find_stale_original(WEBP) is None
    assert await tiers.find_stale_original(ORIGINAL) is None
    await serving.read(WEBP, GENERATE)
    assert "acquire" in machine.asked


# --- names -----------------------------------------------------------------------------------------------


async def test_name_is_asked_for_once_and_again_after_its_picture_was_declared_wrong(machine: Machine) -> None:
    serving, tiers = await machine.begin_process()
    await serving.read(JPG, GENERATE)
    kept = [await find_kept_near(machine.ledger, KEY, tiers) for _ in range(3)]
    assert [each.generation_key for each in kept] == [KEY] * 3
    assert machine.asked.count("find_kept") == 1
    await machine.ledger.take_down(KEY)
    await read_feed(tiers.coherence)
    with pytest.raises(TakenDown):
        await find_kept_near(machine.ledger, KEY, tiers)


async def test_names_are_known_while_the_ledger_is_away_and_no_longer_than_copies(machine: Machine) -> None:
    serving, tiers = await machine.begin_process()
    await serving.read(JPG, GENERATE)
    await find_kept_near(machine.ledger, KEY, tiers)
    machine.stop_ledger()
    await machine.pass_time(60)
    assert (await find_kept_near(machine.ledger, KEY, tiers)).generation_key == KEY
    await machine.pass_time(STALE.total_seconds())
    with pytest.raises(LedgerUnavailable):
        await find_kept_near(machine.ledger, KEY, tiers)


async def test_name_that_was_asked_for_before_a_purge_is_not_kept_after_it(machine: Machine) -> None:
    serving, tiers = await machine.begin_process()
    await serving.read(JPG, GENERATE)
    fill = tiers.begin_fill()
    kept = await machine.ledger.find_kept(KEY)
    assert kept is not None
    await machine.ledger.purge(Condition(key=KEY), 1, is_dry_run=False)
    await read_feed(tiers.coherence)
    tiers.keep_name(KEY, kept, fill)
    tiers.keep_name(KEY, kept, None)
    assert await tiers.find_name(KEY) is None
    with pytest.raises(NotFound):
        await find_kept_near(machine.ledger, KEY, tiers)


# --- writing behind, the end ------------------------------------------------------------------------------


async def test_call_waits_at_its_end_for_the_copies_it_left_behind(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    with call_scope() as call:
        await serving.read(JPG, GENERATE)
    await tiers.finish(call, within_seconds=5)
    assert JPG.rendition_key in machine.disk.copies


async def test_copies_above_the_bound_are_not_written(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk)
    tiers._writes = SharedWrites(tiers.coherence.is_right, max_bytes=10)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    assert machine.disk.copies == {}
    assert tiers._writes._bytes == 0


async def test_copies_that_wait_to_be_written_count_before_one_of_them_is(machine: Machine) -> None:
    """In one turn of the event loop; those that are given up before they begin count no more."""
    writes = SharedWrites(lambda *_: True, max_bytes=5 * len(BODY))
    for name in "aabcdefgh":
        writes.begin([machine.disk], copy_of(name), JPG)
    assert writes._bytes == 5 * len(BODY)
    assert len(writes._flights) == 5
    await writes.drain(within_seconds=0)
    await machine.clock.settle()
    assert writes._bytes == 0


@pytest.mark.parametrize("has_disk", [False, True])
async def test_hot_pictures_stay_under_a_scan_with_a_disk_too(machine: Machine, has_disk: bool) -> None:
    """One request is one sighting, whichever tier answers: see `bench/harness/admission.py` for the caches alone."""
    filling, kept = await machine.begin_process(machine.disk)
    hot = [picture_request(f"hot {number}") for number in range(10)]
    once = [picture_request(f"once {number}") for number in range(120)]
    for request in (*hot, *once):
        await filling.read(request, GENERATE)
    await kept.shut_down(within_seconds=5)
    shared = [machine.disk] if has_disk else []
    serving, _ = await machine.begin_process(*shared, memory_pictures=len(hot))
    for request in hot:
        await serving.read(request, GENERATE)
    tiers_of_hot = []
    for number, request in enumerate(once):
        assert (await serving.read(request, GENERATE)).tier is (Tier.DISK if has_disk else None)
        tiers_of_hot.append((await serving.read(hot[7 * number % len(hot)], GENERATE)).tier)
    assert tiers_of_hot == [Tier.MEMORY] * len(once)
    # What is asked for twice, and in between no one of the others, takes the place of another.
    assert [(await serving.read(once[0], GENERATE)).tier for _ in range(3)][2] is Tier.MEMORY


async def test_figures_of_each_tier_that_can_say(machine: Machine) -> None:
    serving, tiers = await machine.begin_process(machine.disk, machine.redis)
    await serving.read(JPG, GENERATE)
    await tiers.shut_down(within_seconds=5)
    assert [(each.tier, each.entries) for each in await tiers.figures()] == [(Tier.MEMORY, 1), (Tier.DISK, 1)]
    await tiers.close()
    assert machine.disk.is_closed
    assert machine.redis.is_closed
