"""ICC profiles of our own, for what a png says of its colours in numbers. Pure; written as ICC.1:2010 has it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Matrix = tuple[tuple[float, ...], ...]
XY = tuple[float, float]

# Curves as parametric curves (type 3): y = (a x + b)^g from d on, c x below.
SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
WHITE_D65: Final = (0.3127, 0.3290)
SRGB_PRIMARIES: Final = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3_PRIMARIES: Final = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
BT2020_PRIMARIES: Final = ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046))

_D50: Final = (0.9642, 1.0, 0.8249)
_BRADFORD: Final[Matrix] = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


def matrix_profile(primaries: Sequence[XY], white: XY, curve: Sequence[float]) -> bytes | None:
    """A profile of RGB colours with these chromaticities and this curve; None where they span no colours.

    `curve` is one exponent, or the five parameters of a curve with a straight foot.
    """
    try:
        columns = _to_d50(primaries, white)
    except ZeroDivisionError:
        return None
    if not all(abs(value) < 4 for row in columns for value in row):
        return None
    curve_tag = b"para" + bytes(4) + struct.pack(">HH", 3 if len(curve) > 1 else 0, 0) + b"".join(map(_fixed, curve))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 4) + b"png\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(_D50),
        **{
            name: _xyz(column)
            for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), zip(*columns, strict=True), strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve_tag),
    }
    return _assembled(tags)


def _assembled(tags: dict[bytes, bytes]) -> bytes:
    table, content = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    body = struct.pack(">I", len(tags)) + table + content
    head = struct.pack(">I4xI", 128 + len(body), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + b"".join(map(_fixed, _D50)) + bytes(48) + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _to_d50(primaries: Sequence[XY], white: XY) -> Matrix:
    """The matrix from linear RGB to XYZ, its white adapted to D50 as Bradford has it."""
    columns = [(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]
    matrix: Matrix = tuple(zip(*columns, strict=True))
    white_xyz = (white[0] / white[1], 1.0, (1 - white[0] - white[1]) / white[1])
    strengths = _apply(_inverse(matrix), white_xyz)
    scaled: Matrix = tuple(tuple(value * by for value, by in zip(row, strengths, strict=True)) for row in matrix)
    cones, wanted = _apply(_BRADFORD, white_xyz), _apply(_BRADFORD, _D50)
    gains = [to / by for by, to in zip(cones, wanted, strict=True)]
    adapted: Matrix = tuple(tuple(value * gain for value in row) for row, gain in zip(_BRADFORD, gains, strict=True))
    return _product(_inverse(_BRADFORD), _product(adapted, scaled))


def _apply(matrix: Matrix, vector: Sequence[float]) -> tuple[float, ...]:
    return tuple(sum(one * other for one, other in zip(row, vector, strict=True)) for row in matrix)


def _product(left: Matrix, right: Matrix) -> Matrix:
    return tuple(zip(*(_apply(left, column) for column in zip(*right, strict=True)), strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return tuple(tuple(value / determinant for value in row) for row in cofactors)
