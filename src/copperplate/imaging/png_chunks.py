"""A png's chunks: what its pixels need of them, and whether it carries C2PA.

A reader may do without an ancillary chunk, so a broken one is no fault of the pixels. What the pixels are made of must
have its checksum, and nobody unfolds a comment.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final

from copperplate.errors import NoPicture
from copperplate.imaging.header import bad_output
from copperplate.imaging.orientation import read_orientation

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
# Ancillary chunks that change what is seen, with their length where it is always the same.
_SEEN: Final = {b"tRNS": None, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
_TRANSPARENT_BYTES: Final = {0: 2, 2: 6}  # grey, rgb; a palette has one for each entry
_GREY: Final = frozenset({0, 4})
_PALETTE: Final = 3
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
# Printers' profiles have up to 3 MB.
MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class PngParts:
    """What was found in a png."""

    kept: list[bytes] = field(default_factory=list)
    frames: int = 1
    has_c2pa: bool = False
    has_pixels: bool = False
    orientation: int = 1
    # What it says of its colours that Pillow does not tell: `cicp`, its code points, `is_grey`, and `icc_profile`, of
    # which Pillow takes no more than a megabyte.
    colours: dict[str, object] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The same picture in a file that holds what its pixels need and no more."""
        return b"".join((_SIGNATURE, *self.kept, _END))


def read_png(body: bytes) -> PngParts:
    """The parts of a png whose critical chunks are whole; raises `NoPicture` for others.

    `header.read_header` has bounded the number of chunks.
    """
    place, color_type = len(_SIGNATURE), body[25]
    parts = PngParts(colours={"is_grey": color_type in _GREY})
    while place < len(body):
        length, name = int.from_bytes(body[place : place + 4], "big"), body[place + 4 : place + 8]
        end = place + 12 + length
        is_sound = end <= len(body) and zlib.crc32(body[place + 4 : end - 4]) == int.from_bytes(
            body[end - 4 : end], "big"
        )
        if name == b"IEND":
            break
        if name in _CRITICAL and not is_sound:
            raise NoPicture(f"the png's {name.decode()} is damaged or cut")
        if is_sound:
            _take(parts, name, body[place:end], color_type)
        elif not parts.has_pixels and end > len(body):
            raise NoPicture("the png is cut before its pixels")
        place = end
    return parts


def _take(parts: PngParts, name: bytes, chunk: bytes, color_type: int) -> None:
    """A chunk whose checksum is right."""
    if name == b"acTL":
        parts.frames = int.from_bytes(chunk[8:12], "big")
    if name == b"eXIf":
        parts.orientation = read_orientation(chunk[8:-4])
    if name == b"cICP" and len(chunk) == 16:
        parts.colours["cicp"] = chunk[8:12]
    if name == b"iCCP" and (profile := profile_of(chunk[8:-4])) is not None:
        parts.colours.setdefault("icc_profile", profile)
    parts.has_c2pa = parts.has_c2pa or name == b"caBX"
    parts.has_pixels = parts.has_pixels or name == b"IDAT"
    if name in _CRITICAL or (name in _SEEN and _is_usable(name, chunk[8:-4], color_type)):
        parts.kept.append(chunk)
    elif not name[:1].islower():
        raise bad_output(f"the png has a chunk {name!r} that nobody can read")


def _is_usable(name: bytes, content: bytes, color_type: int) -> bool:
    """Whether decoders take it; what they stumble over is left out, as browsers do."""
    if name == b"tRNS":
        wanted = _TRANSPARENT_BYTES.get(color_type)
        return color_type == _PALETTE or len(content) == wanted
    return _SEEN[name] in {None, len(content)}


def profile_of(content: bytes) -> bytes | None:
    """The profile in an `iCCP` chunk; None where it does not unfold, or to too much."""
    _, separator, packed = content.partition(b"\0")
    if not separator or packed[:1] != b"\0":
        return None
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if unpacking.eof else None
