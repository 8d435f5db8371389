"""What stands in a picture's place until it has come: its ThumbHash and its dominant colour (docs/adr/0052)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.imaging import thumbhash
from copperplate.imaging.colours import eight_bit, in_srgb
from copperplate.imaging.containers import read_container
from copperplate.imaging.decode import open_container, upright
from copperplate.model import Placeholder, Size

if TYPE_CHECKING:
    from PIL.Image import Image

    from copperplate.imaging.header import Header

# In px along the longer side: as many as are drawn of a ThumbHash. More cost time and change nothing that is seen.
SIDE: Final = 32
# The colours of a picture are sorted into so many groups; the largest is the dominant one.
GROUPS: Final = 8
_ROUNDS: Final = 3
_SEEN: Final = 128
_AS_IT_IS: Final = ("RGB", "RGBA", "L", "CMYK")


def placeholder_of(image: Image, orientation: int) -> Placeholder:
    """The placeholder of a decoded picture: upright, in the colours that a browser shows."""
    from PIL.Image import Resampling

    pixels = image if image.mode in _AS_IT_IS and "transparency" not in image.info else eight_bit(image)
    shape = _box(Size(width=image.width, height=image.height))
    tiny = eight_bit(in_srgb(upright(pixels.resize(shape, Resampling.BOX, reducing_gap=2.0), orientation)))
    return Placeholder(
        thumbhash=thumbhash.encode(tiny.width, tiny.height, tiny.convert("RGBA").tobytes()),
        color=dominant_colour(tiny),
    )


def read_placeholder(body: bytes, header: Header) -> Placeholder:
    """The placeholder of an encoded picture, of which a jpeg is decoded no larger than it takes."""
    container = read_container(body, header)
    with open_container(container, header) as image:
        image.draft(None, (2 * SIDE, 2 * SIDE))
        image.load()
        return placeholder_of(image, container.orientation)


def draw(placeholder: Placeholder, canvas: Size) -> Image:
    """The tiny picture of a ThumbHash, in the shape of `canvas`, as RGB, or RGBA where it is not opaque.

    Raises `ValueError` where it is no ThumbHash.
    """
    from PIL import Image

    size = _box(canvas)
    drawn = Image.frombytes("RGBA", size, thumbhash.decode(placeholder.thumbhash, *size))
    return drawn if drawn.getchannel("A").getextrema() != (255, 255) else drawn.convert("RGB")


def dominant_colour(image: Image) -> str:
    """The mean of the largest of eight groups of like colours, as `#rrggbb`; what is hardly seen does not count."""
    from PIL.Image import Quantize

    grouped = _seen(image).quantize(GROUPS, Quantize.MEDIANCUT, kmeans=_ROUNDS)
    counts = grouped.histogram()
    largest = 3 * counts.index(max(counts))
    return f"#{bytes(grouped.getpalette() or ())[largest : largest + 3].hex()}"


def _seen(image: Image) -> Image:
    """The pixels of RGBA that are not rather transparent, in one row; all where there are none."""
    from PIL import Image as Pillow

    if image.mode == "RGB":
        return image
    pixels = image.tobytes()
    opaque = [at for at, alpha in enumerate(pixels[3::4]) if alpha >= _SEEN]
    if not opaque:
        return image.convert("RGB")
    return Pillow.frombytes("RGB", (len(opaque), 1), b"".join(pixels[4 * at : 4 * at + 3] for at in opaque))


def _box(shape: Size) -> tuple[int, int]:
    """The size of this shape whose longer side is `SIDE`."""
    longer = max(shape.width, shape.height)
    return max(1, round(SIDE * shape.width / longer)), max(1, round(SIDE * shape.height / longer))
