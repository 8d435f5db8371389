"""A jpeg's segments: what its pixels need of them, whether all scans are there, and whether it carries C2PA.

A comment, a wrong version or a missing end marker is no fault of the pixels. The decoders are given the tables, the
frame, the scans, the profile and the orientation, so that what they complain of is the pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture
from copperplate.imaging.header import MAX_CHUNKS, OverLimit
from copperplate.imaging.orientation import read_orientation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_SCAN: Final = 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1, 0xC9})
_EVERYBODYS: Final = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE: Final = frozenset({0xC2, 0xCA})
# Huffman and arithmetic tables, quantisation tables, the restart interval.
_TABLES: Final = frozenset({0xC4, 0xCC, 0xDB, 0xDD})
_JFIF: Final = 0xE0
_EXIF: Final = 0xE1
_PROFILE: Final = 0xE2
_JUMBF: Final = 0xEB
_ADOBE: Final = 0xEE
# A marker: not a stuffed byte of pixels, not a restart inside a scan, not filling.
_MARKER: Final = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]", re.DOTALL)
_COEFFICIENTS: Final = 64
_HUFFMAN_TABLES: Final = 0xC4
_HUFFMAN_SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
_AC: Final = 0x10
_END_OF_BLOCK: Final = 0
# So many zeros hold two whole blocks at least.
GAP_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker with its payload, and the coded pixels that follow it if it begins a scan."""

    marker: int
    payload: bytes
    pixels: bytes = b""


def read_segments(body: bytes) -> list[Segment]:
    """Every segment of the first picture in the file, in order; what stands between them is skipped."""
    segments = []
    for segment in _walk(body):
        segments.append(segment)
        if len(segments) > MAX_CHUNKS:
            raise OverLimit(f"the jpg has more than {MAX_CHUNKS} segments")
    return segments


def _walk(body: bytes) -> Iterator[Segment]:
    place = 2
    while found := _MARKER.search(body, place):
        marker, place = body[found.start() + 1], found.end()
        if marker in {0xD8, 0xD9}:  # the next picture, or the end
            return
        length = int.from_bytes(body[place : place + 2], "big")
        payload = body[place + 2 : place + length]
        place += max(2, length)
        pixels = b""
        if marker == _SCAN:
            following = _MARKER.search(body, place)
            end = following.start() if following else len(body)
            pixels, place = body[place:end], end
        yield Segment(marker, payload, pixels)


def with_what_pixels_need(segments: Sequence[Segment]) -> bytes:
    """The same picture in a file without comments, ended behind its last scan."""
    frame = next((segment for segment in segments if segment.marker in _FRAMES), None)
    parts = [_START]
    for segment in segments[: _last_scan(segments) + 1]:
        payload = _mended(segment, frame)
        if payload is not None:
            parts += (bytes((0xFF, segment.marker)), (len(payload) + 2).to_bytes(2, "big"), payload, segment.pixels)
    return b"".join((*parts, _END))


def without_padding(segments: Sequence[Segment]) -> list[Segment]:
    """The same segments; zeros at the end of the last scan, which some encoders leave there, are gone."""
    last = _last_scan(segments)
    return [
        Segment(segment.marker, segment.payload, segment.pixels.rstrip(b"\0")) if number == last else segment
        for number, segment in enumerate(segments)
    ]


def _last_scan(segments: Sequence[Segment]) -> int:
    """Its number; that of the last segment where there is no scan."""
    scans = [number for number, segment in enumerate(segments) if segment.marker == _SCAN]
    return scans[-1] if scans else len(segments) - 1


def _mended(segment: Segment, frame: Segment | None) -> bytes | None:
    """The payload as a strict decoder wants it; None where no decoder needs it."""
    marker, payload = segment.marker, segment.payload
    if marker in _FRAMES or marker in _TABLES:
        return payload
    if marker == _SCAN:  # some cameras leave the band empty, which means nothing outside of progressive files
        return payload[:-3] + b"\0\x3f\0" if frame and frame.marker in _SEQUENTIAL else payload
    if marker == _JFIF and payload.startswith(b"JFIF\0"):
        return b"JFIF\0\1\1\0\0\1\0\1\0\0"
    if marker == _ADOBE and payload.startswith(b"Adobe") and len(payload) >= 12:
        is_of_four = frame is not None and frame.payload[5:6] == b"\4"
        transform = payload[11] and 1 + is_of_four  # what is not none is the usual one
        return payload[:11] + bytes((transform,)) + payload[12:]
    return payload if marker == _PROFILE and payload.startswith(b"ICC_PROFILE\0") else None


def is_usual(segments: Sequence[Segment]) -> bool:
    """Whether every decoder reads its frame: sequential or progressive, with Huffman's code."""
    return any(segment.marker in _EVERYBODYS for segment in segments)


def check_scans(segments: Sequence[Segment]) -> None:
    """Every coefficient of every component is in some scan, to its last bit; raises `NoPicture` otherwise.

    A progressive file that ends between two scans is a blurred picture without a fault in its bytes.
    """
    frame = next((segment for segment in segments if segment.marker in _FRAMES), None)
    if frame is None or len(frame.payload) < 6 + 3 * frame.payload[5]:
        raise NoPicture("the jpg has no frame")
    components = {frame.payload[6 + 3 * number] for number in range(frame.payload[5])}
    missing = {component: set(range(_COEFFICIENTS)) for component in components}
    for segment in segments:
        if segment.marker == _SCAN:
            for component, band in _completed(segment.payload, is_progressive=frame.marker in _PROGRESSIVE):
                missing.get(component, set()).difference_update(band)
    if any(missing.values()):
        raise NoPicture("the jpg ends before its last scan")


def _completed(scan: bytes, *, is_progressive: bool) -> Iterator[tuple[int, range]]:
    """Each component of a scan, with the coefficients that have all their bits after it."""
    count = scan[0]
    first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
    band = range(first, last + 1) if is_progressive else range(_COEFFICIENTS)
    if not is_progressive or not bits & 15:
        for number in range(count):
            yield scan[1 + 2 * number], band


def check_gaps(segments: Sequence[Segment]) -> None:
    """Raises `NoPicture` for zeros in a sequential scan that no encoder wrote.

    They are valid code, but where the code of zeros is not the end of a block, they mean block after block of 63
    coefficients of -1: something was filled up with zeros, perhaps so that all blocks are there.
    """
    first_symbols: dict[int, int] = {}
    is_sequential = False
    for segment in segments:
        if segment.marker in _FRAMES:
            is_sequential = segment.marker in _HUFFMAN_SEQUENTIAL
        elif segment.marker == _HUFFMAN_TABLES:
            first_symbols.update(_first_symbols(segment.payload))
        elif segment.marker == _SCAN and is_sequential and bytes(GAP_BYTES) in segment.pixels:
            tables = segment.payload[2 : 1 + 2 * segment.payload[0] : 2]
            if any(first_symbols.get(_AC | table & 15, _END_OF_BLOCK) != _END_OF_BLOCK for table in tables):
                raise NoPicture("the jpg has a gap of zeros")


def _first_symbols(payload: bytes) -> Iterator[tuple[int, int]]:
    """Of each Huffman table its class and number, and the symbol whose code is zeros."""
    place = 0
    while place + 17 < len(payload):
        yield payload[place], payload[place + 17]
        place += 17 + sum(payload[place + 1 : place + 17])


def orientation(segments: Sequence[Segment]) -> int:
    """As its EXIF says; see `read_orientation`."""
    exif = next((s.payload for s in segments if s.marker == _EXIF and s.payload.startswith(b"Exif\0\0")), b"")
    return read_orientation(exif)


def has_c2pa(segments: Sequence[Segment]) -> bool:
    """Whether a JUMBF box (APP11) holds a C2PA manifest."""
    return any(
        segment.marker == _JUMBF and segment.payload.startswith(b"JP") and b"c2pa" in segment.payload[:128]
        for segment in segments
    )
