"""An original as pixels: opened, turned upright, in sRGB, cut and scaled."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from copperplate.imaging.colours import eight_bit, in_srgb
from copperplate.imaging.header import FORMATS, Header, bad_output
from copperplate.model import Size

if TYPE_CHECKING:
    from PIL.Image import Image

# Characters of a png's comments, which may be a thousandth of that when compressed.
MAX_TEXT_CHARS: Final = 4 * 1024 * 1024

_ORIENTATION: Final = 0x0112  # EXIF tag
_LIES_ON_ITS_SIDE: Final = range(5, 9)  # values of it that swap width and height


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


def decode(original: bytes, header: Header, size: Size) -> Image:
    """The picture upright, in sRGB, as RGB or RGBA; a large jpeg already reduced towards `size`."""
    from PIL import ImageOps

    with open_picture(original, header) as image:
        side = 2 * max(size.width, size.height)
        image.draft(None, (side, side))  # only a jpeg listens
        return eight_bit(in_srgb(ImageOps.exif_transpose(image)))


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
