"""Verify what a provider sent, and encode what a caller asked for. Nothing in a picture is trusted.

Pillow is imported on first use: a process that only serves hits never pays for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeVar

from copperplate.errors import NoPicture, ProviderFailed, StillGenerating
from copperplate.imaging.capacity_limiter import CapacityLimiter
from copperplate.imaging.header import FORMATS, MAX_BODY_BYTES, MAX_PIXELS, Header, bad_output, read_header
from copperplate.model import PictureFacts, PictureFormat, Size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from PIL.Image import Image

    from copperplate.model import Rendition
    from copperplate.ports import OpenPicture

# What decoding may take, measured over every format and mode (ADR 0013): so much for each pixel, and
# copies of what the file holds besides. The room is as large as the largest picture needs.
BYTES_PER_PIXEL: Final = 22
COPIES_OF_BODY: Final = 3
MEMORY_BYTES: Final = BYTES_PER_PIXEL * MAX_PIXELS + COPIES_OF_BODY * MAX_BODY_BYTES
# Characters of a png's comments, which may be a thousandth of that when compressed.
MAX_TEXT_CHARS: Final = 4 * 1024 * 1024

# The largest picture takes three seconds; what takes longer than this is given up.
DECODE_SECONDS: Final = 20.0
# How long a picture waits for its turn.
ROOM_SECONDS: Final = 30.0

_ORIENTATION: Final = 0x0112  # EXIF tag
_LIES_ON_ITS_SIDE: Final = range(5, 9)  # values of it that swap width and height
_DEFAULT_QUALITY: Final = 85
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
        return await self._run(partial(_verify, body, header, covers), body, header, begin)

    @contextlib.asynccontextmanager
    async def open(self, original: bytes, *, model: str) -> AsyncIterator[OpenPicture]:  # noqa: ARG002
        """An original, to be encoded; see `Images.open`."""
        yield _OpenPicture(self, original, read_header(original))

    async def encode(
        self, original: bytes, header: Header, rendition: Rendition, size: Size, at_most_bytes: int | None
    ) -> bytes:
        """`original` upright, in sRGB, filling exactly `size`, without metadata; see `OpenPicture.encode`."""
        work = partial(_encode, original, header, rendition, size, at_most_bytes)
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


def _verify(body: bytes, header: Header, covers: Size) -> PictureFacts:
    try:
        size, is_uniform = _inspect(body, header)
    except ProviderFailed:
        raise
    except Exception as exc:  # hostile bytes raise anything, MemoryError and struct.error included
        raise NoPicture(f"the {FORMATS[header.name]} cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
    if not size.covers(covers):
        raise bad_output(f"the picture is {size}, which does not cover {covers}")
    if is_uniform:
        raise bad_output(f"the picture is one flat colour, {size}")
    return PictureFacts(format=FORMATS[header.name], size=size)


def _inspect(body: bytes, header: Header) -> tuple[Size, bool]:
    """Upright size, and whether nothing is to be seen; decodes every pixel."""
    if header.name == "PNG":
        _open(body, header).verify()  # the checksums of every chunk, which decoding alone skips
    with _open(body, header) as image:
        image.load()
        size = _upright_size(image)
        seen = _eight_bit(image)
        extrema = [seen.getchannel(band).getextrema() for band in seen.getbands()]
        is_invisible = seen.mode == "RGBA" and extrema[3] == (0, 0)
        return size, is_invisible or all(low == high for low, high in extrema[:3])


def _open(body: bytes, header: Header) -> Image:
    """The picture as Pillow sees it, nothing decoded yet; it must be the one that its header told of."""
    from PIL import Image, PngImagePlugin

    PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_CHARS
    image = Image.open(BytesIO(body), formats=[header.name])
    if image.format != header.name or getattr(image, "n_frames", 1) != 1:
        raise bad_output(f"the {FORMATS[header.name]} holds more than one picture")
    if image.size != (header.size.width, header.size.height):
        raise bad_output(f"the picture says it is {header.size} and is {image.width}x{image.height}")
    return image


def _upright_size(image: Image) -> Size:
    if image.getexif().get(_ORIENTATION) in _LIES_ON_ITS_SIDE:
        return Size(width=image.height, height=image.width)
    return Size(width=image.width, height=image.height)


def _encode(original: bytes, header: Header, rendition: Rendition, size: Size, at_most_bytes: int | None) -> bytes:
    try:
        picture = _fit(_decode(original, header, size), size)
    except ProviderFailed:
        raise
    except Exception as exc:
        raise bad_output(f"the original cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
    body = _save(picture, rendition.format, rendition.quality)
    if at_most_bytes is None or len(body) <= at_most_bytes:
        return body
    if rendition.format is PictureFormat.PNG:
        body = _save(_with_palette(picture), rendition.format, None)
    if len(body) > at_most_bytes:
        raise bad_output(f"the picture takes {len(body)} bytes, of {at_most_bytes} that are allowed")
    return body


def _with_palette(picture: Image) -> Image:
    """In 256 colours, those that fit it best; alpha stays."""
    from PIL.Image import Quantize

    method = Quantize.FASTOCTREE if picture.mode == "RGBA" else Quantize.MEDIANCUT
    return picture.quantize(256, method=method)


def _decode(original: bytes, header: Header, size: Size) -> Image:
    """The picture upright, in sRGB, as RGB or RGBA; a large jpeg already reduced towards `size`."""
    from PIL import ImageOps

    with _open(original, header) as image:
        side = 2 * max(size.width, size.height)
        image.draft(None, (side, side))  # only a jpeg listens
        return _eight_bit(_in_srgb(ImageOps.exif_transpose(image)))


def _in_srgb(image: Image) -> Image:
    """Colours as the embedded profile means them; unchanged where there is none or it is broken."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    from PIL import ImageCms

    source = _eight_bit(image) if image.mode in {"P", "PA", "LA", "I;16", "I"} else image
    mode: Any = "RGBA" if source.mode == "RGBA" else "RGB"
    try:
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(source, BytesIO(profile), srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted or image


def _eight_bit(image: Image) -> Image:
    """The same picture as RGB, or as RGBA if it has an alpha channel; 8 bits each."""
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip them, not scale them
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _fit(image: Image, size: Size) -> Image:
    """Scaled to cover `size`, its middle cut out."""
    from PIL.Image import Resampling

    if image.size == (size.width, size.height):
        return image
    scale = max(size.width / image.width, size.height / image.height)
    width, height = size.width / scale, size.height / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (max(0.0, left), max(0.0, top), min(left + width, image.width), min(top + height, image.height))
    return image.resize((size.width, size.height), Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _save(picture: Image, picture_format: PictureFormat, quality: int | None) -> bytes:
    """Encoded without metadata. The effort of each encoder is measured in docs/adr/0007."""
    if picture.mode == "RGBA":
        picture = _without_alpha(picture, is_wanted=picture_format is not PictureFormat.JPG)
    picture.info = {}  # Pillow's writers copy comments, profiles and transparency from here
    options: dict[str, Any] = {
        PictureFormat.JPG: {"format": "JPEG", "quality": quality or _DEFAULT_QUALITY, "optimize": True},
        PictureFormat.PNG: {"format": "PNG", "compress_level": 4},
        PictureFormat.WEBP: {"format": "WEBP", "quality": quality or _DEFAULT_QUALITY, "method": 2},
        PictureFormat.AVIF: {"format": "AVIF", "quality": quality or _DEFAULT_QUALITY, "speed": 10},
    }[picture_format]
    target = BytesIO()
    picture.save(target, **options)
    return target.getvalue()


def _without_alpha(picture: Image, *, is_wanted: bool) -> Image:
    """RGB on white; unchanged where alpha is wanted and does anything."""
    from PIL import Image

    alpha = picture.getchannel("A")
    is_opaque = alpha.getextrema() == (255, 255)
    if is_opaque:
        return picture.convert("RGB")
    if is_wanted:
        return picture
    paper = Image.new("RGB", picture.size, "white")
    paper.paste(picture, mask=alpha)
    return paper
