"""What the painter does to pictures: one operation of Pillow each, and no model."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final, assert_never

from PIL import Image, ImageFilter
from PIL.Image import Resampling

from copperplate.adapters.painter.cutouts import cut_out
from copperplate.imaging.blankness import is_blank
from copperplate.imaging.colours import eight_bit
from copperplate.model import MAX_PICTURE_BYTES, Size
from copperplate.processing_models import SCALE, scaled
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMATS: Final = ("JPEG", "PNG", "WEBP")
# Pinned, as for what the painter draws.
_COMPRESS_LEVEL: Final = 4
# The blur that a picture is sharpened against, in px for each side of so many px.
_SIDE_A_RADIUS_PX: Final = 512


class NothingToSee(Exception):
    """There would be nothing to see in the result, or it would be too large to be kept."""


def process(operation: Operation, body: bytes, values: Mapping[str, str]) -> bytes:
    """The result as PNG. `values` are the canonical parameters by name. Raises `NothingToSee`."""
    with Image.open(BytesIO(body), formats=_FORMATS) as opened:
        opened.load()
        picture = eight_bit(opened)
    result = _processed(operation, picture, values)
    if is_blank(result):
        raise NothingToSee(_EMPTY[operation])
    target = BytesIO()
    result.save(target, "PNG", compress_level=_COMPRESS_LEVEL)
    if target.tell() > MAX_PICTURE_BYTES:
        raise NothingToSee(f"The result has more than {MAX_PICTURE_BYTES:,} bytes. Send a smaller picture.")
    return target.getvalue()


_EMPTY: Final[Mapping[Operation, str]] = {
    Operation.REMOVE_BACKGROUND: "Nothing is left without what has the border's colour: ask for less tolerance.",
    Operation.UPSCALE: "The picture is one flat colour.",
    Operation.FACE_DETAIL: "The picture is one flat colour.",
}


def _processed(operation: Operation, picture: Image.Image, values: Mapping[str, str]) -> Image.Image:
    match operation:
        case Operation.REMOVE_BACKGROUND:
            return cut_out(picture, tolerance=int(values["tolerance"]))
        case Operation.UPSCALE:
            return enlarge(picture, values[SCALE])
        case Operation.FACE_DETAIL:
            return sharpen_middle(picture, strength=float(values["strength"]))
        case _:
            assert_never(operation)


def enlarge(picture: Image.Image, scale: str) -> Image.Image:
    """The picture `scale` times as wide and high, interpolated by Lanczos."""
    size = scaled(Size(width=picture.width, height=picture.height), (f"{SCALE}={scale}",))
    return picture.resize((size.width, size.height), Resampling.LANCZOS)


def sharpen_middle(picture: Image.Image, *, strength: float) -> Image.Image:
    """The picture with an ellipse in its middle sharpened, less and less towards the edge of it."""
    radius = max(1.0, max(picture.size) / _SIDE_A_RADIUS_PX)
    colours = picture.convert("RGB")
    sharp = colours.filter(ImageFilter.UnsharpMask(radius=radius, percent=round(100 * strength), threshold=2))
    # It grows from 0 in the middle to 255 at the edge.
    far = Image.radial_gradient("L").resize(picture.size, Resampling.BILINEAR)
    sharpened = Image.composite(sharp, colours, far.point([min(255, 3 * (255 - value)) for value in range(256)]))
    if picture.mode == "RGBA":
        sharpened.putalpha(picture.getchannel("A"))
    return sharpened
