"""Pictures that were fetched once, kept in a temporary folder: an object store over another one (ADR 0021)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from copperplate.adapters.object_paths import check_object_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from copperplate.model import Needs, Page, UploadAddress
    from copperplate.ports import ObjectStore

logger = logging.getLogger(__name__)

# Everything in it is ours, so that nobody else's file is ever evicted.
FOLDER: Final = "copperplate-disk-cache"
DIGEST_BYTES: Final = 32
# How much a process writes between two looks at the folder, and so the largest copy that is kept.
SLICE: Final = 1 / 32
# What such a look leaves in place. The rest is room for what four processes write until their next one.
KEPT: Final = 3 / 4


class CachedStore:
    """An `ObjectStore` whose objects are looked for on the disk first.

    Every promise is that of `store`, which alone is durable: a copy that is missing, altered or cannot be
    written is no error.
    """

    def __init__(self, store: ObjectStore, copies: DiskCache) -> None:
        self.bucket = store.bucket
        self._store = store
        self._copies = copies

    async def check(self, needs: Needs) -> None:
        """See `ObjectStore.check`."""
        await self._store.check(needs)

    async def check_addresses(self) -> None:
        """See `ObjectStore.check_addresses`."""
        await self._store.check_addresses()

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        """See `ObjectStore.put`. Copied once it is stored: who made a picture is the first to be asked for it."""
        kept = bytes(body)
        await self._store.put(path, kept, media_type=media_type)
        await self._copies.keep(self._name(path), kept)

    async def get(self, path: str) -> bytes:
        """See `ObjectStore.get`."""
        name = self._name(check_object_path(path))
        body = await self._copies.read(name)
        if body is None:
            body = await self._store.get(path)
            await self._copies.keep(name, body)
        return body

    async def exists(self, path: str) -> bool:
        """See `ObjectStore.exists`. The store is asked: a copy proves nothing of it."""
        return await self._store.exists(path)

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        """See `ObjectStore.remove`. The copies go first, whatever the store says."""
        await self._copies.drop([self._name(check_object_path(path)) for path in paths])
        return await self._store.remove(paths)

    async def months(self) -> Sequence[str]:
        """See `ObjectStore.months`."""
        return await self._store.months()

    async def list_month(self, month: str, *, offset: int, limit: int) -> Page:
        """See `ObjectStore.list_month`."""
        return await self._store.list_month(month, offset=offset, limit=limit)

    def public_url(self, path: str) -> str | None:
        """See `ObjectStore.public_url`."""
        return self._store.public_url(path)

    async def signed_url(self, path: str, *, valid_for: timedelta) -> str | None:
        """See `ObjectStore.signed_url`."""
        return await self._store.signed_url(path, valid_for=valid_for)

    async def is_open(self) -> bool:
        """See `ObjectStore.is_open`."""
        return await self._store.is_open()

    async def upload_address(self, path: str, *, media_type: str) -> UploadAddress | None:
        """See `ObjectStore.upload_address`."""
        return await self._store.upload_address(path, media_type=media_type)

    async def address_secret(self) -> bytes:
        """See `ObjectStore.address_secret`."""
        return await self._store.address_secret()

    def _name(self, path: str) -> str:
        return f"{self.bucket}-{path.replace('/', '-')}"


class DiskCache:
    """Copies of objects in one folder, bounded in bytes, evicted least recently used; for several processes at once.

    `parent` is where the folder is made (None: the system's temporary folder). A file is the SHA-256 of the bytes
    and the bytes. Nothing here raises: what the disk refuses is said once, and everything goes on without.
    """

    def __init__(self, parent: Path | None, max_bytes: int) -> None:
        self._parent = parent
        self._max_bytes = max_bytes
        self._slice_bytes = int(max_bytes * SLICE)
        # The first copy looks at what other processes, and earlier settings, have left.
        self._written_bytes = self._slice_bytes
        self._has_complained = False

    async def read(self, name: str) -> bytes | None:
        """The bytes kept under `name`, exactly as they were given; None where there are none."""
        return await asyncio.to_thread(self._read, name)

    async def keep(self, name: str, body: bytes) -> None:
        """Keep a copy, if it is small enough to share the folder with others."""
        if len(body) > self._slice_bytes:
            return
        self._written_bytes += len(body)
        is_due = self._written_bytes > self._slice_bytes
        if is_due:
            self._written_bytes = len(body)
        await asyncio.to_thread(self._keep, name, body, is_due)

    async def drop(self, names: Iterable[str]) -> None:
        """Forget copies, those of every process."""
        await asyncio.to_thread(self._drop, list(names))

    def _read(self, name: str) -> bytes | None:
        try:
            file = self._folder() / name
            with file.open("rb") as opened:
                digest, body = opened.read(DIGEST_BYTES), opened.read()
            if hashlib.sha256(body).digest() != digest:
                # Not the store's fault, and it must not pass for one: the entry would be dropped.
                logger.warning("a picture in the disk cache was altered; it is fetched anew")
                file.unlink(missing_ok=True)
                return None
            with contextlib.suppress(OSError):  # a disk that became read-only still serves
                os.utime(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None
        return body

    def _keep(self, name: str, body: bytes, is_due: bool) -> None:
        try:
            folder = self._folder()
            if is_due:
                self._evict(folder)
            _replace(folder / name, hashlib.sha256(body).digest(), body)
        except OSError as error:
            self._complain(error)

    def _drop(self, names: list[str]) -> None:
        try:
            folder = self._folder()
            for name in names:
                (folder / name).unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def _evict(self, folder: Path) -> None:
        """Remove what was used longest ago until enough room is left. What a crash left half-written goes with it."""
        files: list[tuple[int, int, Path]] = []
        for file in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process evicts, too
                found = file.lstat()
                files.append((found.st_mtime_ns, found.st_size, file))
        excess = sum(size for _, size, _ in files) - int(self._max_bytes * KEPT)
        for _, size, file in sorted(files):
            if excess <= 0:
                return
            file.unlink(missing_ok=True)
            excess -= size

    def _folder(self) -> Path:
        """The folder, made if need be. Raises OSError where it is not ours alone: others could plant pictures in it."""
        folder = (self._parent or Path(tempfile.gettempdir())) / FOLDER
        try:
            found = folder.lstat()
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700, parents=True)
            found = folder.lstat()
        is_ours = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or not is_ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{folder} is not a folder that only this user can write to")
        return folder

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            logger.warning("the disk cache is of no use: %s; pictures come from the store instead", error)


def _replace(file: Path, digest: bytes, body: bytes) -> None:
    """Give `file` its whole content in one step.

    Not synced: after a power cut the digest tells what is whole.
    """
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as opened:
            opened.write(digest)
            opened.write(body)
        temporary.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
