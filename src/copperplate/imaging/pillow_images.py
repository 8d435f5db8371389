"""Verify what a provider sent, and encode what a caller asked for. Nothing in a picture is trusted.

Pillow is imported on first use: a process that only serves hits never pays for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from copperplate.errors import StillGenerating
from copperplate.imaging import encoders, verification
from copperplate.imaging.capacity_limiter import CapacityLimiter
from copperplate.imaging.header import FORMATS, MAX_BODY_BYTES, MAX_PIXELS, Header, bad_output, read_header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from copperplate.model import PictureFacts, Rendition, Size
    from copperplate.ports import OpenPicture

# What decoding may take, measured over every format and mode (ADR 0013): so much for each pixel, and
# copies of what the file holds besides. The room is as large as the largest picture needs.
BYTES_PER_PIXEL: Final = 22
COPIES_OF_BODY: Final = 3
MEMORY_BYTES: Final = BYTES_PER_PIXEL * MAX_PIXELS + COPIES_OF_BODY * MAX_BODY_BYTES

# The largest picture takes three seconds; what takes longer than this is given up.
DECODE_SECONDS: Final = 20.0
# How long a picture waits for its turn.
ROOM_SECONDS: Final = 30.0

ENCODER_VERSION: Final = 2

T = TypeVar("T")


async def _begin_at_once() -> None:
    """Nothing is to be done before decoding."""


class PillowImages:
    """`Images` with Pillow, in as many threads as there are cores; `close()` ends them.

    Pillow lets go of the interpreter lock while it decodes, scales and encodes. What is decoded at the same time
    takes at most `MEMORY_BYTES`, and each picture `seconds`; one that takes longer is given up, and keeps its place
    until its thread has come to an end.
    """

    def __init__(
        self, *, threads: int | None = None, seconds: float = DECODE_SECONDS, room_seconds: float = ROOM_SECONDS
    ) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._seconds = seconds
        self._room_seconds = room_seconds
        self._room = self._make_room()
        self._executor: ThreadPoolExecutor | None = None

    encoder_version = ENCODER_VERSION

    async def verify(
        self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]] = _begin_at_once
    ) -> PictureFacts:
        """The sniffed format (`jpg`, `png`, `webp`) and upright size in px; see `Images.verify`."""
        header = read_header(body)
        return await self._run(partial(verification.verify, body, header, covers), body, header, begin)

    @contextlib.asynccontextmanager
    async def open(self, original: bytes, *, model: str) -> AsyncIterator[OpenPicture]:  # noqa: ARG002
        """An original, to be encoded; see `Images.open`."""
        yield _OpenPicture(self, original, read_header(original))

    async def encode(
        self, original: bytes, header: Header, rendition: Rendition, size: Size, at_most_bytes: int | None
    ) -> bytes:
        """`original` upright, in sRGB, filling exactly `size`, without metadata; see `OpenPicture.encode`."""
        work = partial(encoders.encode, original, header, rendition, size, at_most_bytes)
        return await self._run(work, original, header, _begin_at_once)

    def close(self) -> None:
        """Drop what has not begun and wait for what has. A later call starts afresh."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
            self._room = self._make_room()  # whoever is late leaves the old one

    def _make_room(self) -> CapacityLimiter:
        return CapacityLimiter(places=self._threads, size_bytes=MEMORY_BYTES)

    async def _run(self, work: Callable[[], T], body: bytes, header: Header, begin: Callable[[], Awaitable[None]]) -> T:
        """Wait for room, say so, and work; whatever becomes of the caller, the room is left when the work is over."""
        room = self._room
        needed_bytes = BYTES_PER_PIXEL * header.size.width * header.size.height + COPIES_OF_BODY * len(body)
        try:
            async with asyncio.timeout(self._room_seconds):
                await room.acquire(needed_bytes)
        except TimeoutError:
            raise StillGenerating from None
        try:
            await begin()
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="imaging")
            working = asyncio.get_running_loop().run_in_executor(self._executor, work)
        except BaseException:
            room.release(needed_bytes)
            raise

        def release(done: asyncio.Future[T]) -> None:
            room.release(needed_bytes)
            if not done.cancelled():
                done.exception()  # retrieve it, or asyncio warns

        working.add_done_callback(release)
        # Waited for, not awaited: nothing ends a thread, so neither may anything end its place.
        await asyncio.wait((working,), timeout=self._seconds)
        if not working.done():
            raise bad_output(f"the {FORMATS[header.name]} was not decoded within {self._seconds} s")
        return working.result()


class _OpenPicture:
    """An original, decoded anew for each rendition."""

    def __init__(self, images: PillowImages, original: bytes, header: Header) -> None:
        self._images = images
        self._original = original
        self._header = header

    async def encode(self, rendition: Rendition, *, canvas: Size, at_most_bytes: int | None = None) -> bytes:
        """See `OpenPicture.encode`."""
        size = rendition.size or canvas
        return await self._images.encode(self._original, self._header, rendition, size, at_most_bytes)
