"""The object store contract over a store with a disk cache, and everything a disk does to its copies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.disk_cache import FOLDER, CachedStore, DiskCache
from copperplate.adapters.memory.store import MemoryStore
from copperplate.errors import ObjectMissing
from tests.contract.object_store import PNG, ExclusiveStoreContract, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from copperplate.ports import ObjectStore

BUCKET = "generated-images"
ENOUGH = 256_000_000
BODY = b"a picture" * 1_000


class CountingStore(MemoryStore):
    """Counts what it is asked for; far away, as Storage is."""

    def __init__(self) -> None:
        super().__init__(BUCKET)
        self.gets: Counter[str] = Counter()

    async def get(self, path: str) -> bytes:
        self.gets[path] += 1
        return await super().get(path)


class TestCachedStore(ExclusiveStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return CachedStore(MemoryStore(BUCKET), DiskCache(tmp_path / "not" / "there" / "yet", ENOUGH))


class TestCachedStoreWithoutADisk(ExclusiveStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        (tmp_path / "in the way").write_text("no folder")
        return CachedStore(MemoryStore(BUCKET), DiskCache(tmp_path / "in the way", ENOUGH))


@pytest.fixture
def far() -> CountingStore:
    return CountingStore()


def process(far: MemoryStore, folder: Path, max_bytes: int = ENOUGH) -> CachedStore:
    """A process's view of the store, over a folder that others may use, too."""
    return CachedStore(far, DiskCache(folder, max_bytes))


def copies(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).iterdir())


def kept_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in copies(folder))


# --- what it spares ------------------------------------------------------------------------------


async def test_what_was_read_once_is_not_asked_for_again_by_any_process(far: CountingStore, tmp_path: Path) -> None:
    path = path_of("read")
    await far.put(path, BODY, media_type=PNG)
    one, other = process(far, tmp_path), process(far, tmp_path)
    assert [await one.get(path), await one.get(path), await other.get(path)] == [BODY] * 3
    assert far.gets[path] == 1


async def test_what_was_stored_is_at_hand(far: CountingStore, tmp_path: Path) -> None:
    await process(far, tmp_path).put(path_of("made"), BODY, media_type=PNG)
    assert await process(far, tmp_path).get(path_of("made")) == BODY
    assert not far.gets


async def test_what_the_store_did_not_take_is_not_kept(far: CountingStore, tmp_path: Path) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError

    far.put = refuse  # type: ignore[method-assign]
    with pytest.raises(OSError):  # noqa: PT011 - whatever it is
        await process(far, tmp_path).put(path_of("refused"), BODY, media_type=PNG)
    with pytest.raises(ObjectMissing):
        await process(far, tmp_path).get(path_of("refused"))


async def test_what_one_process_removes_is_gone_for_all(far: CountingStore, tmp_path: Path) -> None:
    path = path_of("removed")
    one, other = process(far, tmp_path), process(far, tmp_path)
    await one.put(path, BODY, media_type=PNG)
    assert await other.remove([path]) == {path}
    with pytest.raises(ObjectMissing):
        await one.get(path)
    assert copies(tmp_path) == []


async def test_buckets_do_not_share_copies(far: CountingStore, tmp_path: Path) -> None:
    await process(far, tmp_path).put(path_of("one"), BODY, media_type=PNG)
    with pytest.raises(ObjectMissing):
        await process(MemoryStore("memoji-images"), tmp_path).get(path_of("one"))


async def test_without_a_folder_it_is_the_systems_temporary_one(
    far: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await CachedStore(far, DiskCache(None, ENOUGH)).put(path_of("temporary"), BODY, media_type=PNG)
    assert len(copies(tmp_path)) == 1


# --- copies that are not what they were ------------------------------------------------------------


@pytest.mark.parametrize(
    "alter",
    [
        lambda raw: b"",
        lambda raw: raw[:16],
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: raw[:100] + bytes([raw[100] ^ 1]) + raw[101:],
        lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
        lambda raw: bytes(len(raw)),
    ],
    ids=["emptied", "torn in the digest", "cut", "longer", "a bit of the body", "a bit of the digest", "zeroed"],
)
async def test_a_copy_that_was_altered_is_fetched_anew_and_replaced(
    far: CountingStore, tmp_path: Path, alter: object
) -> None:
    path = path_of("altered")
    await process(far, tmp_path).put(path, BODY, media_type=PNG)
    [copy] = copies(tmp_path)
    whole = copy.read_bytes()
    copy.write_bytes(alter(whole))  # type: ignore[operator]
    assert await process(far, tmp_path).get(path) == BODY
    assert far.gets[path] == 1
    assert [file.read_bytes() for file in copies(tmp_path)] == [whole]


KILLED_WHILE_KEEPING = """
import asyncio, os, pathlib, signal, sys
from copperplate.adapters.disk_cache import DiskCache

folder, point = pathlib.Path(sys.argv[1]), sys.argv[2]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "half-written":
    real = pathlib.Path.open
    class Half:
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *_): return None
        def write(self, body): self.file.write(body[: len(body) // 2]); self.file.flush(); die()
    pathlib.Path.open = lambda self, mode: Half(real(self, mode))
else:
    pathlib.Path.replace = die
asyncio.run(DiskCache(folder, 1_000_000).keep("generated-images-killed", b"a picture" * 1_000))
"""


@pytest.mark.parametrize("point", ["half-written", "before the rename"])
async def test_a_process_killed_while_it_keeps_a_copy_leaves_none_and_its_rest_is_evicted(
    tmp_path: Path, point: str
) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_KEEPING, str(tmp_path), point], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    [rest] = copies(tmp_path)
    cache = DiskCache(tmp_path, 100_000)
    assert await cache.read("generated-images-killed") is None
    os.utime(rest, (1, 1))
    for number in range(60):
        await cache.keep(f"generated-images-{number}", bytes(3_000))
    assert rest not in copies(tmp_path)


# --- the bound -------------------------------------------------------------------------------------


async def test_folder_never_holds_more_than_its_bound_and_still_holds_most_of_it(tmp_path: Path) -> None:
    cache, most = DiskCache(tmp_path, 320_000), 0
    for number in range(300):
        await cache.keep(f"generated-images-{number}", bytes(4_000))
        most = max(most, kept_bytes(tmp_path))
    assert 200_000 < most <= 320_000
    assert await cache.read("generated-images-299") == bytes(4_000)
    assert await cache.read("generated-images-0") is None


async def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 64_000)
    names = [f"generated-images-{number}" for number in range(24)]
    for age, name in enumerate(names):
        await cache.keep(name, bytes(1_900))
        os.utime(tmp_path / FOLDER / name, (1_000 + age, 1_000 + age))
    await cache.read(names[0])  # the oldest, but used just now
    await cache.keep("generated-images-new", bytes(1_900))
    await cache.keep("generated-images-newer", bytes(1_900))
    left = {file.name for file in copies(tmp_path)}
    assert names[0] in left
    assert names[1] not in left
    assert set(names[-10:]) <= left


async def test_folder_left_by_a_larger_setting_shrinks_with_the_first_copy(tmp_path: Path) -> None:
    for number in range(50):
        await DiskCache(tmp_path, ENOUGH).keep(f"generated-images-{number}", bytes(4_000))
    await DiskCache(tmp_path, 100_000).keep("generated-images-new", bytes(3_000))
    assert kept_bytes(tmp_path) <= 100_000


async def test_a_picture_too_large_to_share_the_folder_is_not_kept(far: CountingStore, tmp_path: Path) -> None:
    store, path = process(far, tmp_path, 100_000), path_of("large")
    await store.put(path, bytes(50_000), media_type=PNG)
    assert await store.get(path) == bytes(50_000)
    assert not (tmp_path / FOLDER).exists() or copies(tmp_path) == []


HAMMERING = """
import asyncio, hashlib, pathlib, random, sys
from copperplate.adapters.disk_cache import DiskCache

def body_of(number):
    return hashlib.shake_256(str(number).encode()).digest(1_000 + 37 * number % 5_000)

async def main():
    cache, rng, hits = DiskCache(pathlib.Path(sys.argv[1]), 400_000), random.Random(sys.argv[2]), 0
    for _ in range(1_500):
        number = rng.randrange(150)
        found = await cache.read(f"generated-images-{number}")
        if found is None:
            await cache.keep(f"generated-images-{number}", body_of(number))
        else:
            assert found == body_of(number), number
            hits += 1
        if rng.random() < 0.05:
            await cache.drop([f"generated-images-{rng.randrange(150)}"])
    assert hits
asyncio.run(main())
"""


def test_four_processes_share_a_folder_within_its_bound(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HAMMERING, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for seed in range(4)
    ]
    most = 0
    while any(each.poll() is None for each in processes):
        sizes = [_size(file) for file in copies(tmp_path)] if (tmp_path / FOLDER).exists() else []
        most = max(most, sum(sizes))
    said = [each.communicate(timeout=60)[0] for each in processes]
    assert ([each.returncode for each in processes], said) == ([0] * 4, [""] * 4)
    assert 200_000 < most <= 400_000


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # evicted meanwhile
        return 0


# --- disks that refuse -------------------------------------------------------------------------------


async def test_a_full_disk_is_said_once_and_everything_goes_on(
    far: CountingStore, tiny_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = process(far, tiny_disk)
    bodies = {path_of(f"full {number}"): random.Random(number).randbytes(60_000) for number in range(12)}
    for path, body in bodies.items():
        await store.put(path, body, media_type=PNG)
    for path, body in bodies.items():
        assert await store.get(path) == body
    assert caplog.text.count("the disk cache is of no use") == 1
    assert "No space left" in caplog.text
    assert 0 < len(copies(tiny_disk)) < 12, "what fitted is served, and nothing half-written is left"
    assert {file.stat().st_size for file in copies(tiny_disk)} == {60_032}


async def test_a_disk_that_became_read_only_serves_what_it_has(far: CountingStore, tiny_disk: Path) -> None:
    store = process(far, tiny_disk)
    await store.put(path_of("kept"), BODY, media_type=PNG)
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    await store.put(path_of("late"), BODY, media_type=PNG)
    assert [await store.get(path_of(name)) for name in ("kept", "late")] == [BODY, BODY]
    assert far.gets == {path_of("late"): 1}
    assert await store.remove([path_of("kept")]) == {path_of("kept")}


def _open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def _led_elsewhere(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("prepare", [_open_to_all, _led_elsewhere], ids=["open to all", "a link"])
async def test_a_folder_where_others_could_plant_pictures_is_not_used_and_that_is_said_once(
    far: CountingStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, prepare: object
) -> None:
    prepare(tmp_path / FOLDER)  # type: ignore[operator]
    store, path = process(far, tmp_path), path_of("planted")
    await store.put(path, BODY, media_type=PNG)
    assert [await store.get(path), await store.get(path)] == [BODY, BODY]
    assert (far.gets[path], copies(tmp_path)) == (2, [])
    assert caplog.text.count("only this user") == 1


async def test_its_own_folder_is_closed_to_others(far: CountingStore, tmp_path: Path) -> None:
    await process(far, tmp_path).put(path_of("closed"), BODY, media_type=PNG)
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


async def test_a_folder_that_vanishes_is_made_again(far: CountingStore, tmp_path: Path) -> None:
    store, path = process(far, tmp_path), path_of("vanished")
    await store.put(path, BODY, media_type=PNG)
    (tmp_path / FOLDER).rename(tmp_path / "away")
    assert [await store.get(path), await store.get(path)] == [BODY, BODY]
    assert far.gets[path] == 1


@pytest.mark.timeout(20)
async def test_a_disk_that_hangs_does_not_keep_others_waiting(far: CountingStore, tmp_path: Path) -> None:
    store = process(far, tmp_path)
    hung, other = path_of("hung"), path_of("other")
    for path in (hung, other):
        await store.put(path, BODY, media_type=PNG)
    [copy] = [file for file in copies(tmp_path) if hung.rpartition("/")[2] in file.name]
    copy.unlink()
    os.mkfifo(copy)  # opening it waits for a writer
    waiting = asyncio.create_task(store.get(hung))
    await asyncio.sleep(0)
    assert await store.get(other) == BODY
    assert not waiting.done()
    await asyncio.to_thread(copy.write_bytes, b"")
    assert await waiting == BODY
