"""ThumbHash: a picture's lowest frequencies in about 25 bytes, by the algorithm of https://evanw.github.io/thumbhash/.

Written anew, see docs/adr/0052. The cosine transform is separable: rows are summed up first, then columns. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from math import cos, floor, pi
from operator import mul
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A larger picture has no more to say at these frequencies.
MAX_SIDE: Final = 100
# Frequencies of lightness along the longer side of an opaque picture, and of one that is not.
_OPAQUE, _TRANSLUCENT = 7, 5
# Frequencies of a channel: with its lightness, of the two of colour, of alpha.
_COLOUR, _ALPHA = 3, 5
_FEWEST: Final = 3
# Below it a channel is flat, and what its frequencies have is the noise of the sum.
_FLAT: Final = 1e-9
# Decoders strengthen colours, which quantising makes pale.
_SATURATION: Final = 1.25
_LANDSCAPE: Final = 1 << 15
_HAS_ALPHA: Final = 1 << 23


class _Channel(NamedTuple):
    """Its mean, its other frequencies from 0 to 1 of `scale` around a half, and that scale."""

    mean: float
    frequencies: list[float]
    scale: float


def encode(width: int, height: int, rgba: bytes) -> bytes:
    """The ThumbHash of `width` x `height` pixels of four bytes, at most 100 a side; colours not multiplied by alpha."""
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"{width}x{height} is not within {MAX_SIDE}x{MAX_SIDE}")
    alpha = [value / 255 for value in rgba[3::4]]
    opacity = sum(alpha)
    has_alpha = opacity < width * height
    lightness, yellowness, redness = _opponent_colours(rgba, alpha, opacity, has_alpha=has_alpha)
    across, down = _frequencies(width, height, has_alpha=has_alpha)
    light = _encode_channel(lightness, width, max(_FEWEST, across), max(_FEWEST, down))
    yellow, red = (_encode_channel(each, width, _COLOUR, _COLOUR) for each in (yellowness, redness))
    header = (
        _rounded(63 * light.mean)
        | _rounded(31.5 + 31.5 * yellow.mean) << 6
        | _rounded(31.5 + 31.5 * red.mean) << 12
        | _rounded(31 * light.scale) << 18
        | (_HAS_ALPHA if has_alpha else 0)
    )
    shape = (
        (down if width > height else across)
        | _rounded(63 * yellow.scale) << 3
        | _rounded(63 * red.scale) << 9
        | (_LANDSCAPE if width > height else 0)
    )
    body = header.to_bytes(3, "little") + shape.to_bytes(2, "little")
    nibbles = [*light.frequencies, *yellow.frequencies, *red.frequencies]
    if has_alpha:
        clear = _encode_channel(alpha, width, _ALPHA, _ALPHA)
        body += bytes([_rounded(15 * clear.mean) | _rounded(15 * clear.scale) << 4])
        nibbles += clear.frequencies
    return body + _packed(nibbles)


def decode(thumbhash: bytes, width: int, height: int) -> bytes:
    """The picture of a ThumbHash as `width` x `height` pixels of four bytes, colours not multiplied by alpha.

    Raises `ValueError` for what is no ThumbHash.
    """
    if len(thumbhash) < _FEWEST + 2:
        raise ValueError("a ThumbHash has five bytes or more")
    header, shape = int.from_bytes(thumbhash[:3], "little"), int.from_bytes(thumbhash[3:5], "little")
    has_alpha = bool(header & _HAS_ALPHA)
    longer, shorter = _TRANSLUCENT if has_alpha else _OPAQUE, shape & 7
    across, down = (longer, shorter) if shape & _LANDSCAPE else (shorter, longer)
    start = 6 if has_alpha else 5
    nibbles = iter([value / 7.5 - 1 for byte in thumbhash[start:] for value in (byte & 15, byte >> 4)])

    def plane(mean: float, scale: float, across: int, down: int) -> list[float]:
        # The transform halves all frequencies but the mean.
        terms = [[2 * scale * next(nibbles) if x or y else mean for x in row] for y, row in _triangle(across, down)]
        return _plane(terms, width, height)

    try:
        light = plane((header & 63) / 63, (header >> 18 & 31) / 31, max(_FEWEST, across), max(_FEWEST, down))
        yellow = plane((header >> 6 & 63) / 31.5 - 1, (shape >> 3 & 63) / 63 * _SATURATION, _COLOUR, _COLOUR)
        red = plane((header >> 12 & 63) / 31.5 - 1, (shape >> 9 & 63) / 63 * _SATURATION, _COLOUR, _COLOUR)
        clear = plane((thumbhash[5] & 15) / 15, (thumbhash[5] >> 4) / 15, _ALPHA, _ALPHA) if has_alpha else None
    except (StopIteration, IndexError) as exc:
        raise ValueError("the ThumbHash is cut") from exc
    blues = [lightness - 2 / 3 * yellowness for lightness, yellowness in zip(light, yellow, strict=True)]
    reds = [(3 * each - blue + redness) / 2 for each, blue, redness in zip(light, blues, red, strict=True)]
    greens = [each - redness for each, redness in zip(reds, red, strict=True)]
    pixels = bytearray(b"\xff") * (4 * width * height)
    for channel, values in enumerate((reds, greens, blues, clear or ())):
        if values:
            pixels[channel::4] = bytes([max(0, min(255, int(255 * value))) for value in values])
    return bytes(pixels)


def _frequencies(width: int, height: int, *, has_alpha: bool) -> tuple[int, int]:
    """Those of lightness, across and down; the shorter side has fewer."""
    most, longer = _TRANSLUCENT if has_alpha else _OPAQUE, max(width, height)
    return max(1, _rounded(most * width / longer)), max(1, _rounded(most * height / longer))


def _opponent_colours(
    rgba: bytes, alpha: Sequence[float], opacity: float, *, has_alpha: bool
) -> tuple[list[float], list[float], list[float]]:
    """Lightness, yellow against blue, red against green; what is transparent has the mean colour of the rest."""
    channels: list[list[float]] = []
    for channel in range(3):
        values = [value / 255 for value in rgba[channel::4]]
        if has_alpha:
            seen = list(map(mul, values, alpha))
            mean = sum(seen) / opacity if opacity else 0.0
            values = [value + mean * (1 - clear) for value, clear in zip(seen, alpha, strict=True)]
        channels.append(values)
    reds, greens, blues = channels
    return (
        [(red + green + blue) / 3 for red, green, blue in zip(reds, greens, blues, strict=True)],
        [(red + green) / 2 - blue for red, green, blue in zip(reds, greens, blues, strict=True)],
        [red - green for red, green in zip(reds, greens, strict=True)],
    )


def _encode_channel(channel: Sequence[float], width: int, across: int, down: int) -> _Channel:
    height = len(channel) // width
    waves = _waves(across, width)
    rows = [channel[start : start + width] for start in range(0, len(channel), width)]
    # By frequency across: its strength in each row.
    strengths = [[sum(map(mul, row, wave)) for row in rows] for wave in waves]
    columns = _waves(down, height)
    terms = [
        sum(map(mul, strengths[x], columns[y])) / (width * height) for y, row in _triangle(across, down) for x in row
    ]
    mean, *frequencies = terms
    scale = max(map(abs, frequencies))
    return _Channel(mean, [0.5 + 0.5 * each / scale if scale > _FLAT else 0.0 for each in frequencies], scale)


def _triangle(across: int, down: int) -> Iterable[tuple[int, range]]:
    """The frequencies that are kept: fewer across for each one down."""
    return ((y, range(-(-across * (down - y) // down))) for y in range(down))


def _plane(terms: Sequence[Sequence[float]], width: int, height: int) -> list[float]:
    """The sum of all frequencies, row by row."""
    waves = list(zip(*_waves(len(terms[0]), width), strict=True))
    # By place across: the strength there of each frequency down.
    strengths = [[sum(map(mul, row, wave)) for row in terms] for wave in waves]
    columns = zip(*_waves(len(terms), height), strict=True)
    return [sum(map(mul, strength, column)) for column in columns for strength in strengths]


@lru_cache(maxsize=256)
def _waves(count: int, length: int) -> tuple[tuple[float, ...], ...]:
    """Cosines of the lowest frequencies, sampled in the middle of each pixel."""
    return tuple(tuple(cos(pi / length * each * (at + 0.5)) for at in range(length)) for each in range(count))


def _packed(fractions: Sequence[float]) -> bytes:
    """Four bits each, the lower half of a byte first."""
    nibbles = [_rounded(15 * each) for each in fractions]
    nibbles += [0] * (len(nibbles) % 2)
    return bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _rounded(value: float) -> int:
    """Halves up, as the algorithm has it."""
    return floor(value + 0.5)
