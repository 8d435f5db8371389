"""An avif's boxes: which size it is shown in, and which sizes its code makes a decoder work in. Pure (ISO 14496-12).

What the boxes say and what the code says are two things: the code is read too, so that a picture of a few pixels does
not unfold to one of 268 million.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture
from copperplate.imaging.av1_headers import still_size
from copperplate.imaging.header import OverLimit
from copperplate.model import Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Grids of a large picture have some dozens of items, each with a handful of boxes.
MAX_BOXES: Final = 10_000
MAX_ITEMS: Final = 512
# An entry of the list of items, and its type behind its number.
_METADATA: Final = re.compile(rb"(infe[\x02\x03].{3}(?:.{2}|.{4}).{2})(?:Exif|mime)", re.DOTALL)
# The picture, its alpha, and a small one or a map of brightness beside.
CODED_PER_SHOWN: Final = 3
_PICTURE_AND_ALPHA: Final = 2
_VERSION_AND_FLAGS: Final = 4
_SRGB_CURVE: Final = 13
# Curves that mean sRGB's in a picture: those of film and television, and none.
_LIKE_SRGB: Final = frozenset({1, 2, 6, 14, 15})


@dataclass(frozen=True, slots=True, kw_only=True)
class AvifParts:
    """What was found in an avif: the size of the main picture as stored, and its colours as a png's `cicp` has them.

    `is_grid`: more is in AV1 code than a picture and its alpha.
    """

    size: Size
    is_grid: bool
    colours: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Box:
    name: bytes
    content: bytes


class _Reader:
    """Reads numbers; raises `struct.error` at the end."""

    def __init__(self, content: bytes, place: int = 0) -> None:
        self._content = content
        self._place = place

    def number(self, size_bytes: int) -> int:
        """The next number of so many bytes."""
        found = self._content[self._place : self._place + size_bytes]
        if len(found) < size_bytes:
            raise struct.error("cut")
        self._place += size_bytes
        return int.from_bytes(found, "big")


def read_avif(body: bytes) -> AvifParts:
    """The parts of a still avif; raises `NoPicture` for what is cut or lies, `OverLimit` for films and much code."""
    try:
        return _read(body)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise NoPicture("the avif has no whole header") from error


def without_metadata(body: bytes) -> bytes:
    """The same file, in which nothing is EXIF or XMP any more: a reader of pictures stumbles over neither."""
    boxes, place = body.find(b"meta"), body.find(b"mdat")
    end = place if place > boxes else len(body)
    return body[:boxes] + _METADATA.sub(rb"\1free", body[boxes:end]) + body[end:]


def _read(body: bytes) -> AvifParts:
    boxes = list(_walk(body, 0, len(body), names=frozenset({b"ftyp", b"meta", b"moov"})))
    if any(box.name == b"moov" for box in boxes) or boxes[0].content[:4] == b"avis":
        raise OverLimit("the avif holds more than one picture")
    [meta] = [box for box in boxes if box.name == b"meta"]
    parts = {box.name: box.content for box in _walk(meta.content, _VERSION_AND_FLAGS, len(meta.content))}
    main = _main_item(parts[b"pitm"])
    properties = {box.name: box.content for box in _walk(parts[b"iprp"], 0, len(parts[b"iprp"]))}
    listed = list(_walk(properties[b"ipco"], 0, len(properties[b"ipco"])))
    of_main = [listed[number - 1] for number in _properties_of(main, properties[b"ipma"]) if number]
    [shown] = [box.content for box in of_main if box.name == b"ispe"]
    size = Size(width=int.from_bytes(shown[4:8], "big"), height=int.from_bytes(shown[8:12], "big"))
    coded = _coded_items(parts[b"iinf"])
    sizes = dict(_coded_sizes(body, parts, coded))
    _check_code(sizes, size)
    if sizes.get(main, size) != size:  # a decoder would scale it
        raise NoPicture(f"the avif says it is {size}, and its code is {sizes[main]}")
    return AvifParts(size=size, is_grid=len(coded) > _PICTURE_AND_ALPHA, colours=_colours(of_main))


def _coded_sizes(body: bytes, parts: Mapping[bytes, bytes], coded: set[int]) -> Iterator[tuple[int, Size]]:
    """The number of each item in AV1 code, and the size that its code says."""
    for item, is_inside, places in _locations(parts[b"iloc"]):
        if item in coded:
            yield item, still_size(_joined(parts[b"idat"] if is_inside else body, places))


def _check_code(sizes: Mapping[int, Size], shown: Size) -> None:
    """Raises `OverLimit` where the code makes more pixels than the picture, its alpha and a small one have."""
    if not sizes:
        raise NoPicture("the avif has no picture in AV1 code")
    pixels = sum(size.width * size.height for size in sizes.values())
    # A grid's tiles may reach over its edges, a row and a column of them.
    if pixels > CODED_PER_SHOWN * max(shown.width * shown.height, 512 * 512):
        raise OverLimit(f"the avif says it is {shown}, and its code is of {pixels} pixels")


def _joined(within: bytes, places: list[tuple[int, int]]) -> bytes:
    if any(not length or start + length > len(within) for start, length in places):
        raise NoPicture("the avif is cut")
    if sum(length for _, length in places) > len(within):
        raise NoPicture("the avif uses its bytes twice")
    return b"".join(within[start : start + length] for start, length in places)


def _walk(content: bytes, place: int, end: int, names: frozenset[bytes] | None = None) -> Iterator[_Box]:
    """The boxes of those names, or all; what follows the last whole one is skipped."""
    for _ in range(MAX_BOXES):
        if place + 8 > end:
            return
        (length,), name, head = struct.unpack_from(">I", content, place), content[place + 4 : place + 8], 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", content, place + 8), 16
        length = length or end - place
        if length < head:
            raise NoPicture("the avif has a box without length")
        if names is None or name in names:
            if place + length > end:
                raise NoPicture("the avif is cut")
            yield _Box(name, content[place + head : place + length])
        place += length
    raise OverLimit(f"the avif has more than {MAX_BOXES} boxes")


def _main_item(pitm: bytes) -> int:
    return _Reader(pitm, _VERSION_AND_FLAGS).number(4 if pitm[0] else 2)


def _coded_items(iinf: bytes) -> set[int]:
    """The numbers of the items in AV1 code."""
    found = set()
    for box in _walk(iinf, _VERSION_AND_FLAGS + (4 if iinf[0] else 2), len(iinf)):
        if box.name == b"infe" and box.content[0] >= 2:
            reader = _Reader(box.content, _VERSION_AND_FLAGS)
            item = reader.number(4 if box.content[0] > 2 else 2)
            reader.number(2)
            if reader.number(4) == int.from_bytes(b"av01", "big"):
                found.add(item)
    return found


def _locations(iloc: bytes) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Of each item its number, whether it lies within `idat`, and the start and length of its parts."""
    version, reader = iloc[0], _Reader(iloc, _VERSION_AND_FLAGS)
    sizes = reader.number(2)
    start_bytes, length_bytes, base_bytes, index_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    for number in range(reader.number(4 if version > 1 else 2)):
        if number >= MAX_ITEMS:
            raise OverLimit(f"the avif has more than {MAX_ITEMS} items")
        item = reader.number(4 if version > 1 else 2)
        method = reader.number(2) & 15 if version else 0
        if method > 1 or reader.number(2):
            raise NoPicture("the avif keeps its picture elsewhere")
        base, places = reader.number(base_bytes), []
        for _ in range(reader.number(2)):
            reader.number(index_bytes if version else 0)
            start = base + reader.number(start_bytes)
            places.append((start, reader.number(length_bytes)))
        yield item, method == 1, places


def _properties_of(item: int, ipma: bytes) -> list[int]:
    """The numbers of its properties, counted from 1."""
    wide, reader = ipma[3] & 1, _Reader(ipma, _VERSION_AND_FLAGS)
    for _ in range(reader.number(4)):
        found = reader.number(4 if ipma[0] else 2)
        numbers = [reader.number(2) & 0x7FFF if wide else reader.number(1) & 0x7F for _ in range(reader.number(1))]
        if found == item:
            return numbers
    raise NoPicture("the avif says nothing of its picture")


def _colours(boxes: list[_Box]) -> Mapping[str, object]:
    for box in boxes:
        if box.name == b"colr" and box.content[:4] == b"nclx":
            primaries, curve = struct.unpack_from(">HH", box.content, 4)
            if primaries != 1 and primaries < 256 and curve < 256:  # sRGB's need no conversion
                # The decoder has made RGB of its full range.
                return {"cicp": bytes((primaries, _SRGB_CURVE if curve in _LIKE_SRGB else curve, 0, 1))}
    return {}
