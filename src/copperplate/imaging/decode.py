"""An original as pixels: opened, turned upright, in sRGB, cut and scaled."""

from __future__ import annotations

from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Final

from copperplate.errors import ProviderFailed
from copperplate.imaging.colours import eight_bit, in_srgb
from copperplate.imaging.header import FORMATS, Header, bad_output
from copperplate.model import Size

if TYPE_CHECKING:
    from PIL.Image import Image

# Characters of a png's comments, which may be a thousandth of that when compressed.
MAX_TEXT_CHARS: Final = 4 * 1024 * 1024

_ORIENTATION: Final = 0x0112  # EXIF tag
_LIES_OTHERWISE: Final = range(2, 9)  # values of it that turn or mirror the picture
_LIES_ON_ITS_SIDE: Final = range(5, 9)  # values of it that swap width and height


class Pixels:
    """The pixels of one original, decoded once and scaled once for each size; may be used by several threads.

    A jpeg is decoded no larger than the sizes that are expected need it, and again where a larger one comes later.
    """

    def __init__(self, original: bytes, header: Header) -> None:
        self._original = original
        self._header = header
        self._lock = Lock()
        self._expected: list[Size] = []
        self._decoded: Image | None = None
        self._reduction = 0
        # The least recently used first.
        self._sized: dict[Size, Image] = {}

    def expect(self, size: Size) -> None:
        """Say that `size` will be asked for, so that what is decoded before suffices for it."""
        self._expected.append(size)

    def forget(self, size: Size) -> None:
        """Take back what `expect` was told."""
        self._expected.remove(size)

    def of(self, size: Size) -> Image:
        """Filling exactly `size`, as RGB or RGBA; nobody changes it. Raises `ProviderFailed` (bad output)."""
        with self._lock:
            try:
                picture = self._sized.pop(size, None) or fit(self._decode(size), size)
            except ProviderFailed:
                raise
            except Exception as exc:
                raise bad_output(f"the original cannot be decoded: {type(exc).__name__}: {exc}"[:300]) from exc
            self._sized[size] = picture
            self._forget_sizes()
            return picture

    def _decode(self, size: Size) -> Image:
        side = 2 * max(max(each.width, each.height) for each in (size, *self._expected))
        reduction = _reduction(self._header, side)
        if self._decoded is None or reduction < self._reduction:
            self._sized.clear()
            self._decoded = None
            self._decoded, self._reduction = decode(self._original, self._header, side), reduction
        return self._decoded

    def _forget_sizes(self) -> None:
        """Keep the newest, and no more pixels besides than the original has."""
        stored = self._header.size
        while sum(each.width * each.height for each in self._sized.values()) > stored.width * stored.height:
            if len(self._sized) == 1:
                break
            del self._sized[next(iter(self._sized))]


def _reduction(header: Header, side: int) -> int:
    """By how much a jpeg is reduced while it is decoded, so that it still covers `side` both ways."""
    if header.name != "JPEG":
        return 1
    fits = min(header.size.width, header.size.height) // side
    return next((each for each in (8, 4, 2) if each <= fits), 1)


def open_picture(body: bytes, header: Header) -> Image:
    """The picture as Pillow sees it, nothing decoded yet; it must be the one that its header told of."""
    from PIL import Image, PngImagePlugin

    PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_CHARS
    image = Image.open(BytesIO(body), formats=[header.name])
    if image.format != header.name or getattr(image, "n_frames", 1) != 1:
        raise bad_output(f"the {FORMATS[header.name]} holds more than one picture")
    if image.size != (header.size.width, header.size.height):
        raise bad_output(f"the picture says it is {header.size} and is {image.width}x{image.height}")
    return image


def upright_size(image: Image) -> Size:
    """Its size as it is shown, whichever way the pixels lie in the file."""
    if image.getexif().get(_ORIENTATION) in _LIES_ON_ITS_SIDE:
        return Size(width=image.height, height=image.width)
    return Size(width=image.width, height=image.height)


def is_upright(image: Image) -> bool:
    """Whether its pixels lie in the file as they are shown."""
    return image.getexif().get(_ORIENTATION) not in _LIES_OTHERWISE


def decode(original: bytes, header: Header, side: int) -> Image:
    """The picture upright, in sRGB, as RGB, or RGBA where it is not opaque; a jpeg reduced towards `side` px."""
    from PIL import ImageOps

    with open_picture(original, header) as image:
        image.draft(None, (side, side))  # only a jpeg listens
        decoded = eight_bit(in_srgb(ImageOps.exif_transpose(image)))
    is_opaque = decoded.mode == "RGBA" and decoded.getchannel("A").getextrema() == (255, 255)
    return decoded.convert("RGB") if is_opaque else decoded


def fit(image: Image, size: Size) -> Image:
    """Scaled to cover `size`, its middle cut out."""
    from PIL.Image import Resampling

    if image.size == (size.width, size.height):
        return image
    scale = max(size.width / image.width, size.height / image.height)
    width, height = size.width / scale, size.height / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (max(0.0, left), max(0.0, top), min(left + width, image.width), min(top + height, image.height))
    return image.resize((size.width, size.height), Resampling.LANCZOS, box=box, reducing_gap=3.0)
