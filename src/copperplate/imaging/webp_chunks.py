"""A webp's chunks: what its pixels need of them, where its coded pixels end, and whether it carries C2PA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture
from copperplate.imaging.header import MAX_CHUNKS, OverLimit
from copperplate.imaging.orientation import read_orientation

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIXELS: Final = frozenset({b"VP8 ", b"VP8L"})
CODED: Final = _PIXELS | {b"ALPH"}
_SEEN: Final = CODED | {b"VP8X", b"ICCP"}
_ANIMATED: Final = frozenset({b"ANIM", b"ANMF"})
_DROPPED_FLAGS: Final = 0x0C  # XMP and EXIF
_START: Final = 12


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a RIFF file; `content` is without its padding."""

    name: bytes
    content: bytes


def read_webp(body: bytes) -> list[Chunk]:
    """The chunks of a still picture, the first of each name; raises `ProviderFailed`, `NoPicture` if one is cut."""
    chunks: dict[bytes, Chunk] = {}
    for number, (chunk, is_whole) in enumerate(_walk(body), 1):
        if number > MAX_CHUNKS:
            raise OverLimit(f"the webp has more than {MAX_CHUNKS} chunks")
        if chunk.name in _ANIMATED:
            raise OverLimit("the webp holds more than one picture")
        if chunk.name in chunks or (chunk.name in CODED and not _PIXELS.isdisjoint(chunks)):
            continue  # decoders stop at the first pixels: alpha behind them is none of theirs
        if not is_whole and chunk.name in _SEEN:
            raise NoPicture("the webp is cut")
        chunks[chunk.name] = chunk
    return list(chunks.values())


def _walk(body: bytes) -> Iterator[tuple[Chunk, bool]]:
    """The chunks that begin within the length that the file states, each with whether all of it is there."""
    stated = int.from_bytes(body[4:8], "little")
    # A length without room for pixels was never filled in, as by encoders that write to a pipe.
    end = min(8 + stated, len(body)) if stated > _START else len(body)
    place = _START
    while place + 8 <= end:
        length = int.from_bytes(body[place + 4 : place + 8], "little")
        content = body[place + 8 : place + 8 + length]
        yield Chunk(body[place : place + 4], content), len(content) == length
        place += 8 + length + length % 2


def with_what_pixels_need(chunks: list[Chunk]) -> bytes:
    """The same picture in a file that holds what its pixels need and no more."""
    parts: list[bytes] = []
    for chunk in chunks:
        if chunk.name in _SEEN:
            content = chunk.content
            if chunk.name == b"VP8X":
                content = bytes((content[0] & ~_DROPPED_FLAGS, *content[1:]))
            parts += (chunk.name, len(content).to_bytes(4, "little"), content, b"\0" * (len(content) % 2))
    length = len(b"WEBP") + sum(map(len, parts))
    return b"".join((b"RIFF", length.to_bytes(4, "little"), b"WEBP", *parts))


def shortened(chunks: list[Chunk], number: int, length: int) -> list[Chunk]:
    """The same chunks, of one of them only so many bytes."""
    cut = Chunk(chunks[number].name, chunks[number].content[:length])
    return [*chunks[:number], cut, *chunks[number + 1 :]]


def orientation(chunks: list[Chunk]) -> int:
    """As its EXIF says; see `read_orientation`."""
    return read_orientation(next((chunk.content for chunk in chunks if chunk.name == b"EXIF"), b""))


def has_c2pa(chunks: list[Chunk]) -> bool:
    """Whether a chunk holds a C2PA manifest."""
    return any(chunk.name == b"C2PA" for chunk in chunks)


def is_lossless(chunks: list[Chunk]) -> bool:
    """Whether its code keeps the value of every pixel."""
    return any(chunk.name == b"VP8L" for chunk in chunks)
