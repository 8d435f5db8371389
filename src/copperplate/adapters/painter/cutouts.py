"""A picture without its background: what has the border's colour and can be reached from the border."""

from __future__ import annotations

from functools import reduce
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps
from PIL.Image import Resampling

# What is reached is told on a smaller mask: it is flooded in Python, pixel by pixel.
MAX_FLOODED_SIDE_PX: Final = 400
# So many levels beyond the tolerance nothing is transparent any more: the soft edge.
SOFT_LEVELS: Final = 24
_REACHED: Final = 128
_OPAQUE: Final = 255


def cut_out(picture: Image.Image, *, tolerance: int) -> Image.Image:
    """The picture as RGBA. A background differs from the border's colour by at most `tolerance` in each channel.

    Where most of the border is transparent, the background is gone already and nothing changes.
    """
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, _OPAQUE)
    colours = picture.convert("RGB")
    colour = _border_colour(colours, alpha)
    if colour is not None:
        difference = _difference(colours, colour)
        alike = difference.point([_OPAQUE if level <= tolerance else 0 for level in range(256)])
        soft = difference.point([_ramp(level - tolerance) for level in range(256)])
        inside = ImageOps.invert(_reached_from_border(alike))
        alpha = ImageChops.darker(alpha, ImageChops.lighter(soft, inside))
    colours.putalpha(alpha)
    return colours


def _ramp(beyond: int) -> int:
    return min(_OPAQUE, max(0, beyond) * _OPAQUE // SOFT_LEVELS)


def _border_colour(colours: Image.Image, alpha: Image.Image) -> tuple[int, ...] | None:
    """The median of the border's opaque pixels by channel; None where fewer than half of them are."""
    width, height = colours.size
    edges = ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    counts = [0] * 768
    opaque = pixels = 0
    for box in edges:
        mask = alpha.crop(box).point([0] * 128 + [_OPAQUE] * 128)
        counts = [sum(pair) for pair in zip(counts, colours.crop(box).histogram(mask), strict=True)]
        opaque += mask.histogram()[_OPAQUE]
        pixels += mask.width * mask.height
    if 2 * opaque < pixels:
        return None
    return tuple(_median(counts[start : start + 256]) for start in (0, 256, 512))


def _median(counts: list[int]) -> int:
    half, seen = sum(counts) // 2, 0
    for level, count in enumerate(counts):
        seen += count
        if seen > half:
            return level
    return 0


def _difference(colours: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """How far each pixel is from a colour, in the channel where it is farthest."""
    # One channel at a time: each takes a quarter of the picture's memory.
    by_channel = (
        colours.getchannel(number).point([abs(level - value) for level in range(256)])
        for number, value in enumerate(colour)
    )
    return reduce(ImageChops.lighter, by_channel)


def _reached_from_border(alike: Image.Image) -> Image.Image:
    """Where one gets from the border over what is alike, and one cell more: the edge of the subject lies there."""
    factor = -(-max(alike.size) // MAX_FLOODED_SIDE_PX)
    cells = alike.reduce(factor).point([0] * 128 + [_OPAQUE] * 128)
    # A frame of what can be passed: one flood comes in from everywhere.
    framed = ImageOps.expand(cells, 1, _OPAQUE)
    ImageDraw.floodfill(framed, (0, 0), _REACHED)
    reached = framed.point([_OPAQUE if level == _REACHED else 0 for level in range(256)])
    near = ImageOps.crop(reached.filter(ImageFilter.MaxFilter(3)), 1)
    whole = near.resize((near.width * factor, near.height * factor), Resampling.NEAREST)
    return whole.crop((0, 0, *alike.size))
