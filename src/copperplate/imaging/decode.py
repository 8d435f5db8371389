"""An original as pixels: opened, turned upright, in sRGB, cut and scaled."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

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


def open_container(container: Container, header: Header) -> Image:
    """The picture as Pillow sees it, nothing decoded yet; it must be the one that its header told of."""
    from PIL import Image

    image = Image.open(BytesIO(container.body), formats=[header.name])
    if image.size != (header.size.width, header.size.height):
        raise bad_output(f"the picture says it is {header.size} and is {image.width}x{image.height}")
    return image


def upright_size(container: Container, header: Header) -> Size:
    """Its size as it is shown, whichever way the pixels lie in the file."""
    if container.orientation in _LIES_ON_ITS_SIDE:
        return Size(width=header.size.height, height=header.size.width)
    return header.size


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(Transpose(turn))


def decode(original: bytes, header: Header, size: Size) -> Image:
    """The picture upright, in sRGB, as RGB or RGBA; a large jpeg already reduced towards `size`."""
    container = read_container(original, header)
    with open_container(container, header) as image:
        side = 2 * max(size.width, size.height)
        image.draft(None, (side, side))  # only a jpeg listens
        image.load()
        return eight_bit(in_srgb(_upright(image, container.orientation)))


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
