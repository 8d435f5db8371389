"""An object store in a folder: what a container or a laptop uses."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from copperplate.adapters.object_paths import SECRET_BYTES, check_body, check_object_path, is_month, is_object_path
from copperplate.errors import FolderUnavailable, ObjectConflict, ObjectMissing
from copperplate.model import Page, StoredObject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from pathlib import Path

    from copperplate.model import Needs, UploadAddress

# A picture and its first renditions.
ROOM_BYTES: Final = 8 * 1024 * 1024
# Hidden: no bucket has such a name.
ADDRESS_FILE: Final = ".address-secret"
_ADVICE = {
    errno.ENOSPC: "the disk is full; free space or move the folder",
    errno.EDQUOT: "the disk quota is used up; free space or raise it",
    errno.EACCES: "permission denied; let the user that runs Copperplate write there",
    errno.EPERM: "the file system does not allow it; use a local disk that has hard links",
    errno.EOPNOTSUPP: "the file system has no hard links; use a local disk that has them",
    errno.EROFS: "the file system is read-only; mount it for writing or move the folder",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENFILE: "too many open files on this machine; raise the limit",
    errno.EIO: "the disk reports an error; check it before anything else",
    errno.ENOTDIR: "a file is in the way of a folder; move it",
    errno.ENOENT: "the folder vanished while it was in use; is its disk mounted?",
}


class FolderStore:
    """Objects as files at `<root>/<bucket>/YYYY/MM/<name>`; whole or not there at all, also after a crash.

    A bucket that is not public is a folder for this user alone, once it is made. Raises `FolderUnavailable` naming the
    folder and the remedy where the disk refuses.
    """

    def __init__(self, root: Path, bucket: str, *, is_public: bool = True) -> None:
        self.bucket = bucket
        self._is_public = is_public
        self._folder = root / bucket
        self._secret: bytes | None = None

    async def check(self, needs: Needs) -> None:
        """See `ObjectStore.check`: a file is made and removed, and the disk has room for the picture."""
        await asyncio.to_thread(self._check, needs.min_bytes)

    async def check_addresses(self) -> None:
        """A folder has no addresses of its own."""

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        """Store `body` and return when it would survive a power cut.

        Raises `ObjectConflict`, `FolderUnavailable`; ValueError for a bad name or no bytes.
        """
        target = self._folder / check_object_path(path)
        await asyncio.to_thread(self._put, target, check_body(body))

    async def get(self, path: str) -> bytes:
        """The whole object. Raises `ObjectMissing`, `FolderUnavailable`; ValueError for a bad name."""
        # Reading 64 KB inline takes 22 µs when cached, a thread 163 µs. Yet what the memory tier lacks
        # is often not cached here either, and a cold or remote disk would stop every other request.
        return await asyncio.to_thread(self._get, self._folder / check_object_path(path))

    async def exists(self, path: str) -> bool:
        """Whether the file is there. Raises `FolderUnavailable`; ValueError for a bad name."""
        return await asyncio.to_thread(self._exists, self._folder / check_object_path(path))

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        """Remove objects; a path the disk would not let go is left out of the answer.

        Raises `FolderUnavailable` where it is unknown what would survive a power cut; ValueError for a bad name.
        """
        targets = {path: self._folder / check_object_path(path) for path in paths}
        return await asyncio.to_thread(self._remove, targets)

    async def months(self) -> Sequence[str]:
        """The folders that hold objects, in order. Raises `FolderUnavailable`."""
        return await asyncio.to_thread(self._months)

    async def list_month(self, month: str, *, offset: int, limit: int) -> Page:
        """Files of a folder, by name; what a crash left half-written is none. Raises `FolderUnavailable`."""
        return await asyncio.to_thread(self._list_month, month, offset, limit)

    def public_url(self, path: str) -> str | None:
        """None: a folder has no address of its own."""
        check_object_path(path)
        return None

    async def signed_url(self, path: str, *, valid_for: timedelta) -> str | None:
        """None: a folder has no address of its own."""
        check_object_path(path)
        return None

    async def is_open(self) -> bool:
        """False: a folder answers nobody by itself."""
        return False

    async def upload_address(self, path: str, *, media_type: str) -> UploadAddress | None:
        """None: a folder has no address of its own."""
        check_object_path(path)
        return None

    async def address_secret(self) -> bytes:
        """Random bytes in a file beside the buckets, readable by its owner alone; made by the first to ask.

        Raises `FolderUnavailable`.
        """
        if self._secret is None:
            self._secret = await asyncio.to_thread(self._read_secret)
        return self._secret

    def _check(self, min_bytes: int) -> None:
        probe = self._folder / f".check.{secrets.token_hex(8)}"
        try:
            self._make_bucket()
            probe.touch(exist_ok=False)
            probe.unlink()
            free_bytes = shutil.disk_usage(self._folder).free
        except OSError as exc:
            raise self._unavailable(exc) from exc
        if free_bytes < max(min_bytes, ROOM_BYTES):
            raise self._unavailable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _get(self, target: Path) -> bytes:
        try:
            return target.read_bytes()
        except FileNotFoundError:
            message = f"{self.bucket} has no object {target.name}"
            raise ObjectMissing(message) from None
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def _exists(self, target: Path) -> bool:
        try:
            target.stat()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise self._unavailable(exc) from exc
        return True

    def _put(self, target: Path, body: bytes) -> None:
        try:
            self._make_bucket()
            _make_folders(target.parent)
            if not _link_new(target, body) and target.read_bytes() != body:
                message = f"{self.bucket}/{target.name} holds other bytes"
                raise ObjectConflict(message)
            # Also when the bytes were there already: the other writer may not have come this far.
            _sync_folder(target.parent)
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def _remove(self, targets: dict[str, Path]) -> frozenset[str]:
        removed: set[str] = set()
        for path, target in targets.items():
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)
                removed.add(path)
        try:
            # An unlink that a power cut undoes would leave an object that no row names.
            for folder in {targets[path].parent for path in removed if targets[path].parent.is_dir()}:
                _sync_folder(folder)
        except OSError as exc:
            raise self._unavailable(exc) from exc
        return frozenset(removed)

    def _months(self) -> list[str]:
        try:
            found = (f"{year}/{month}" for year in _names(self._folder) for month in _names(self._folder / year))
            return [month for month in found if is_month(month)]
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def _list_month(self, month: str, offset: int, limit: int) -> Page:
        try:
            # What a crash left half-written, and what people put there out of sight, is no entry of the month.
            names = [name for name in _names(self._folder / month) if not name.startswith(".")]
            rows = [_stored(self._folder, f"{month}/{name}") for name in names[offset : offset + limit]]
        except OSError as exc:
            raise self._unavailable(exc) from exc
        shown = [row for row in rows if row is not None]
        next_offset = offset + limit if offset + limit < len(names) else None
        return Page(objects=shown, next_offset=next_offset, odd=len(rows) - len(shown))

    def _make_bucket(self) -> None:
        if self._folder.is_dir():
            return
        _make_folders(self._folder)
        if not self._is_public:
            self._folder.chmod(stat.S_IRWXU)

    def _read_secret(self) -> bytes:
        file = self._folder.parent / ADDRESS_FILE
        try:
            if not file.exists():
                _make_folders(file.parent)
                _link_new(file, secrets.token_bytes(SECRET_BYTES), mode=stat.S_IRUSR | stat.S_IWUSR)
                _sync_folder(file.parent)
            secret = file.read_bytes()
        except OSError as exc:
            raise self._unavailable(exc) from exc
        if len(secret) != SECRET_BYTES:
            raise FolderUnavailable(f"{file} is no secret of {SECRET_BYTES} bytes: remove it, and a new one is made.")
        return secret

    def _unavailable(self, exc: OSError) -> FolderUnavailable:
        advice = _ADVICE.get(exc.errno or 0, exc.strerror or "the disk refused")
        return FolderUnavailable(f"Cannot use the folder {self._folder}: {advice}.")


def _link_new(target: Path, body: bytes, *, mode: int | None = None) -> bool:
    """Give `target` its whole content in one step; False if something is there already.

    Never a rename: that would replace what is there. A crash leaves at most a hidden temporary file. `mode` is set
    before anything is written; None: the umask's.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            if mode is not None:
                temporary.chmod(mode)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return True


def _stored(root: Path, path: str) -> StoredObject | None:
    """The object at `path`; None for what is none of ours, and for what was removed meanwhile."""
    if not is_object_path(path):
        return None
    try:
        found = (root / path).lstat()
    except FileNotFoundError:
        return None
    stored_at = datetime.fromtimestamp(found.st_mtime, UTC)
    return StoredObject(path=path, stored_at=stored_at) if stat.S_ISREG(found.st_mode) else None


def _names(folder: Path) -> list[str]:
    """What lies in `folder`, by name; nothing where there is none."""
    try:
        return sorted(found.name for found in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _make_folders(folder: Path) -> None:
    """Create `folder` and its parents, each entry on disk before the next one is made."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Write the folder's entries to disk (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
