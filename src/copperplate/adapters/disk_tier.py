"""Copies of pictures on disk, bounded, shared by the processes of a machine (ADR 0069)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from copperplate.adapters.copy_files import PREFIX_BYTES, head_of, read_copy, read_head
from copperplate.adapters.copy_folder import CopyFolder, FileState, note_use
from copperplate.feed import Tier
from copperplate.ports.tiers import Copy, TierFigures
from copperplate.recipes.objects import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
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
# Verified files that a process remembers, about 1.5 KB each.
MAX_VERIFIED: Final = 2_000
# A disk that takes longer is left alone for a while, and pictures come from the store.
PATIENCE_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 10.0
# Such a read held the event loop up: the next ones go to threads, for as long.
SLOW_SECONDS: Final = 0.1
# Heads that a thread reads in one go, some milliseconds, and how long one is at most: 700 bytes are usual.
HEADS: Final = 100
HEAD_BYTES: Final = 4096
# Threads that a disk which hangs can take.
THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class _Verified:
    """A file whose every byte was compared with its digests: while its state is this, it need not be again."""

    state: FileState
    prefix: bytes
    head_bytes: int
    copy: Copy  # without bytes


class DiskTier:
    """`CopyTier` in a folder, see `CopyFolder`: at most about `max_bytes`, least recently used go first.

    A copy that was altered, cut off, of another version or database is dropped. What the disk refuses is said once,
    and everything goes on without it.
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
        self._threads: ThreadPoolExecutor | None = None
        self._paused_until = self._threaded_until = float("-inf")
        self._has_complained = False

    async def find(self, key: str, database: str) -> Copy | None:
        """See `CopyTier.find`."""
        if KEY.fullmatch(key) is None or self._is_paused:
            return None
        known = self._verified.get(key)
        if known is None or known.state.size_bytes > INLINE_BYTES or self._clock.monotonic() < self._threaded_until:
            return await self._in_thread(lambda: self._find(key, database, known))
        began_at = self._clock.monotonic()
        try:
            copy = self._read_verified(key, known)
        except OSError as error:
            self._complain(error)
            return None
        if (now := self._clock.monotonic()) - began_at > SLOW_SECONDS:
            self._threaded_until = now + PAUSE_SECONDS
        if copy is not None and copy.database == database:
            return copy
        return await self._in_thread(lambda: self._find(key, database, None))

    async def keep(self, copy: Copy, request: PictureRequest) -> None:
        """See `CopyTier.keep`. One that is too large to share the folder with others is not kept."""
        body = copy.body
        if body is None or len(body) > self._slice_bytes or KEY.fullmatch(copy.entry.key) is None:
            return
        self._written_bytes += len(body)
        is_due = self._written_bytes > self._slice_bytes
        if is_due:
            self._written_bytes = len(body)
        await self._in_thread(lambda: self._keep(copy, body, is_due=is_due))

    async def drop(self, key: str) -> None:
        """See `CopyTier.drop`. It is gone for every process."""
        self._verified.pop(key, None)
        if KEY.fullmatch(key) is not None:
            await self._in_thread(lambda: self._folder.remove([key]))

    async def remove_wrong(self, is_wrong: Callable[[Copy], bool]) -> None:
        """See `CopyTier.remove_wrong`. Heads alone are read, some at a time, so that readers find a free thread.

        One that another process replaces in that moment may go with it, and is read from the store again.
        """
        names = await self._in_thread(self._folder.names) or []
        for first in range(0, len(names), HEADS):
            heads = await self._in_thread(partial(self._read_heads, names[first : first + HEADS])) or {}
            if wrong := [name for name, copy in heads.items() if is_wrong(copy)]:
                await self._in_thread(partial(self._folder.remove, wrong))

    async def figures(self) -> TierFigures | None:
        """See `CopyTier.figures`. Those of all processes that share the folder."""
        return await self._in_thread(self._figures)

    async def close(self) -> None:
        """See `CopyTier.close`. What is being written is let go on."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
        self._paused_until = float("inf")

    @property
    def _is_paused(self) -> bool:
        return self._clock.monotonic() < self._paused_until

    @property
    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1e9)

    def _find(self, key: str, database: str, known: _Verified | None) -> Copy | None:
        copy = (known and self._read_verified(key, known)) or self._verify(key)
        if copy is not None and copy.database != database:
            self._verified.pop(key, None)
            self._folder.remove([key])
            return None
        return copy

    def _read_verified(self, key: str, known: _Verified) -> Copy | None:
        """The copy, where the file is still the one that was verified."""
        if (opened := self._folder.open(key)) is None:
            return None
        file, found = opened
        try:
            if FileState.of(found) != known.state or os.read(file, PREFIX_BYTES) != known.prefix:
                return None
            os.lseek(file, known.head_bytes, os.SEEK_SET)
            body = os.read(file, found.st_size - known.head_bytes)
            note_use(file, found, self._now_ns)
        finally:
            os.close(file)
        copy = known.copy
        if len(body) != copy.entry.size_bytes:
            return None
        return Copy(entry=copy.entry, cursor=copy.cursor, database=copy.database, body=body)

    def _verify(self, key: str) -> Copy | None:
        """The copy in a file that this process did not verify yet. A wrong one is removed."""
        self._verified.pop(key, None)
        if (opened := self._folder.open(key)) is None:
            return None
        with os.fdopen(opened[0], "rb") as file:
            found = opened[1]
            raw = file.read(self._max_bytes)
            note_use(file.fileno(), found, self._now_ns)
        try:
            head, copy = read_copy(raw, key)
        except ValueError as error:
            logger.warning("a copy on disk is dropped: %s", error)
            self._folder.remove([key])
            return None
        self._remember(copy, FileState.of(found), head)
        return copy

    def _keep(self, copy: Copy, body: bytes, *, is_due: bool) -> None:
        if is_due:
            self._folder.shrink(int(self._max_bytes * KEPT))
        self._verified.pop(copy.entry.key, None)
        self._folder.write(copy.entry.key, [head_of(copy), body])

    def _remember(self, copy: Copy, state: FileState, head: bytes) -> None:
        without = Copy(entry=copy.entry, cursor=copy.cursor, database=copy.database)
        self._verified[copy.entry.key] = _Verified(state, head[:PREFIX_BYTES], len(head), without)
        while len(self._verified) > MAX_VERIFIED:
            self._verified.popitem(last=False)

    def _read_heads(self, names: list[str]) -> dict[str, Copy]:
        read = {name: read_head(self._folder.read_beginning(name, HEAD_BYTES)) for name in names}
        return {name: copy for name, copy in read.items() if copy is not None}

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
        """What `work` answers; None where the disk refuses, takes too long, or did a moment ago."""
        if self._is_paused:
            return None
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "disk-tier")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            self._paused_until = self._clock.monotonic() + PAUSE_SECONDS
            logger.warning("the disk does not answer; pictures come from the store for a while")
        except OSError as error:
            self._complain(error)
        return None

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            logger.warning("the disk is of no use for copies: %s; pictures come from the store instead", error)
