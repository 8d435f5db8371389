"""Parts of a picture (RFC 9110, 14): one range of bytes is answered alone, and several by the whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from copperplate.errors import UnsatisfiableRange

if TYPE_CHECKING:
    from collections.abc import Collection

RANGE: Final = b"range"
IF_RANGE: Final = b"if-range"
_UNIT: Final = b"bytes"
_ONE: Final = re.compile(rb"([0-9]*)-([0-9]*)")
# Of no picture; more digits would only take time to read.
_FAR: Final = 10**15


def part_of(headers: Collection[tuple[bytes, bytes]], size_bytes: int, etag: bytes) -> range | None:
    """The positions of the bytes that a GET of ASGI asks for; None for all of them.

    A header that is not one range of bytes is ignored, as it is where `If-Range` names another picture than `etag`,
    or a date: no answer of ours has one. An `etag` of b"" is none. Raises `UnsatisfiableRange`.
    """
    ranges = [value for name, value in headers if name == RANGE]
    if len(ranges) != 1 or (asked := _one_range(ranges[0])) is None:
        return None
    conditions = [value.strip() for name, value in headers if name == IF_RANGE]
    if conditions and (not etag or conditions != [etag]):
        return None
    first, last = asked
    if first is None:  # the last bytes, of which there may be fewer
        start, stop = max(0, size_bytes - (last or 0)), size_bytes
    else:
        start, stop = first, size_bytes if last is None else min(last + 1, size_bytes)
    if start >= stop:
        raise UnsatisfiableRange(size_bytes)
    return range(start, stop)


def content_range(part: range, size_bytes: int) -> bytes:
    """The value of `Content-Range` of this part."""
    return b"bytes %d-%d/%d" % (part.start, part.stop - 1, size_bytes)


def _one_range(value: bytes) -> tuple[int | None, int | None] | None:
    """First and last position, of which one may be open; None for anything but one valid range of bytes."""
    unit, _, told = value.partition(b"=")
    members = [member for each in told.split(b",") if (member := each.strip(b" \t"))]
    if unit.strip().lower() != _UNIT or len(members) != 1 or (one := _ONE.fullmatch(members[0])) is None:
        return None
    first, last = _position(one[1]), _position(one[2])
    if (first is None and last is None) or (first is not None and last is not None and first > last):
        return None
    return first, last


def _position(digits: bytes) -> int | None:
    digits = digits.lstrip(b"0") or digits[:1]
    return None if not digits else int(digits) if len(digits) <= 15 else _FAR
