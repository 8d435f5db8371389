"""Verify what a provider sent, and encode what a caller asked for. Nothing in a picture is trusted.

Pillow is imported on first use: a process that only serves hits never pays for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from copperplate.errors import ProviderFailed
from copperplate.imaging import encoders, placeholders, verification
from copperplate.imaging.decode import Pixels
from copperplate.imaging.header import MAX_BODY_BYTES, MAX_PIXELS, Header, bad_output, read_header
from copperplate.imaging.provenance import says_ai_made, xmp_packet
from copperplate.imaging.room import Room
from copperplate.recipes.display import default_rendition
from copperplate.source_errors import InvalidPicture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from copperplate.model import CleanPicture, PictureFacts, PictureFormat, Placeholder, Rendition, Size
    from copperplate.ports import OpenPicture

# What decoding may take, measured over every format and mode (ADR 0013): so much for each pixel, and
# copies of what the file holds besides. The room is as large as the largest picture needs.
BYTES_PER_PIXEL: Final = 22
COPIES_OF_BODY: Final = 3
MEMORY_BYTES: Final = BYTES_PER_PIXEL * MAX_PIXELS + COPIES_OF_BODY * MAX_BODY_BYTES
# What encoding takes for each pixel of the output (ADR 0051): lossless alpha of a webp, and AVIF.
ENCODED_BYTES_PER_PIXEL: Final = 40
# What an open picture holds for each pixel: itself, and as many pixels of it scaled.
HELD_BYTES_PER_PIXEL: Final = 8
HELD_BYTES: Final = HELD_BYTES_PER_PIXEL * MAX_PIXELS

# The largest picture takes three seconds; what takes longer than this is given up.
DECODE_SECONDS: Final = 20.0
# How long a picture waits for its turn.
ROOM_SECONDS: Final = 30.0

# Of Linux: a thread of the event loop gets nine parts in ten of a core that it shares with one of these.
NOT_URGENT_NICENESS: Final = 10

# Grows with each change of what is encoded; two versions at once, so that labels come to what has none.
LABELLED_VERSION: Final = 2
UNLABELLED_VERSION: Final = 1

T = TypeVar("T")


async def _begin_at_once() -> None:
    """Nothing is to be done before decoding."""


class PillowImages:
    """`Images` with Pillow, in as many threads as there are cores; `close()` ends them.

    Pillow lets go of the interpreter lock while it decodes, scales and encodes. What is done at the same time takes at
    most `MEMORY_BYTES` and what open pictures hold at most `HELD_BYTES`, half as much again where it is not urgent.
    Each piece of work takes `seconds`; what takes longer is given up, and keeps its place until its thread has ended.
    With `has_labels`, renditions say which model made them (docs/provenance.md).
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        seconds: float = DECODE_SECONDS,
        room_seconds: float = ROOM_SECONDS,
        has_labels: bool = True,
    ) -> None:
        threads = threads or os.cpu_count() or 1
        self.encoder_version = LABELLED_VERSION if has_labels else UNLABELLED_VERSION
        self._seconds = seconds
        self._has_labels = has_labels
        self._urgent = Room(threads=threads, work_bytes=MEMORY_BYTES, held_bytes=HELD_BYTES, room_seconds=room_seconds)
        self._not_urgent = Room(
            threads=max(1, threads // 2),
            work_bytes=MEMORY_BYTES // 2,
            held_bytes=HELD_BYTES // 2,
            room_seconds=room_seconds,
            niceness=NOT_URGENT_NICENESS,
        )

    async def verify(
        self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]] = _begin_at_once
    ) -> PictureFacts:
        """What `body` is, by its bytes alone; see `Images.verify`."""
        header = read_header(body)
        work = partial(verification.verify, body, header, covers)
        working = await self._urgent.start(work, _decoding_bytes(body, header), begin)
        return await self.result_of(working, header)

    async def clean(self, body: bytes) -> CleanPicture:
        """A picture that somebody brought, encoded anew; see `Cleaner.clean`."""
        # Imported here: a process that nobody brings a picture to never reads their formats.
        from copperplate.imaging.uploads import clean_upload, read_upload

        upload = read_upload(body)
        working = await self._urgent.start(partial(clean_upload, body, upload.header), upload.memory_bytes)
        try:
            return await self.result_of(working, upload.header)
        except ProviderFailed as late:
            raise InvalidPicture(str(late)) from late

    @contextlib.asynccontextmanager
    async def open(self, original: bytes, *, model: str | None, is_urgent: bool = True) -> AsyncIterator[OpenPicture]:
        """An original, to be encoded; see `Images.open`."""
        header = read_header(original)
        room = self._urgent if is_urgent or not self._is_small(original, header) else self._not_urgent
        give_back = await room.hold(HELD_BYTES_PER_PIXEL * _pixels(header.size))
        picture = _OpenPicture(self, room, original, header, self._label_of(model, original))
        try:
            yield picture
        finally:
            picture.close(give_back)

    async def placeholder(self, body: bytes) -> Placeholder:
        """The placeholder of a kept picture; see `Images.placeholder`."""
        header = read_header(body)
        room = self._not_urgent if self._is_small(body, header) else self._urgent
        working = await room.start(partial(_read_placeholder, body, header), _decoding_bytes(body, header))
        return await self.result_of(working, header)

    async def draw_placeholder(
        self, placeholder: Placeholder, picture_format: PictureFormat, *, canvas: Size, model: str | None
    ) -> bytes:
        """See `Images.draw_placeholder`."""
        xmp = self._label_of(model)

        def draw() -> bytes:
            return encoders.encode(placeholders.draw(placeholder, canvas), default_rendition(picture_format), xmp=xmp)

        # No room: it takes less memory than the answer's headers, and two milliseconds.
        return await asyncio.to_thread(draw)

    def _label_of(self, model: str | None, original: bytes = b"") -> bytes | None:
        # Nobody names a model: no more is said than the original says itself.
        is_ai_made = model is not None or says_ai_made(original)
        return xmp_packet(model) if self._has_labels and is_ai_made else None

    def close(self) -> None:
        """Drop what has not begun and wait for what has. A later call starts afresh."""
        self._urgent.close()
        self._not_urgent.close()

    async def result_of(self, working: asyncio.Future[T], header: Header) -> T:
        """What a piece of work answers or raises; it is given up after `seconds`, and goes on by itself."""
        # Waited for, not awaited: nothing ends a thread, so neither may anything end its place.
        await asyncio.wait((working,), timeout=self._seconds)
        if not working.done():
            raise bad_output(f"the {header.name.lower()} was not decoded within {self._seconds} s")
        return working.result()

    def _is_small(self, original: bytes, header: Header) -> bool:
        """Whether it fits into the smaller room, in every form."""
        pixels = _pixels(header.size)
        return (
            HELD_BYTES_PER_PIXEL * pixels <= self._not_urgent.held_bytes
            and _working_bytes(original, header, header.size) <= self._not_urgent.work_bytes
        )


class _OpenPicture:
    """An original, decoded once for all that is asked of it."""

    def __init__(self, images: PillowImages, room: Room, original: bytes, header: Header, xmp: bytes | None) -> None:
        self._images = images
        self._room = room
        self._original = original
        self._header = header
        self._xmp = xmp
        self._pixels = Pixels(original, header)
        self._working: set[asyncio.Future[bytes]] = set()

    async def encode(self, rendition: Rendition, *, canvas: Size, at_most_bytes: int | None = None) -> bytes:
        """See `OpenPicture.encode`."""
        size = rendition.size or canvas
        self._pixels.expect(size)
        try:
            await asyncio.sleep(0)  # so that all that is asked at this moment is expected when the first is decoded
            work = partial(self._encode, rendition, size, at_most_bytes)
            working = await self._room.start(work, _working_bytes(self._original, self._header, size))
            self._working.add(working)
            working.add_done_callback(self._working.discard)
            return await self._images.result_of(working, self._header)
        finally:
            self._pixels.forget(size)

    def close(self, give_back: Callable[[], None]) -> None:
        """Call `give_back` as soon as no thread works on it any more."""
        if not self._working:
            give_back()
            return
        last = asyncio.gather(*self._working, return_exceptions=True)
        last.add_done_callback(lambda _: give_back())

    def _encode(self, rendition: Rendition, size: Size, at_most_bytes: int | None) -> bytes:
        picture = self._pixels.of(size)
        return encoders.encode(picture, rendition, at_most_bytes=at_most_bytes, xmp=self._xmp)


def _read_placeholder(body: bytes, header: Header) -> Placeholder:
    try:
        return placeholders.read_placeholder(body, header)
    except ProviderFailed:
        raise
    except Exception as exc:
        raise bad_output(f"no placeholder can be made: {type(exc).__name__}: {exc}"[:300]) from exc


def _pixels(size: Size) -> int:
    return size.width * size.height


def _decoding_bytes(body: bytes, header: Header) -> int:
    return BYTES_PER_PIXEL * _pixels(header.size) + COPIES_OF_BODY * len(body)


def _working_bytes(original: bytes, header: Header, size: Size) -> int:
    """What it takes at most to decode an original, or to encode it once it is decoded."""
    return max(_decoding_bytes(original, header), ENCODED_BYTES_PER_PIXEL * _pixels(size))
