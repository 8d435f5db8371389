"""Copies of pictures on disk, bounded, shared by the processes of a machine (ADR 0069)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from copperplate.adapters.copy_files import PREFIX_BYTES, head_bytes_of, head_of, read_copy, read_head
from copperplate.adapters.copy_folder import CopyFolder, FileState, note_use
from copperplate.adapters.daemon_threads import DaemonThreads, TooManyWaiting
from copperplate.feed import Tier
from copperplate.ports.tiers import Copy, HotCopy, TierFigures
from copperplate.recipes.objects import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from copperplate.model import PictureRequest
    from copperplate.ports import Clock

T = TypeVar("T")
logger = logging.getLogger(__name__)

# How much a process writes between two looks at the folder, and so the largest copy that is kept.
SLICE: Final = 1 / 32
# What such a look leaves in place. The rest is room for what four processes write until their next one.
KEPT: Final = 3 / 4
# A file that was verified is read in the event loop up to this size. Measured, in the page cache: 1 MiB takes 90 µs,
# 100 KB 12 µs, and going to a thread and back 110 µs by itself.
INLINE_BYTES: Final = 1024 * 1024
# For so long after a thread read it: then its pages are in memory, and the thread has noted its use.
INLINE_SECONDS: Final = 60.0
# Verified files that a process remembers, about 1.5 KB each.
MAX_VERIFIED: Final = 2_000
# A disk that takes longer is left alone for a while, and pictures come from the store.
PATIENCE_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 10.0
# Such a read held the event loop up: the next ones go to threads, for as long.
SLOW_SECONDS: Final = 0.1
# Heads that a thread reads in one go, some milliseconds, and how much of a file at first: 700 bytes are usual, and a
# cursor that names hundreds of running transactions takes more.
HEADS: Final = 100
HEAD_BYTES: Final = 4096
MAX_HEAD_BYTES: Final = 1024 * 1024
# Threads that a disk which hangs can take.
THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class _Verified:
    """A file whose every byte was compared with its digests: while its state is this, it need not be again."""

    state: FileState
    prefix: bytes
    head_bytes: int
    shown: HotCopy
    read_at: float  # by a thread, by the monotonic clock


def name_of(key: str, database: str) -> str:
    """The file's name. Servers of several databases may share a folder, and do not meet."""
    return f"{key}-{_digest_of(database)}"


@lru_cache(8)
def _digest_of(database: str) -> str:
    return hashlib.sha256(database.encode()).hexdigest()[:16]


def _whole(shown: HotCopy, body: bytes) -> Copy:
    copy = shown.copy
    return Copy(entry=copy.entry, cursor=copy.cursor, database=copy.database, body=body)


class DiskTier:
    """`CopyTier` in a folder, see `CopyFolder`: at most about `max_bytes`, least recently used go first.

    A copy that was altered, cut off or of another version is dropped; those of other databases have other names, and
    stay until they are evicted. What the disk refuses is said once, and everything goes on without it.
    """

    tier = Tier.DISK

    def __init__(self, clock: Clock, parent: Path | None, max_bytes: int) -> None:
        self._clock = clock
        self._folder = CopyFolder(parent)
        self._max_bytes = max_bytes
        self._slice_bytes = int(max_bytes * SLICE)
        # The first copy looks at what other processes, and earlier settings, have left.
        self._written_bytes = self._slice_bytes
        self._verified: OrderedDict[str, _Verified] = OrderedDict()
        self._threads = DaemonThreads(THREADS, "disk-tier")
        # What was given up while a thread was at it.
        self._late: set[Future[Any]] = set()
        # Of what was found or kept last. A process has one, until a restore gives it another.
        self._database = ""
        self._paused_until = self._threaded_until = float("-inf")
        self._has_complained = self._has_refused = False

    async def find(self, key: str, database: str) -> Copy | None:
        """See `CopyTier.find`. Nothing is found before the database is known."""
        if KEY.fullmatch(key) is None or not database or self._is_paused:
            return None
        if (found := self.find_quickly(key, database)) is not None:
            return _whole(*found)
        self._database = database
        known = self._verified.get(name_of(key, database))
        return await self._in_thread(lambda: self._find(key, database, known))

    def find_quickly(self, key: str, database: str) -> tuple[HotCopy, bytes] | None:
        """See `CopyTier.find_quickly`: a small file that was verified, and that a thread has read lately."""
        name, now = name_of(key, database), self._clock.monotonic()
        if (known := self._verified.get(name)) is None or now < self._paused_until:
            return None
        if not self._is_read_inline(known, now):
            return None
        self._database = database
        try:
            body = self._read_verified(name, known)
        except OSError as error:
            self._complain(error)
            return None
        if (ended_at := self._clock.monotonic()) - now > SLOW_SECONDS:
            self._threaded_until = ended_at + PAUSE_SECONDS
        return None if body is None else (known.shown, body)

    async def keep(self, copy: Copy, request: PictureRequest) -> None:
        """See `CopyTier.keep`. One that is too large to share the folder with others is not kept."""
        body = copy.body
        if body is None or len(body) > self._slice_bytes or KEY.fullmatch(copy.entry.key) is None:
            return
        self._database = copy.database
        self._written_bytes += len(body)
        is_due = self._written_bytes > self._slice_bytes
        if is_due:
            self._written_bytes = len(body)
        await self._in_thread(lambda: self._keep(copy, body, is_due=is_due))

    async def drop(self, key: str) -> None:
        """See `CopyTier.drop`. It is gone for every process of this database."""
        if KEY.fullmatch(key) is not None:
            name = name_of(key, self._database)
            self._verified.pop(name, None)
            await self._in_thread(lambda: self._folder.remove([name]))

    async def remove_wrong(self, database: str, is_right: Callable[[Copy], bool]) -> bool:
        """See `CopyTier.remove_wrong`. Heads alone are read, some at a time, so that readers find a free thread.

        A file whose head is not whole goes as well. One that another process replaces in that moment may go with it,
        and is read from the store again.
        """
        # What was given up and is still under way may write one yet, also while the names are read.
        is_complete = not self._late
        names = await self._in_thread(self._folder.names)
        ending = name_of("", database)
        ours = [name for name in names or [] if name.endswith(ending)]
        has_seen_all = is_complete and names is not None
        for first in range(0, len(ours), HEADS):
            some = ours[first : first + HEADS]
            heads = await self._in_thread(partial(self._read_heads, some)) or {}
            wrong = [name for name, copy in heads.items() if copy is None or not is_right(copy)]
            are_gone = not wrong or await self._in_thread(partial(self._remove, wrong))
            has_seen_all = has_seen_all and len(heads) == len(some) and bool(are_gone)
        return has_seen_all

    async def figures(self) -> TierFigures | None:
        """See `CopyTier.figures`. Those of all processes that share the folder."""
        return await self._in_thread(self._figures)

    async def close(self) -> None:
        """See `CopyTier.close`. What is being written goes on as long as the process; its end waits for no disk."""
        self._threads.close()
        self._paused_until = float("inf")

    @property
    def _is_paused(self) -> bool:
        return self._clock.monotonic() < self._paused_until

    def _is_read_inline(self, known: _Verified, now: float) -> bool:
        is_warm = now - known.read_at < INLINE_SECONDS and now >= self._threaded_until
        return is_warm and known.state.size_bytes <= INLINE_BYTES

    @property
    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1e9)

    def _find(self, key: str, database: str, known: _Verified | None) -> Copy | None:
        """In a thread, and with a note of its use."""
        name, read_at = name_of(key, database), self._clock.monotonic()
        if known is not None and (body := self._read_verified(name, known, is_noted=True)) is not None:
            self._remember(name, replace(known, read_at=read_at))
            return _whole(known.shown, body)
        return self._verify(key, database, name, read_at)

    def _read_verified(self, name: str, known: _Verified, *, is_noted: bool = False) -> bytes | None:
        """The bytes, where the file is still the one that was verified."""
        if (opened := self._folder.open(name)) is None:
            return None
        file, found = opened
        try:
            if FileState.of(found) != known.state or os.read(file, PREFIX_BYTES) != known.prefix:
                return None
            body = os.pread(file, found.st_size - known.head_bytes, known.head_bytes)
            if is_noted:
                note_use(file, found, self._now_ns)
        finally:
            os.close(file)
        if len(body) != known.shown.copy.entry.size_bytes:
            return None
        with contextlib.suppress(KeyError):  # another thread forgot it meanwhile
            self._verified.move_to_end(name)
        return body

    def _verify(self, key: str, database: str, name: str, read_at: float) -> Copy | None:
        """The copy in a file that this process did not verify yet. A wrong one is removed."""
        self._verified.pop(name, None)
        if (opened := self._folder.open(name)) is None:
            return None
        with os.fdopen(opened[0], "rb") as file:
            found = opened[1]
            raw = file.read(self._max_bytes)
            note_use(file.fileno(), found, self._now_ns)
        try:
            head, copy = read_copy(raw, key, database)
        except ValueError as error:
            logger.warning("a copy on disk is dropped: %s", error)
            self._folder.remove([name])
            return None
        shown = HotCopy(replace(copy, body=None))
        self._remember(name, _Verified(FileState.of(found), head[:PREFIX_BYTES], len(head), shown, read_at))
        return copy

    def _keep(self, copy: Copy, body: bytes, *, is_due: bool) -> None:
        if is_due:
            self._folder.shrink(int(self._max_bytes * KEPT))
        name = name_of(copy.entry.key, copy.database)
        self._verified.pop(name, None)
        self._folder.write(name, [head_of(copy), body])

    def _remember(self, name: str, verified: _Verified) -> None:
        self._verified.pop(name, None)
        self._verified[name] = verified
        while len(self._verified) > MAX_VERIFIED:
            self._verified.popitem(last=False)

    def _read_heads(self, names: list[str]) -> dict[str, Copy | None]:
        """The copies without bytes, None for what is none; those that cannot be read are left out."""
        heads = {}
        for name in names:
            with contextlib.suppress(OSError):
                raw = self._folder.read_beginning(name, HEAD_BYTES)
                if len(raw) < (size_bytes := head_bytes_of(raw)) <= MAX_HEAD_BYTES:
                    raw = self._folder.read_beginning(name, size_bytes)
                heads[name] = read_head(raw)
        return heads

    def _remove(self, names: list[str]) -> bool:
        try:
            self._folder.remove(names)
        except OSError as error:
            if not self._has_refused:
                logger.warning("copies on disk that are not right cannot be removed: %s; remove the folder", error)
            self._has_refused = True
            return False
        return True

    def _figures(self) -> TierFigures:
        found = self._folder.contents()
        return TierFigures(
            tier=Tier.DISK,
            entries=found.entries,
            bytes=found.bytes,
            oldest_seconds=max(0.0, (self._now_ns - found.oldest_at_ns) / 1e9) if found.entries else None,
            place=self._folder.id(),
        )

    async def _in_thread(self, work: Callable[[], T]) -> T | None:
        """What `work` answers; None where the disk refuses, takes too long or did a moment ago, or has much to do."""
        if self._is_paused:
            return None
        with contextlib.suppress(TooManyWaiting):
            future = self._threads.run(work)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return await asyncio.wrap_future(future)
            except TimeoutError:
                if not self._is_paused:  # of all that waited one says so
                    logger.warning("the disk does not answer; pictures come from the store for a while")
                self._paused_until = self._clock.monotonic() + PAUSE_SECONDS
            except OSError as error:
                self._complain(error)
            finally:
                if not future.done():
                    self._late.add(future)
                    future.add_done_callback(self._late.discard)
        return None

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            logger.warning("the disk is of no use for copies: %s; pictures come from the store instead", error)
