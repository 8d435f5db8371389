"""An original as pixels: opened, turned upright, in sRGB, cut and scaled."""

from __future__ import annotations

from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Final

from copperplate.errors import ProviderFailed
from copperplate.imaging.colours import eight_bit, in_srgb
from copperplate.imaging.containers import read_container
from copperplate.imaging.header import bad_output
from copperplate.model import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from copperplate.imaging.containers import Container
    from copperplate.imaging.header import Header

_LIES_ON_ITS_SIDE: Final = range(5, 9)  # orientations that swap width and height
# Pillow's number of the operation that puts each of them upright.
_TURNS: Final[Mapping[int, int | None]] = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


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
        """Keep no more pixels than the original has, besides its own; what is expected goes last."""
        stored = self._header.size
        while self._scaled_pixels() > stored.width * stored.height and len(self._sized) > 1:
            oldest = next(iter(self._sized))
            del self._sized[next((size for size in self._sized if size not in self._expected), oldest)]

    def _scaled_pixels(self) -> int:
        return sum(each.width * each.height for each in self._sized.values() if each is not self._decoded)


def _reduction(header: Header, side: int) -> int:
    """By how much a jpeg is reduced while it is decoded, so that it still covers `side` both ways."""
    if header.name != "JPEG":
        return 1
    fits = min(header.size.width, header.size.height) // side
    return next((each for each in (8, 4, 2) if each <= fits), 1)


def open_container(container: Container, header: Header) -> Image:
    """The picture as Pillow sees it, nothing decoded yet; it must be the one that its header told of."""
    from PIL import Image

    image = Image.open(BytesIO(container.body), formats=[header.name])
    if image.size != (header.size.width, header.size.height):
        raise bad_output(f"the picture says it is {header.size} and is {image.width}x{image.height}")
    image.info.update(container.colours)
    return image


def upright_size(container: Container, header: Header) -> Size:
    """Its size as it is shown, whichever way the pixels lie in the file."""
    if container.orientation in _LIES_ON_ITS_SIDE:
        return Size(width=header.size.height, height=header.size.width)
    return header.size


def upright(image: Image, orientation: int) -> Image:
    """The picture as it is shown, however its pixels lie in the file."""
    from PIL.Image import Transpose

    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(Transpose(turn))


def decode(original: bytes, header: Header, side: int) -> Image:
    """The picture upright, in sRGB, as RGB, or RGBA where it is not opaque; a jpeg reduced towards `side` px."""
    container = read_container(original, header)
    with open_container(container, header) as image:
        image.draft(None, (side, side))  # only a jpeg listens
        image.load()
        decoded = eight_bit(in_srgb(upright(image, container.orientation)))
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
