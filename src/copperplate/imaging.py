"""Verify what a provider sent, and encode what a caller asked for. Nothing in a picture is trusted.

Pillow is imported on first use: a process that only serves hits never pays for it.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeVar

from copperplate.errors import ProviderFailed
from copperplate.model import FailureClass, PictureFormat, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL.Image import Image

    from copperplate.model import Want

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_PIXELS: Final = 4096 * 4096

# Pillow's name of each format that is accepted, and ours.
FORMATS: Final[Mapping[str, str]] = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}

_ORIENTATION: Final = 0x0112  # EXIF tag
_LIES_ON_ITS_SIDE: Final = range(5, 9)  # values of it that swap width and height
_DEFAULT_QUALITY: Final = 85

T = TypeVar("T")


class PillowImages:
    """`Images` with Pillow, in as many threads as there are cores; `close()` ends them.

    Pillow lets go of the interpreter lock while it decodes, scales and encodes.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._executor: ThreadPoolExecutor | None = None

    async def verify(self, body: bytes, *, covers: Size) -> tuple[str, Size]:
        """The sniffed format (`jpg`, `png`, `webp`) and upright size in px; raises `ProviderFailed` (bad output)."""
        return await self._run(partial(_verify, body, covers))

    async def encode(self, original: bytes, want: Want) -> bytes:
        """`original` upright, in sRGB, filling exactly `want.size`, without metadata.

        Raises `ProviderFailed` (bad output) if `original` cannot be decoded.
        """
        return await self._run(partial(_encode, original, want))

    def close(self) -> None:
        """Drop what has not begun and wait for what has. A later call starts afresh."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="imaging")
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _verify(body: bytes, covers: Size) -> tuple[str, Size]:
    name = _sniff(body)
    try:
        size, is_uniform = _inspect(body, name)
    except ProviderFailed:
        raise
    except Exception as exc:  # hostile bytes raise anything, MemoryError and struct.error included
        raise _bad(f"the {FORMATS[name]} cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
    if not size.covers(covers):
        raise _bad(f"the picture is {size}, which does not cover {covers}")
    if is_uniform:
        raise _bad(f"the picture is one flat colour, {size}")
    return FORMATS[name], size


def _sniff(body: bytes) -> str:
    """Pillow's name of the format that the first bytes tell, whatever any header claimed."""
    if len(body) > MAX_BODY_BYTES:
        raise _bad(f"the answer has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    if body.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "WEBP"
    raise _bad(f"the answer is no jpeg, png or webp; it begins with {body[:16]!r}")


def _inspect(body: bytes, name: str) -> tuple[Size, bool]:
    """Upright size, and whether nothing is to be seen; decodes every pixel."""
    if name == "PNG":
        _open(body, name).verify()  # the checksums of every chunk, which decoding alone skips
    with _open(body, name) as image:
        image.load()
        size = _upright_size(image)
        seen = _eight_bit(image)
        extrema = [seen.getchannel(band).getextrema() for band in seen.getbands()]
        is_invisible = seen.mode == "RGBA" and extrema[3] == (0, 0)
        return size, is_invisible or all(low == high for low, high in extrema[:3])


def _open(body: bytes, name: str) -> Image:
    """The picture with its header read and within limits, nothing decoded yet."""
    from PIL import Image

    image = Image.open(BytesIO(body), formats=[name])
    if image.format != name or getattr(image, "n_frames", 1) != 1:
        raise _bad(f"the {FORMATS[name]} holds more than one picture")
    if image.width * image.height > MAX_PIXELS:
        raise _bad(f"the picture says it is {image.width}x{image.height}, more than {MAX_PIXELS} pixels")
    return image


def _upright_size(image: Image) -> Size:
    if image.getexif().get(_ORIENTATION) in _LIES_ON_ITS_SIDE:
        return Size(width=image.height, height=image.width)
    return Size(width=image.width, height=image.height)


def _bad(message: str) -> ProviderFailed:
    return ProviderFailed(FailureClass.BAD_OUTPUT, message)


def _encode(original: bytes, want: Want) -> bytes:
    name = _sniff(original)
    try:
        picture = _fit(_decode(original, name, want.size), want.size)
    except ProviderFailed:
        raise
    except Exception as exc:
        raise _bad(f"the original cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
    return _save(picture, want.rendition.format, want.rendition.quality)


def _decode(original: bytes, name: str, size: Size) -> Image:
    """The picture upright, in sRGB, as RGB or RGBA; a large jpeg already reduced towards `size`."""
    from PIL import ImageOps

    with _open(original, name) as image:
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
