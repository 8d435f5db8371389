"""Copies on disk while processes are killed and disks refuse: never a wrong byte, never an error."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters import disk_tier
from copperplate.adapters.copy_folder import FOLDER, CopyFolder
from copperplate.adapters.daemon_threads import MAX_WAITING, DaemonThreads
from copperplate.adapters.disk_tier import DiskTier
from tests.contract.test_disk_tier import copies, find, keep, process
from tests.support.clusters import eventually
from tests.support.copies import BODY, DATABASE, JumpingClock, copy_of, file_of, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


class Body(bytearray):
    """Bytes of which can be told whether anything holds them."""


def kept_bytes(folder: Path) -> int:
    return sum(_size(file) for file in copies(folder)) if (folder / FOLDER).exists() else 0


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # evicted meanwhile
        return 0


# --- processes that are killed ----------------------------------------------------------------------

KILLED_WHILE_KEEPING = """
import asyncio, os, pathlib, signal, sys
from copperplate.adapters.disk_tier import DiskTier
from copperplate.adapters.system_clock import SystemClock
from tests.support.copies import copy_of
from tests.support.pictures import picture_request

folder, point = pathlib.Path(sys.argv[1]), sys.argv[2]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "half-written":
    real = pathlib.Path.open
    class Half:
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *_): return None
        def writelines(self, parts):
            body = b"".join(parts)
            self.file.write(body[: len(body) // 2]); self.file.flush(); die()
    pathlib.Path.open = lambda self, mode: Half(real(self, mode))
else:
    pathlib.Path.replace = die
asyncio.run(DiskTier(SystemClock(), folder, 1_000_000).keep(copy_of("killed"), picture_request()))
"""


@pytest.mark.parametrize("point", ["half-written", "before the rename"])
async def test_a_process_killed_while_it_keeps_a_copy_leaves_none_and_its_rest_is_evicted(
    tmp_path: Path, point: str
) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_KEEPING, str(tmp_path), point], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    [rest] = copies(tmp_path)
    tier = process(tmp_path, 100_000)
    assert await find(tier, "killed") is None
    os.utime(rest, (1, 1))
    for number in range(60):
        await keep(tier, copy_of(str(number), bytes(3_000)))
    assert rest not in copies(tmp_path)


# All copies of one name have the same size, and bytes of their own; one that is found has to be one that was kept.
# With a number of rounds one process works; without an end eight do, each forked and killed at some moment of its work.
HAMMERING = """
import asyncio, hashlib, os, pathlib, random, signal, sys, time
from copperplate.adapters.disk_tier import DiskTier
from copperplate.adapters.system_clock import SystemClock
from copperplate.feed import Cursor
from tests.support.copies import DATABASE, copy_of, key_of
from tests.support.pictures import picture_request

folder, rounds, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
REQUEST = picture_request()

def copy(number, made):
    body = hashlib.shake_256(f"{number} {made}".encode()).digest(1_000 + 37 * number % 5_000)
    return copy_of(str(number), body, cursor=Cursor(made, made))

async def hammer(rounds, seed, parent=None):
    tier, rng, hits = DiskTier(SystemClock(), folder, 800_000), random.Random(seed), 0
    while rounds and parent in (None, os.getppid()):  # whose parent was killed ends, too
        rounds -= 1
        number = rng.randrange(250) if rng.random() < 0.8 else rng.randrange(8)
        found = await tier.find(key_of(str(number)), DATABASE)
        if found is not None:
            assert found == copy(number, found.cursor.xmin), number
            hits += 1
        if found is None or rng.random() < 0.2:
            await tier.keep(copy(number, rng.randrange(5)), REQUEST)
        if rng.random() < 0.05:
            await tier.drop(key_of(str(rng.randrange(250))))
    assert hits

def fork(seed, parent=os.getpid()):
    if child := os.fork():
        return child
    try:
        asyncio.run(hammer(-1, seed, parent))
    finally:
        os._exit(1)

if rounds > 0:
    asyncio.run(hammer(rounds, seed))
else:
    rng, children = random.Random(seed), [fork(each) for each in range(8)]
    ends_at, killed = time.monotonic() + 5, 0
    while time.monotonic() < ends_at or killed < 20:
        time.sleep(rng.random() * 0.1)
        child = children.pop(rng.randrange(8))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        killed += 1
        children.append(fork(1_000 + killed))
    for child in children:
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
    asyncio.run(hammer(500, seed))
"""


def test_four_processes_share_a_folder_within_its_bound(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HAMMERING, str(tmp_path), "800"]
    processes = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for seed in range(4)
    ]
    most = 0
    while any(each.poll() is None for each in processes):
        most = max(most, kept_bytes(tmp_path))
    said = [each.communicate(timeout=60)[0] for each in processes]
    assert ([each.returncode for each in processes], said) == ([0] * 4, [""] * 4)
    assert 400_000 < most <= 800_000


def test_eight_processes_killed_at_any_moment_leave_no_wrong_byte(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HAMMERING, str(tmp_path), "-1", "16"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# --- the bound -------------------------------------------------------------------------------------


async def test_folder_never_holds_more_than_its_bound_and_still_holds_most_of_it(tmp_path: Path) -> None:
    tier, most = process(tmp_path, 320_000), 0
    for number in range(300):
        await keep(tier, copy_of(str(number), bytes(4_000)))
        most = max(most, kept_bytes(tmp_path))
    assert 200_000 < most <= 320_000
    assert await find(tier, "299") is not None
    assert await find(tier, "0") is None


async def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    tier, names = process(tmp_path, 64_000), [f"picture {number}" for number in range(18)]
    for age, name in enumerate(names):
        await keep(tier, copy_of(name, bytes(1_900)))
        os.utime(tmp_path / FOLDER / file_of(name), (1_000 + age, 1_000 + age))
    await find(tier, names[0])  # the oldest, but used just now
    await keep(tier, copy_of("new", bytes(1_900)))
    await keep(tier, copy_of("newer", bytes(1_900)))
    left = {file.name for file in copies(tmp_path)}
    assert file_of(names[0]) in left
    assert file_of(names[1]) not in left
    assert {file_of(name) for name in names[-8:]} <= left


async def test_folder_left_by_a_larger_setting_shrinks_with_the_first_copy(tmp_path: Path) -> None:
    for number in range(50):
        await keep(process(tmp_path), copy_of(str(number), bytes(4_000)))
    await keep(process(tmp_path, 100_000), copy_of("new", bytes(2_000)))
    assert kept_bytes(tmp_path) <= 100_000


async def test_a_picture_too_large_to_share_the_folder_is_not_kept(tmp_path: Path) -> None:
    tier = process(tmp_path, 100_000)
    await keep(tier, copy_of("large", bytes(50_000)))
    assert await find(tier, "large") is None
    assert copies(tmp_path) == []


# --- disks that refuse -------------------------------------------------------------------------------


async def test_a_full_disk_is_said_once_and_everything_goes_on(
    tiny_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tier = process(tiny_disk)
    kept = [copy_of(f"full {number}", random.Random(number).randbytes(60_000)) for number in range(12)]
    for copy in kept:
        await keep(tier, copy)
    found = [await find(tier, f"full {number}") for number in range(12)]
    assert [each for each in found if each is not None] == kept[: len(copies(tiny_disk))]
    assert caplog.text.count("the disk is of no use for copies") == 1
    assert "No space left" in caplog.text
    assert 0 < len(copies(tiny_disk)) < 12, "what fitted is served, and nothing half-written is left"


async def test_a_disk_that_became_read_only_serves_what_it_has(tiny_disk: Path) -> None:
    tier = process(tiny_disk)
    await keep(tier, copy_of("kept"))
    os.utime(copies(tiny_disk)[0], (1, 1))
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    await keep(tier, copy_of("late"))
    await tier.drop(key_of("kept"))
    for each in (tier, tier, process(tiny_disk)):
        assert [await find(each, name) for name in ("kept", "late")] == [copy_of("kept"), None]


def _open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def _led_elsewhere(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("prepare", [_open_to_all, _led_elsewhere], ids=["open to all", "a link"])
async def test_a_folder_where_others_could_plant_pictures_is_not_used_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, prepare: Callable[[Path], None]
) -> None:
    prepare(tmp_path / FOLDER)
    tier = process(tmp_path)
    for _ in range(2):
        await keep(tier, copy_of("planted"))
        assert await find(tier, "planted") is None
    assert (await tier.figures(), copies(tmp_path)) == (None, [])
    assert caplog.text.count("only this user") == 1


async def test_a_folder_that_becomes_open_to_all_is_used_no_more(tmp_path: Path) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("planted"))
    assert await find(tier, "planted") is not None
    (tmp_path / FOLDER).chmod(0o777)
    assert await find(tier, "planted") is None


async def test_its_own_folder_is_closed_to_others(tmp_path: Path) -> None:
    await keep(process(tmp_path), copy_of("closed"))
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


async def test_a_place_where_no_folder_can_be_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("no folder")
    tier = process(tmp_path / "in the way")
    await keep(tier, copy_of("kept"))
    await tier.drop(key_of("kept"))
    assert (await find(tier, "kept"), await tier.figures()) == (None, None)


async def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("vanished"))
    assert await find(tier, "vanished") is not None
    (tmp_path / FOLDER).rename(tmp_path / "away")
    assert await find(tier, "vanished") is None
    await keep(tier, copy_of("vanished"))
    assert await find(tier, "vanished") == copy_of("vanished")


async def test_a_disk_that_hangs_keeps_nobody_waiting_and_is_asked_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = JumpingClock()
    tier = DiskTier(clock, tmp_path, 256_000_000)
    for name in ("hung", "other"):
        await keep(tier, copy_of(name))
    assert await find(tier, "other") is not None
    released, open_file = threading.Event(), CopyFolder.open

    def hang(self: CopyFolder, name: str) -> tuple[int, os.stat_result] | None:
        if name == file_of("hung"):
            released.wait(30)
        return open_file(self, name)

    monkeypatch.setattr(CopyFolder, "open", hang)
    monkeypatch.setattr(disk_tier, "PATIENCE_SECONDS", 0.2)
    try:
        waiting = asyncio.create_task(find(tier, "hung"))
        await asyncio.sleep(0.01)
        assert await find(tier, "other") == copy_of("other")
        assert await waiting is None
        assert await find(tier, "other") is None, "it is left alone"
        assert caplog.text.count("does not answer") == 1
    finally:
        released.set()
    clock.jump(11)
    assert [await find(tier, name) for name in ("other", "hung")] == [copy_of("other"), copy_of("hung")]


async def test_a_copy_that_was_given_up_may_land_later_and_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = JumpingClock()
    tier, released, write = DiskTier(clock, tmp_path, 256_000_000), threading.Event(), CopyFolder.write

    def hang(self: CopyFolder, name: str, parts: Iterable[bytes]) -> None:
        released.wait(30)
        write(self, name, parts)

    monkeypatch.setattr(CopyFolder, "write", hang)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(disk_tier, "PATIENCE_SECONDS", 0.2)
            await keep(tier, copy_of("late"))
        clock.jump(11)
        assert not await tier.remove_wrong(DATABASE, lambda _: False)
        assert copies(tmp_path) == []
    finally:
        released.set()
    async with asyncio.timeout(30):
        while not await tier.remove_wrong(DATABASE, lambda _: False):
            await asyncio.sleep(0.01)
    assert copies(tmp_path) == []


async def test_what_waits_for_a_disk_that_hangs_is_bounded_and_holds_no_picture_once_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = JumpingClock()
    tier, released, bodies = DiskTier(clock, tmp_path, 256_000_000), threading.Event(), list[weakref.ref[Body]]()

    def hang(self: CopyFolder, name: str) -> None:
        released.wait(30)

    async def keep_new(number: int) -> None:
        body = Body(b"waits")
        bodies.append(weakref.ref(body))
        await keep(tier, replace(copy_of(str(number)), body=body))  # type: ignore[arg-type]

    monkeypatch.setattr(CopyFolder, "open", hang)
    monkeypatch.setattr(disk_tier, "PATIENCE_SECONDS", 0.2)
    try:
        await asyncio.gather(*(find(tier, str(number)) for number in range(disk_tier.THREADS)))
        for _ in range(3):
            clock.jump(11)
            await asyncio.gather(*(keep_new(number) for number in range(MAX_WAITING)))
        assert tier._threads._jobs.qsize() == MAX_WAITING
        assert len(bodies) == 3 * MAX_WAITING
        assert not any(body() for body in bodies)
        assert caplog.text.count("does not answer") == 2, "once for each time that it is asked again"
    finally:
        released.set()
    clock.jump(11)
    eventually(lambda: tier._threads._jobs.qsize() == 0)
    monkeypatch.undo()
    await keep(tier, copy_of("after"))
    assert await find(tier, "after") == copy_of("after")


HANGING = """
import asyncio, pathlib, sys, threading
from copperplate.adapters import disk_tier
from copperplate.adapters.copy_folder import CopyFolder
from copperplate.adapters.system_clock import SystemClock
from tests.support.copies import DATABASE, key_of

disk_tier.PATIENCE_SECONDS = 0.2
CopyFolder.open = lambda *_: threading.Event().wait()
tier = disk_tier.DiskTier(SystemClock(), pathlib.Path(sys.argv[1]), 1_000_000)

async def find_and_close():
    assert await tier.find(key_of("hung"), DATABASE) is None
    await tier.close()

asyncio.run(find_and_close())
print("done", flush=True)
"""


def test_a_disk_that_hangs_for_good_keeps_no_process_from_ending(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HANGING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()


def test_threads_end_with_the_tier_they_read_for() -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("mine")]

    closed, forgotten = DaemonThreads(2, "mine"), DaemonThreads(2, "mine")
    for each in (closed, forgotten):
        assert [each.run(lambda: 7).result(30) for _ in range(5)] == [7] * 5
        with pytest.raises(ZeroDivisionError):
            each.run(lambda: 1 // 0).result(30)
    assert len(threads()) == 4
    closed.close()
    del each, forgotten
    gc.collect()
    eventually(lambda: not threads())


async def test_bytes_are_never_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tier = process(tmp_path)
    await keep(tier, copy_of("altered"))
    copies(tmp_path)[0].write_bytes(BODY)
    assert await find(tier, "altered") is None
    assert "a copy on disk is dropped" in caplog.text
    assert "a picturea picture" not in caplog.text
