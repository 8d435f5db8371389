"""What a picture says of itself, read before anything is decoded. Pure, and cheap enough for the event loop.

A codec's work grows with pixels, but also with what costs the sender next to nothing: scans of a jpeg, chunks of a
png. All three are limited here, so that whatever is let through is decoded in bounded memory and time.
"""

from __future__ import annotations

import json
import string
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture, ProviderFailed
from copperplate.failure_classes import FailureClass
from copperplate.model import MAX_PICTURE_BYTES, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BODY_BYTES: Final = MAX_PICTURE_BYTES
MAX_PIXELS: Final = 4096 * 4096
# Encoders write about ten; each one more costs the decoder a walk over all pixels.
MAX_SCANS: Final = 100
# Encoders write a chunk per 8 KB or more; each costs Pillow a turn of a Python loop.
MAX_CHUNKS: Final = 10_000

# Pillow's name of each format that is accepted, and ours.
FORMATS: Final[Mapping[str, str]] = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}

# Markers of a jpeg without a length, and those that begin a frame and tell its size.
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
# So many readable letters in a row are no picture: the headers of all formats have others.
TEXT_BYTES: Final = 12
_READABLE: Final = frozenset(string.printable.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The sniffed format, as Pillow calls it, and the size in px as stored."""

    name: str
    size: Size


class OverLimit(ProviderFailed):
    """A picture of more bytes, pixels, parts or frames than are taken."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureClass.BAD_OUTPUT, message)


def read_header(body: bytes) -> Header:
    """What `body` says it is, whatever anyone claimed of it; raises `OverLimit`, `ProviderFailed`, or `NoPicture`."""
    name, read_size = _sniff(body)
    try:
        size = read_size(body)
    except (IndexError, ValueError, struct.error) as error:
        raise NoPicture(f"the {FORMATS[name]} has no whole header") from error
    if size.width * size.height > MAX_PIXELS:
        raise OverLimit(f"the picture says it is {size}, more than {MAX_PIXELS} pixels")
    if not size.width * size.height:
        raise bad_output(f"the picture says it is {size}")
    return Header(name=name, size=size)


def bad_output(message: str) -> ProviderFailed:
    """The failure that says: this is not a usable picture."""
    return ProviderFailed(FailureClass.BAD_OUTPUT, message)


def is_text(body: bytes | bytearray) -> bool:
    """Whether it is HTML, JSON or text, by its bytes alone: no picture begins with what can be read."""
    return body[:TEXT_BYTES].strip() != b"" and all(byte in _READABLE for byte in body[:TEXT_BYTES])


def _sniff(body: bytes) -> tuple[str, Callable[[bytes], Size]]:
    if len(body) > MAX_BODY_BYTES:
        raise OverLimit(f"the answer has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    if body.startswith(b"\xff\xd8\xff"):
        return "JPEG", _jpeg_size
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG", _png_size
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "WEBP", _webp_size
    message = f"it is no jpeg, png or webp: it begins with {_beginning(body)}"
    raise bad_output(message) if _is_of_another_format(body) and not is_text(body) else NoPicture(message)


def _beginning(body: bytes) -> str:
    """The first bytes as people read them: quoted text, or hexadecimal digits."""
    start = body[:16]
    return json.dumps(start.decode()) if start.isascii() and is_text(start) else start.hex(" ") or "nothing"


def _is_of_another_format(body: bytes) -> bool:
    """GIF, BMP, TIFF, AVIF or HEIC: a model that makes these goes on making them."""
    return body.startswith((b"GIF8", b"BM", b"II*\0", b"MM\0*")) or body[4:8] == b"ftyp"


def _jpeg_size(body: bytes) -> Size:
    # A byte of pixels that looks like a marker is stuffed, so these are scans (or a thumbnail's).
    if body.count(b"\xff\xda") > MAX_SCANS:
        raise OverLimit(f"the jpg has more than {MAX_SCANS} scans")
    place = 2
    for _ in range(MAX_CHUNKS):
        place = body.index(b"\xff", place)  # decoders skip what stands between two segments
        marker = body[place + 1]
        if marker == _SCAN:
            break
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", body, place + 5)
            return Size(width=width, height=height)
        is_bare = marker in _BARE or marker == 0xFF
        place += (1 if marker == 0xFF else 2) if is_bare else 2 + max(2, *struct.unpack_from(">H", body, place + 2))
    raise NoPicture("the jpg tells no size")


def _png_size(body: bytes) -> Size:
    place = 8
    for _ in range(MAX_CHUNKS):
        if place >= len(body) or body[place + 4 : place + 8] == b"IEND":
            break
        place += 12 + int.from_bytes(body[place : place + 4], "big")
    else:
        raise OverLimit(f"the png has more than {MAX_CHUNKS} chunks")
    if body[12:16] != b"IHDR":
        raise NoPicture("the png does not begin with a header")
    width, height = struct.unpack_from(">II", body, 16)
    return Size(width=width, height=height)


def _webp_size(body: bytes) -> Size:
    match body[12:16]:
        case b"VP8X":
            width, height = (1 + int.from_bytes(body[place : place + 3], "little") for place in (24, 27))
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", body, 21)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 26))
        case _:
            raise NoPicture("the webp does not begin with a picture")
    return Size(width=width, height=height)
