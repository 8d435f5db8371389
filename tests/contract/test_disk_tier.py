"""Copies on disk: what is kept is found as it was, by any process, and everything else is dropped."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters import disk_tier
from copperplate.adapters.copy_files import read_copy
from copperplate.adapters.copy_folder import FOLDER, ID_NAME, CopyFolder
from copperplate.adapters.disk_tier import INLINE_BYTES, DiskTier
from copperplate.adapters.system_clock import SystemClock
from copperplate.feed import Cursor, Tier
from tests.support.copies import BODY, DATABASE, JumpingClock, copy_of, file_of, key_of
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from copperplate.ports.tiers import Copy

ENOUGH = 256_000_000
REQUEST = picture_request()


def process(folder: Path, max_bytes: int = ENOUGH) -> DiskTier:
    """A process's view of a folder that others may use, too."""
    return DiskTier(SystemClock(), folder, max_bytes)


def copies(folder: Path) -> list[Path]:
    return sorted(file for file in (folder / FOLDER).iterdir() if file.name != ID_NAME)


async def keep(tier: DiskTier, copy: Copy) -> None:
    await tier.keep(copy, REQUEST)


async def find(tier: DiskTier, name: str) -> Copy | None:
    return await tier.find(key_of(name), DATABASE)


# --- what is declared wrong ---------------------------------------------------------------------------


async def test_what_is_wrong_is_removed_by_its_heads_alone_and_all_else_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_tier, "HEADS", 2)
    wrong = {"wrong", "wrong, too", "wrong, and large"}
    for each in ("right", *sorted(wrong), "altered"):
        await keep(process(tmp_path), copy_of(each, BODY * (200 if each.endswith("large") else 1)))
    theirs = copy_of("wrong", database="another database")
    await keep(process(tmp_path), theirs)
    [altered] = [file for file in copies(tmp_path) if file.name.startswith(key_of("altered"))]
    altered.write_bytes(altered.read_bytes().replace(b"3:7:4", b"3:9:4"))
    (tmp_path / FOLDER / "ours.unfinished").write_bytes(b"")
    os.mkfifo(tmp_path / FOLDER / "pipe")
    shown: list[Copy] = []

    def is_right(copy: Copy) -> bool:
        shown.append(copy)
        return copy.entry.key not in {key_of(each) for each in wrong}

    read, reads = os.read, list[int]()

    def noted(file: int, size: int) -> bytes:
        reads.append(size)
        return read(file, size)

    looks = process(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", noted)
        assert await looks.remove_wrong(DATABASE, is_right)
    assert {copy.entry.key for copy in shown} == {key_of(each) for each in ("right", *wrong)}
    assert all(copy.body is None for copy in shown)
    assert max(reads) == disk_tier.HEAD_BYTES
    assert len(copies(tmp_path)) == 4, "the right one, that of another database, and what is none of ours"
    assert await find(process(tmp_path), "right") == copy_of("right")
    assert await process(tmp_path).find(key_of("wrong"), "another database") == theirs
    assert await find(looks, "wrong") is None


async def test_a_disk_that_refuses_is_not_seen_through(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_bytes(b"no folder")
    assert not await process(tmp_path).remove_wrong(DATABASE, lambda _: True)


async def test_a_right_copy_with_a_long_head_stays(tmp_path: Path) -> None:
    running = range(10**9, 10**9 + 1_000)
    tier, long = process(tmp_path), copy_of("long", cursor=Cursor(running.start, running.stop, frozenset(running)))
    await keep(tier, long)
    assert await tier.remove_wrong(DATABASE, lambda copy: copy.entry == long.entry)
    assert await find(tier, "long") == long


async def test_a_file_that_cannot_be_removed_keeps_no_other_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        await keep(process(tmp_path), copy_of(str(number)))
    stuck = tmp_path / FOLDER / file_of("stuck")
    stuck.mkdir()
    assert not await process(tmp_path).remove_wrong(DATABASE, lambda _: False)
    assert copies(tmp_path) == [stuck]
    assert "cannot be removed" in caplog.text
    stuck.rmdir()
    assert await process(tmp_path).remove_wrong(DATABASE, lambda _: False)


async def test_a_file_that_cannot_be_read_keeps_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0", "broken", "2"):
        await keep(process(tmp_path), copy_of(name))
    open_file = CopyFolder.open

    def open_or_fail(self: CopyFolder, name: str) -> tuple[int, os.stat_result] | None:
        if name == file_of("broken"):
            raise OSError(errno.EIO, "a sector is broken")
        return open_file(self, name)

    monkeypatch.setattr(CopyFolder, "open", open_or_fail)
    assert not await process(tmp_path).remove_wrong(DATABASE, lambda _: False)
    assert [file.name for file in copies(tmp_path)] == [file_of("broken")]


# --- what is kept -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copy",
    [
        copy_of("kept"),
        copy_of("kept", b""),
        copy_of("kept", bytes(range(256)) * 8_000),
        copy_of("kept", cursor=Cursor(2**60, 2**61)),
        replace(copy_of("kept"), entry=replace(copy_of("kept").entry, placeholder=None, is_ai_made=False)),
    ],
    ids=["small", "empty", "large", "a cursor of 64 bits", "an imported picture"],
)
async def test_what_was_kept_is_found_by_every_process_as_it_was(tmp_path: Path, copy: Copy) -> None:
    one, other = process(tmp_path / "not" / "there" / "yet"), process(tmp_path / "not" / "there" / "yet")
    await keep(one, copy)
    assert [await find(tier, "kept") for tier in (one, one, other, other)] == [copy] * 4


async def test_nothing_is_found_of_what_was_not_kept(tmp_path: Path) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("one"))
    assert await find(tier, "another") is None


async def test_a_newer_copy_takes_the_place_of_an_older_one_for_every_process(tmp_path: Path) -> None:
    one, other = process(tmp_path), process(tmp_path)
    old, new = copy_of("changed", b"old bytes"), copy_of("changed", b"new bytes", cursor=Cursor(9, 9))
    await keep(one, old)
    assert await find(other, "changed") == old
    await keep(one, new)
    assert [await find(tier, "changed") for tier in (one, other)] == [new, new]
    assert len(copies(tmp_path)) == 1


async def test_the_same_bytes_with_another_cursor_are_another_copy(tmp_path: Path) -> None:
    one, other = process(tmp_path), process(tmp_path)
    await keep(one, copy_of("same", cursor=Cursor(3, 3)))
    await find(other, "same")
    await keep(one, copy_of("same", cursor=Cursor(8, 8)))
    found = await find(other, "same")
    assert found is not None
    assert found.cursor == Cursor(8, 8)


async def test_what_one_process_drops_is_gone_for_all(tmp_path: Path) -> None:
    one, other = process(tmp_path), process(tmp_path)
    await keep(one, copy_of("dropped"))
    assert await find(one, "dropped") is not None
    assert await other.find(key_of("dropped"), DATABASE) is not None
    for _ in range(2):
        await other.drop(key_of("dropped"))
    assert [await find(one, "dropped"), copies(tmp_path)] == [None, []]


async def test_without_a_folder_it_is_the_systems_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await keep(DiskTier(SystemClock(), None, ENOUGH), copy_of("temporary"))
    assert len(copies(tmp_path)) == 1


@pytest.mark.parametrize("key", ["../outside", "", "A" * 64, f"{'0' * 64}\n", "id"])
async def test_what_is_no_key_reaches_no_file(tmp_path: Path, key: str) -> None:
    (tmp_path / "outside").write_bytes(b"not ours")
    tier = process(tmp_path)
    await tier.keep(replace(copy_of("x"), entry=replace(copy_of("x").entry, key=key)), REQUEST)
    assert await tier.find(key, DATABASE) is None
    await tier.drop(key)
    assert [file.name for file in tmp_path.iterdir()] == ["outside"]


async def test_after_it_was_closed_nothing_is_found_nor_kept(tmp_path: Path) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("one"))
    await tier.close()
    await tier.close()
    await keep(tier, copy_of("two"))
    assert (await find(tier, "one"), len(copies(tmp_path))) == (None, 1)


# --- copies that are not what they were ------------------------------------------------------------


def _flipped(raw: bytes, at: int) -> bytes:
    at %= len(raw)
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize(
    "alter",
    [
        lambda raw: b"",
        lambda raw: raw[:16],
        lambda raw: raw[:54],
        lambda raw: raw[:300],
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: _flipped(raw, -1),
        lambda raw: _flipped(raw, 0),
        lambda raw: _flipped(raw, 20),
        lambda raw: _flipped(raw, 30),
        lambda raw: _flipped(raw, 300),
        lambda raw: raw.replace(b'"cursor":"3:7:4"', b'"cursor":"9:9:  "'),
        lambda raw: raw.replace(b"copy 1", b"copy 2", 1),
        lambda raw: bytes(len(raw)),
        lambda raw: b"\xff" * 10_000,
    ],
    ids=[
        "emptied",
        "torn in the prefix",
        "torn before the header",
        "torn in the header",
        "cut",
        "longer",
        "a bit of the bytes",
        "a bit of the version",
        "a bit of the length",
        "a bit of the header's digest",
        "a bit of the header",
        "another cursor",
        "another version",
        "zeroed",
        "something else",
    ],
)
@pytest.mark.parametrize("is_verified", [False, True], ids=["new to the process", "verified before"])
async def test_a_copy_that_was_altered_is_dropped(
    tmp_path: Path, alter: Callable[[bytes], bytes], *, is_verified: bool
) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("altered"))
    if is_verified:
        assert await find(tier, "altered") is not None
    [file] = copies(tmp_path)
    whole = file.read_bytes()
    assert alter(whole) != whole
    file.write_bytes(alter(whole))
    assert (await find(tier, "altered"), copies(tmp_path)) == (None, [])
    await keep(tier, copy_of("altered"))
    assert await find(tier, "altered") == copy_of("altered")


async def test_a_header_without_a_field_is_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copperplate.adapters.copy_files.entry_row", lambda entry: {"key": entry.key})
    await keep(process(tmp_path), copy_of("older"))
    monkeypatch.undo()
    assert (await find(process(tmp_path), "older"), copies(tmp_path)) == (None, [])


async def test_databases_that_share_a_folder_do_not_meet(tmp_path: Path) -> None:
    one, other = process(tmp_path), process(tmp_path)
    ours, theirs = copy_of("shared"), copy_of("shared", b"their picture", database="another database")
    await keep(one, ours)
    await keep(other, theirs)
    for _ in range(3):
        assert await one.find(key_of("shared"), DATABASE) == ours
        assert await other.find(key_of("shared"), "another database") == theirs
    await other.drop(key_of("shared"))
    assert await one.find(key_of("shared"), DATABASE) == ours
    # A restore gives a process another database.
    assert await one.find(key_of("shared"), "after the restore") is None


async def test_before_the_database_is_known_nothing_is_found_and_nothing_removed(tmp_path: Path) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("kept"))
    for each in (tier, process(tmp_path)):
        assert await each.find(key_of("kept"), "") is None
        assert await find(each, "kept") == copy_of("kept")
    assert await tier.find(key_of("kept"), "") is None
    await tier.drop(key_of("kept"))
    assert copies(tmp_path) == []


async def test_a_copy_under_the_name_of_another_database_is_dropped(tmp_path: Path) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("odd", database="another"))
    copies(tmp_path)[0].rename(tmp_path / FOLDER / file_of("odd"))
    assert (await find(tier, "odd"), copies(tmp_path)) == (None, [])


async def test_a_copy_under_the_name_of_another_one_is_dropped(tmp_path: Path) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("one"))
    copies(tmp_path)[0].rename(tmp_path / FOLDER / file_of("other"))
    assert (await find(tier, "other"), copies(tmp_path)) == (None, [])


@pytest.mark.parametrize("kind", ["a pipe", "a link"])
async def test_what_is_no_plain_file_is_removed(tmp_path: Path, kind: str) -> None:
    tier, file = process(tmp_path), tmp_path / FOLDER / file_of("odd")
    await keep(tier, copy_of("other"))
    if kind == "a pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(tmp_path / FOLDER / file_of("other"))
    assert await find(tier, "odd") is None
    assert [each.name for each in copies(tmp_path)] == [file_of("other")]


# --- how it reads -----------------------------------------------------------------------------------


async def test_a_digest_is_compared_once_in_a_process_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def read_and_note(raw: bytes, key: str, database: str) -> tuple[bytes, Copy]:
        compared.append(key)
        return read_copy(raw, key, database)

    monkeypatch.setattr(disk_tier, "read_copy", read_and_note)
    one, other = process(tmp_path), process(tmp_path)
    await keep(one, copy_of("read"))
    for tier in (one, one, one, other, other):
        assert await find(tier, "read") == copy_of("read")
    assert len(compared) == 2
    await keep(other, copy_of("read"))
    for tier in (one, one, other, other):
        assert await find(tier, "read") == copy_of("read")
    assert len(compared) == 4


async def test_small_files_that_were_verified_are_read_in_the_event_loop_and_all_others_in_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier, opened_in = process(tmp_path), []
    open_file = CopyFolder.open

    def open_and_note(self: CopyFolder, name: str) -> tuple[int, os.stat_result] | None:
        opened_in.append(threading.current_thread() is threading.main_thread())
        return open_file(self, name)

    monkeypatch.setattr(CopyFolder, "open", open_and_note)
    await keep(tier, copy_of("small"))
    await keep(tier, copy_of("large", bytes(INLINE_BYTES + 1)))
    for name in ("small", "small", "small", "large", "large", "none", "none"):
        await find(tier, name)
    assert opened_in == [False, True, True, False, False, False, False]


async def test_after_a_read_that_held_up_the_event_loop_threads_read_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = JumpingClock()
    tier, opened_in, slow = DiskTier(clock, tmp_path, ENOUGH), [], [0.0, 0.2, 0.0, 0.0]
    await keep(tier, copy_of("read"))
    open_file = CopyFolder.open

    def open_slowly(self: CopyFolder, name: str) -> tuple[int, os.stat_result] | None:
        opened_in.append(threading.current_thread() is threading.main_thread())
        if slow:
            clock.jump(slow.pop(0))
        return open_file(self, name)

    monkeypatch.setattr(CopyFolder, "open", open_slowly)
    for _ in range(3):
        assert await find(tier, "read") == copy_of("read")
    assert opened_in == [False, True, False]
    clock.jump(11)
    assert await find(tier, "read") == copy_of("read")
    assert opened_in[-1]


async def test_a_file_that_no_thread_read_for_a_while_is_read_in_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages may have left memory, and the disk may hang meanwhile."""
    clock = JumpingClock()
    tier, opened_in = DiskTier(clock, tmp_path, ENOUGH), []
    await keep(tier, copy_of("read"))
    open_file = CopyFolder.open

    def open_and_note(self: CopyFolder, name: str) -> tuple[int, os.stat_result] | None:
        opened_in.append(threading.current_thread() is threading.main_thread())
        return open_file(self, name)

    monkeypatch.setattr(CopyFolder, "open", open_and_note)
    for seconds in (0, 30, 29, 2, 59, 2, 3_600, 1):
        clock.jump(seconds)
        assert await find(tier, "read") == copy_of("read")
    assert opened_in == [False, True, True, False, True, False, False, True]


async def test_of_many_files_those_read_last_stay_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_tier, "MAX_VERIFIED", 3)
    tier, compared = process(tmp_path), []

    def read_and_note(raw: bytes, key: str, database: str) -> tuple[bytes, Copy]:
        compared.append(key)
        return read_copy(raw, key, database)

    monkeypatch.setattr(disk_tier, "read_copy", read_and_note)
    for name in ("hot", "a", "b", "c", "d"):
        await keep(tier, copy_of(name))
        for each in (name, "hot"):
            assert await find(tier, each) is not None
    assert compared == [key_of(name) for name in ("hot", "a", "b", "c", "d")]


async def test_use_is_noted_once_a_minute_by_all_processes_together(tmp_path: Path) -> None:
    clock = JumpingClock(SystemClock().now())
    one, other = DiskTier(clock, tmp_path, ENOUGH), DiskTier(clock, tmp_path, ENOUGH)
    await keep(one, copy_of("used"))
    [file] = copies(tmp_path)
    now = int(clock.now().timestamp() * 1e9)
    written_at = now - 10**12  # so long ago that the system notes no reading by itself
    os.utime(file, ns=(now, written_at))
    noted = []
    for tier, seconds in ((one, 0), (other, 30), (one, 31), (other, 1), (one, 1), (other, 58), (one, 1)):
        clock.jump(seconds)
        assert await find(tier, "used") == copy_of("used")
        noted.append(file.stat().st_atime_ns)
    assert [noted.index(at) for at in noted] == [0, 0, 2, 2, 2, 2, 6]
    assert file.stat().st_mtime_ns == written_at


async def test_figures_are_those_of_the_folder_for_every_process_in_it(tmp_path: Path) -> None:
    one, other, elsewhere = process(tmp_path), process(tmp_path), process(tmp_path / "elsewhere")
    for name in ("a", "b"):
        await keep(one, copy_of(name))
    (tmp_path / FOLDER / f"{file_of('c')}.unfinished").write_bytes(b"half")
    written_at = SystemClock().now() - timedelta(minutes=5)
    os.utime(tmp_path / FOLDER / file_of("a"), (written_at.timestamp(), written_at.timestamp()))
    figures, same, empty = await one.figures(), await other.figures(), await elsewhere.figures()
    assert figures is not None
    assert same is not None
    assert empty is not None
    size = sum(file.stat().st_size for file in copies(tmp_path) if "." not in file.name)
    assert (figures.tier, figures.entries, figures.bytes) == (Tier.DISK, 2, size)
    assert figures.oldest_seconds == pytest.approx(300, abs=60)
    assert (same.place, len(same.place), empty.place == same.place) == (figures.place, 32, False)
    assert (empty.entries, empty.bytes, empty.oldest_seconds) == (0, 0, None)
