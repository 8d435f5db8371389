"""Whether there is anything to see: a measure, since black but for one pixel is as blank as black."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

# A channel is flat if all but one in so many of its values are the same. Forty stars on a black megapixel are twice as
# many. No level of tolerance: wallpapers of two neighbouring tones are real, and encoders add no noise to one colour.
FLAT_ONE_IN: Final = 50_000
# A jpeg spreads one odd pixel over a block of 16 x 16, which is looked at in half of its size.
JPEG_BLOCK: Final = 64
_LARGE: Final = 1000 * JPEG_BLOCK


def is_blank(image: Image, *, is_jpeg: bool = False) -> bool:
    """Whether each channel of an RGB or RGBA picture is flat; what is transparent counts as black."""
    pixels = image.width * image.height
    spare = max(pixels // FLAT_ONE_IN, JPEG_BLOCK if is_jpeg and pixels >= _LARGE else 0)
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        return _is_flat(alpha.histogram(), spare) and _are_flat(_on_black(image, alpha), spare)
    return _are_flat(image, spare)


def _are_flat(image: Image, spare: int) -> bool:
    counts = image.histogram()
    return all(_is_flat(counts[start : start + 256], spare) for start in range(0, len(counts), 256))


def _is_flat(counts: list[int], spare: int) -> bool:
    return sum(counts) - max(counts) <= spare


def _on_black(image: Image, alpha: Image) -> Image:
    from PIL import Image as Pillow

    black = Pillow.new("RGB", image.size)
    black.paste(image, mask=alpha)
    return black
