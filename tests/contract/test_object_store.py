"""The object store contract over memory and a folder, and what only a folder can suffer."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.filesystem import ADDRESS_FILE, FolderStore
from copperplate.adapters.memory.store import MemoryStore
from copperplate.errors import FolderUnavailable, ObjectConflict, ObjectMissing, StoreUnavailable
from copperplate.http.problems import Problem
from copperplate.model import Needs
from tests.contract.object_store import PNG, ExclusiveStoreContract, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from copperplate.ports import ObjectStore

BUCKET = "generated-images"


class TestMemoryStore(ExclusiveStoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryStore(BUCKET)

    async def test_a_callers_buffer_may_change_afterwards(self) -> None:
        store, buffer = MemoryStore(BUCKET), bytearray(b"first")
        await store.put(path_of("buffer"), buffer, media_type=PNG)  # type: ignore[arg-type]
        buffer[:] = b"later"
        assert await store.get(path_of("buffer")) == b"first"


class TestFolderStore(ExclusiveStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return FolderStore(tmp_path / "not" / "there" / "yet", BUCKET)


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path, BUCKET)


async def test_an_object_is_a_plain_file_at_its_name(folder: FolderStore, tmp_path: Path) -> None:
    path = path_of("plain")
    await folder.put(path, b"bytes", media_type=PNG)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [tmp_path / BUCKET / path]


async def test_buckets_do_not_share_objects(folder: FolderStore, tmp_path: Path) -> None:
    await folder.put(path_of("one"), b"bytes", media_type=PNG)
    with pytest.raises(ObjectMissing):
        await FolderStore(tmp_path, "memoji-images").get(path_of("one"))


async def test_processes_share_the_secret_of_a_folder_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    stores = [FolderStore(tmp_path / "objects", BUCKET) for _ in range(8)]
    found = set(await asyncio.gather(*(store.address_secret() for store in stores)))
    file = tmp_path / "objects" / ADDRESS_FILE
    assert (len(found), file.read_bytes(), oct(file.stat().st_mode & 0o777)) == (1, found.pop(), "0o600")
    assert [left.name for left in file.parent.iterdir()] == [ADDRESS_FILE]
    assert await FolderStore(tmp_path / "other", BUCKET).address_secret() != file.read_bytes()


async def test_private_pictures_lie_in_a_folder_that_only_their_user_may_read(tmp_path: Path) -> None:
    for bucket, is_public in (("private", False), ("public", True)):
        await FolderStore(tmp_path, bucket, is_public=is_public).put(path_of("mode"), b"bytes", media_type=PNG)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "public").stat().st_mode & 0o077


async def test_half_a_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / ADDRESS_FILE).write_bytes(b"half")
    with pytest.raises(FolderUnavailable, match="remove it"):
        await FolderStore(tmp_path, BUCKET).address_secret()


async def test_a_corrupted_file_is_returned_as_it_is(folder: FolderStore, tmp_path: Path) -> None:
    path = path_of("corrupt")
    await folder.put(path, b"bytes", media_type=PNG)
    (tmp_path / BUCKET / path).write_bytes(b"bytfs")
    assert await folder.get(path) == b"bytfs"
    with pytest.raises(ObjectConflict):
        await folder.put(path, b"bytes", media_type=PNG)


async def test_what_a_crash_left_over_is_no_object(folder: FolderStore, tmp_path: Path) -> None:
    path = path_of("crash")
    await folder.put(path_of("another"), b"bytes", media_type=PNG)
    name = path.rsplit("/", 1)[1]
    (tmp_path / BUCKET / "2026" / "07" / f".{name}.0123456789abcdef").write_bytes(b"half")
    with pytest.raises(ObjectMissing):
        await folder.get(path)
    await folder.put(path, b"whole", media_type=PNG)
    assert await folder.get(path) == b"whole"


async def test_a_refused_write_leaves_no_temporary_file(folder: FolderStore, tmp_path: Path) -> None:
    path = path_of("refused")
    await folder.put(path, b"bytes", media_type=PNG)
    with pytest.raises(ObjectConflict):
        await folder.put(path, b"other", media_type=PNG)
    assert [found.name for found in (tmp_path / BUCKET / "2026" / "07").iterdir()] == [path.rsplit("/", 1)[1]]


async def test_everything_is_on_disk_before_put_returns(
    folder: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync
    link = os.link

    def fsync(descriptor: int) -> None:
        synced.append(tmp_path.__class__(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    def link_synced(source: Path, target: Path) -> None:
        assert synced[-1] == source, "the bytes must be on disk before the name is"
        link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link_synced)
    await folder.put(path_of("durable"), b"bytes", media_type=PNG)
    bucket = tmp_path / BUCKET
    assert synced[:3] == [tmp_path, bucket, bucket / "2026"]  # each new folder's name lies in its parent
    assert synced[-1] == bucket / "2026" / "07"


KILLED_DURING_PUT = """
import asyncio, os, pathlib, signal, sys
from copperplate.adapters import filesystem

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

root, path, point = sys.argv[1:]
if point == "half-written":
    real = pathlib.Path.open
    class Half:
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *args): return None
        def write(self, body):
            self.file.write(body[: len(body) // 2]); self.file.flush(); die()
    pathlib.Path.open = lambda self, mode: Half(real(self, mode))
elif point == "before-sync":
    sync = os.fsync
    os.fsync = lambda fd: sync(fd) if os.path.isdir(f"/proc/self/fd/{fd}") else die()
elif point == "before-link":
    os.link = die
elif point == "after-link":
    link = os.link
    os.link = lambda *args: (link(*args), die())
elif point == "before-folder-sync":
    unlink = pathlib.Path.unlink
    pathlib.Path.unlink = lambda self: (unlink(self), setattr(os, "fsync", die))
store = filesystem.FolderStore(pathlib.Path(root), "generated-images")
asyncio.run(store.put(path, b"body" * 50_000, media_type="image/png"))
print("survived")
"""


@pytest.mark.parametrize(
    ("point", "is_there"),
    [
        ("half-written", False),
        ("before-sync", False),
        ("before-link", False),
        ("after-link", True),
        ("before-folder-sync", True),
    ],
)
async def test_a_writer_killed_midway_leaves_nothing_or_everything(
    folder: FolderStore, tmp_path: Path, point: str, *, is_there: bool
) -> None:
    path, body = path_of("killed"), b"body" * 50_000
    command = [sys.executable, "-c", KILLED_DURING_PUT, str(tmp_path), path, point]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL, ended
    if is_there:
        assert await folder.get(path) == body
    else:
        with pytest.raises(ObjectMissing):
            await folder.get(path)
    await folder.put(path, body, media_type=PNG)  # the successor repeats the upload
    assert await folder.get(path) == body


async def test_a_write_that_fails_after_the_object_is_there_succeeds_when_repeated(
    folder: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, "the disk reports an error")

    path, body = path_of("late"), b"written before the trouble"
    await folder.put(path_of("the folder's first"), b"x", media_type="image/png")
    with monkeypatch.context() as trouble:
        trouble.setattr("copperplate.adapters.filesystem._sync_folder", broken)
        with pytest.raises(StoreUnavailable):
            await folder.put(path, body, media_type="image/png")
    assert await folder.get(path) == body
    await folder.put(path, body, media_type="image/png")
    with pytest.raises(ObjectConflict):
        await folder.put(path, b"other bytes", media_type="image/png")


async def test_a_full_disk_is_named_and_keeps_what_it_has(tiny_disk: Path) -> None:
    store = FolderStore(tiny_disk, BUCKET)
    await store.put(path_of("fits"), b"small", media_type=PNG)
    with pytest.raises(FolderUnavailable, match=r"disk is full") as caught:
        await store.put(path_of("too large"), b"x" * 1_000_000, media_type=PNG)
    assert str(tiny_disk / BUCKET) in str(caught.value)
    answered = Problem.of(caught.value).body.decode()
    assert '"title":"The folder of pictures cannot be used at the moment"' in answered
    assert str(tiny_disk) not in answered
    assert await store.get(path_of("fits")) == b"small"
    with pytest.raises(ObjectMissing):
        await store.get(path_of("too large"))
    await store.put(path_of("fits too"), b"x" * 50_000, media_type=PNG)  # the failed one gave its space back


async def test_a_read_only_disk_is_named_and_still_serves(tiny_disk: Path) -> None:
    store = FolderStore(tiny_disk, BUCKET)
    await store.put(path_of("kept"), b"bytes", media_type=PNG)
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StoreUnavailable, match=r"read-only"):
        await store.put(path_of("late"), b"bytes", media_type=PNG)
    assert await store.get(path_of("kept")) == b"bytes"
    assert path_of("kept") not in await store.remove([path_of("kept"), path_of("absent")])


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "permission denied"),
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EOPNOTSUPP, "no hard links"),
        (errno.EIO, "disk reports an error"),
        (errno.EMFILE, "too many open files"),
        (errno.EOVERFLOW, "Value too large"),
    ],
)
async def test_every_refusal_of_the_disk_says_what_to_do(
    folder: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreUnavailable, match=advice) as caught:
        await folder.put(path_of("refused"), b"bytes", media_type=PNG)
    assert str(tmp_path / BUCKET) in str(caught.value)
    assert list((tmp_path / BUCKET / "2026" / "07").iterdir()) == []


async def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / BUCKET).write_text("not a folder")
    store = FolderStore(tmp_path, BUCKET)
    with pytest.raises(StoreUnavailable, match="a file is in the way"):
        await store.put(path_of("blocked"), b"bytes", media_type=PNG)
    with pytest.raises(StoreUnavailable, match="a file is in the way"):
        await store.get(path_of("blocked"))


async def test_a_folder_where_an_object_should_be_is_reported(folder: FolderStore, tmp_path: Path) -> None:
    (tmp_path / BUCKET / path_of("folder")).mkdir(parents=True)
    with pytest.raises(StoreUnavailable):
        await folder.get(path_of("folder"))
    assert await folder.remove([path_of("folder")]) == frozenset()


async def test_a_folder_that_takes_no_picture_is_known_before_one_is_paid_for(
    folder: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.check(Needs())
    assert list((tmp_path / BUCKET).iterdir()) == [], "what it tried with is gone"
    full = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await folder.check(Needs())
    monkeypatch.undo()
    (tmp_path / "blocked").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="a file is in the way"):
        await FolderStore(tmp_path, "blocked").check(Needs())
