"""Reads XMP out of pictures by their containers' specifications, with nothing of what wrote it."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def packets(body: bytes) -> list[bytes]:
    """All XMP packets of a jpeg, png, webp or avif."""
    if body.startswith(b"\xff\xd8"):
        return list(_of_jpeg(body))
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return list(_of_png(body))
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return list(_of_webp(body))
    assert body[4:12] == b"ftypavif", body[:12]
    return list(_of_avif(body))


def label(body: bytes) -> dict[str, str]:
    """IPTC's properties in the one packet of a picture, by their names."""
    [packet] = packets(body)
    [described] = ET.fromstring(packet).iter(f"{RDF}Description")  # noqa: S314 - written a moment ago
    return {name.removeprefix(IPTC): value for name, value in described.attrib.items() if name.startswith(IPTC)}


def _of_jpeg(body: bytes) -> Iterator[bytes]:
    """XMP specification, part 3, 1.1.3: APP1 segments that begin with the namespace."""
    place, signature = 2, b"http://ns.adobe.com/xap/1.0/\0"
    while (marker := body[place + 1]) != 0xDA:
        assert body[place] == 0xFF
        (length,) = struct.unpack_from(">H", body, place + 2)
        content = body[place + 4 : place + 2 + length]
        if marker == 0xE1 and content.startswith(signature):
            yield content.removeprefix(signature)
        place += 2 + length


def _of_png(body: bytes) -> Iterator[bytes]:
    """An iTXt chunk with the keyword `XML:com.adobe.xmp`, not compressed, before the pixels or after."""
    place = 8
    while place < len(body):
        length, name = struct.unpack_from(">I4s", body, place)
        content = body[place + 8 : place + 8 + length]
        assert int.from_bytes(body[place + 8 + length : place + 12 + length], "big") == zlib.crc32(name + content)
        if name == b"iTXt" and content.startswith(b"XML:com.adobe.xmp\0"):
            assert content[18:22] == b"\0\0\0\0"  # not compressed; no language; no translated keyword
            yield content[22:]
        place += 12 + length


def _of_webp(body: bytes) -> Iterator[bytes]:
    """A chunk `XMP ` of the extended format, whose flag says that it is there."""
    place = 12
    assert body[12:16] != b"VP8X" or body[20] & 0x04 or b"XMP " not in body
    while place < len(body):
        name, length = struct.unpack_from("<4sI", body, place)
        if name == b"XMP ":
            assert body[12:16] == b"VP8X"
            yield body[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _of_avif(body: bytes) -> Iterator[bytes]:
    """ISO/IEC 14496-12: items of type `mime` with XMP's media type, at the places that `iloc` tells."""
    meta = dict(_boxes(body))[b"meta"][4:]
    inside = dict(_boxes(meta))
    places = dict(_item_places(inside[b"iloc"]))
    for name, entry in _boxes(inside[b"iinf"][6:]):
        assert name == b"infe"
        assert entry[0] in (2, 3)
        identity = 4 if entry[0] == 3 else 2
        item = int.from_bytes(entry[4 : 4 + identity], "big")
        kind = entry[6 + identity : 10 + identity]
        if kind == b"mime" and b"application/rdf+xml" in entry:
            yield b"".join(body[place : place + length] for place, length in places[item])


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        yield name, content[place + 8 : place + length]
        place += length


def _item_places(iloc: bytes) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    version = iloc[0]
    offset_size, length_size, base_size = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4
    index_size = iloc[5] & 15 if version else 0
    identity = 4 if version == 2 else 2
    place = 6 + identity
    numbers = iter(range(int.from_bytes(iloc[6:place], "big")))

    def read(size: int) -> int:
        nonlocal place
        place += size
        return int.from_bytes(iloc[place - size : place], "big")

    for _ in numbers:
        item = read(identity)
        method = read(2) if version else 0
        assert method == 0, "in the file itself"
        read(2)
        base = read(base_size)
        extents = []
        for _ in range(read(2)):
            read(index_size)
            offset = base + read(offset_size)
            extents.append((offset, read(length_size)))
        yield item, extents
