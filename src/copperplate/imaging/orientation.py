"""Which way up a picture is shown: one number of its EXIF, read without the rest, which may be rubbish."""

from __future__ import annotations

import struct
from typing import Final

_TAG: Final = 0x0112
_UPRIGHT: Final = 1
_ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}


def read_orientation(exif: bytes) -> int:
    """1 to 8, as EXIF counts; 1, upright, where it says nothing that can be read."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = _ORDERS.get(exif[:4])
    if order is None:
        return _UPRIGHT
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for number in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * number)
            if tag == _TAG:
                return value if 1 <= value <= 8 else _UPRIGHT
    except struct.error:
        return _UPRIGHT
    return _UPRIGHT
