"""How many bytes a png's pixels unfold to, and whether they do. Pillow paints rows that are missing black."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture

if TYPE_CHECKING:
    from collections.abc import Sequence

# Unfolded at a time, and thrown away.
_PIECE_BYTES: Final = 256 * 1024
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: first column and row of each pass, and the steps to the next ones (PNG specification, 8.2).
_PASSES: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_rows(chunks: Sequence[bytes]) -> None:
    """Raises `NoPicture` unless the `IDAT` chunks among whole chunks unfold to every row of the picture."""
    missing = _expected_bytes(_header(chunks))
    unfolding = zlib.decompressobj()
    for chunk in chunks:
        packed = chunk[8:-4] if chunk[4:8] == b"IDAT" else b""
        while packed and missing > 0:
            try:
                missing -= len(unfolding.decompress(packed, _PIECE_BYTES))
            except zlib.error as error:
                raise NoPicture(f"the png's pixels do not unfold: {error}") from error
            packed = unfolding.unconsumed_tail
    while missing > 0 and (piece := unfolding.decompress(unfolding.unconsumed_tail, _PIECE_BYTES)):
        missing -= len(piece)
    if missing > 0:
        raise NoPicture("the png lacks rows")


def is_interlaced(chunks: Sequence[bytes]) -> bool:
    """Whether the rows stand in another order than they are shown in."""
    return _header(chunks)[12:13] != b"\0"


def _header(chunks: Sequence[bytes]) -> bytes:
    return next((chunk[8:-4] for chunk in chunks if chunk[4:8] == b"IHDR"), b"")


def _expected_bytes(header: bytes) -> int:
    """Each row has a byte for its filter, and ends with a whole byte."""
    try:
        width, height, depth, color_type, _, _, interlace = struct.unpack(">IIBBBBB", header)
        bits = depth * _SAMPLES[color_type]
    except (KeyError, struct.error) as error:
        raise NoPicture("the png's header cannot be read") from error
    sizes = [(width, height)]
    if interlace:
        sizes = [((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in _PASSES]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
