"""The folder of the copies on disk: who may write to it, what is in it, and what has to go. Raises `OSError`."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

# Everything in it is ours, so that nobody else's file is ever evicted.
FOLDER: Final = "copperplate-disk-cache"
# Names the folder for everybody who reports what is in it.
ID_NAME: Final = "id"
# A name with this in it is not whole yet.
UNFINISHED: Final = "."
# A file's time of use is written so often at most.
TOUCH_NS: Final = 60 * 10**9
# What is there may be a pipe, whose writer nobody waits for, or lead elsewhere.
_READ: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file is written again. Reading it, and noting that, changes none of these."""

    inode: int
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """The state in what `stat` answered."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the folder; `oldest_at_ns` is when the oldest copy was written, 0 without one."""

    entries: int
    bytes: int
    oldest_at_ns: int


class CopyFolder:
    """Files by name in one folder of `parent` (None: the system's temporary folder), for several processes at once.

    Nothing is synced: what a power cut left is told by its digest.
    """

    def __init__(self, parent: Path | None) -> None:
        self._parent = parent

    def check(self) -> None:
        """Raise `OSError` where it could not be used. Nothing is made: another user may run the server."""
        with contextlib.suppress(FileNotFoundError):
            _require_ours(self._path, os.lstat(self._path))

    @property
    def _path(self) -> str:
        return f"{self._parent or tempfile.gettempdir()}/{FOLDER}"

    def open(self, name: str) -> tuple[int, os.stat_result] | None:
        """A file to read, which the caller closes, and its state. None where there is none; a link is removed."""
        try:
            file = os.open(f"{self._checked()}/{name}", _READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self.remove([name])
            return None
        return file, os.fstat(file)

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Give a file its whole content in one step: readers see all of it, or what was there before."""
        folder = self._checked()
        temporary = f"{folder}/{name}{UNFINISHED}{secrets.token_hex(4)}"
        try:
            with Path(temporary).open("xb") as opened:
                opened.writelines(parts)
            Path(temporary).replace(f"{folder}/{name}")
        except OSError:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error, and one that cannot be keeps no other one."""
        folder, failed = self._checked(), None
        for name in names:
            try:
                Path(f"{folder}/{name}").unlink(missing_ok=True)
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed

    def shrink(self, at_most_bytes: int) -> None:
        """Remove what was used longest ago until no more is left. What a crash left unfinished goes with it."""
        files = sorted((found.st_atime_ns, found.st_size, name) for name, found in self._files())
        excess = sum(size for _, size, _ in files) - at_most_bytes
        for _, size, name in files:
            if excess <= 0:
                return
            self.remove([name])
            excess -= size

    def names(self) -> list[str]:
        """The names of all copies, whole ones only."""
        with os.scandir(self._checked()) as found:
            return [each.name for each in found if UNFINISHED not in each.name and each.name != ID_NAME]

    def read_beginning(self, name: str, size_bytes: int) -> bytes:
        """At most so many bytes from a file's beginning; nothing where there is none, or no plain file."""
        if (opened := self.open(name)) is None:
            return b""
        file, found = opened
        try:
            return os.read(file, size_bytes) if stat.S_ISREG(found.st_mode) else b""
        finally:
            os.close(file)

    def contents(self) -> Contents:
        """What is in it, whole copies only."""
        found = [found for name, found in self._files() if UNFINISHED not in name]
        oldest_at_ns = min((each.st_mtime_ns for each in found), default=0)
        return Contents(len(found), sum(each.st_size for each in found), oldest_at_ns)

    def id(self) -> str:
        """32 hex digits that name this folder, for all processes; made by whoever asks first."""
        if (known := self._read_id()) is None:
            self.write(ID_NAME, [secrets.token_hex(16).encode()])
            known = self._read_id()
        return known or ""

    def _read_id(self) -> str | None:
        if (opened := self.open(ID_NAME)) is None:
            return None
        with os.fdopen(opened[0], "rb") as file:
            return file.read(32).decode("ascii", "replace")

    def _files(self) -> list[tuple[str, os.stat_result]]:
        files = []
        with os.scandir(self._checked()) as found:
            for each in found:
                with contextlib.suppress(FileNotFoundError):  # another process evicts, too
                    if each.name != ID_NAME:
                        files.append((each.name, each.stat(follow_symlinks=False)))
        return files

    def _checked(self) -> str:
        """The folder, made if need be. Raises `OSError` where it is not ours alone: others could plant pictures."""
        folder = self._path
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                Path(folder).mkdir(mode=0o700, parents=True)
            found = os.lstat(folder)
        _require_ours(folder, found)
        return folder


def _require_ours(folder: str, found: os.stat_result) -> None:
    is_ours = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or not is_ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} is not a folder that only this user can write to")


def note_use(file: int, found: os.stat_result, now_ns: int) -> None:
    """Note that an open file was used, if that was not noted a moment ago by any process.

    The time of access is set, and that of the last change kept: by that processes tell whether they verified the file.
    """
    if now_ns - found.st_atime_ns > TOUCH_NS:
        with contextlib.suppress(OSError):  # a disk that became read-only still serves
            os.utime(file, ns=(now_ns, found.st_mtime_ns))
