"""A picture's file, taken apart: the pixels' part of it, what else it tells, and the proof that it is whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from copperplate.imaging import jpeg_segments, webp_chunks, wholeness
from copperplate.imaging.header import FORMATS, OverLimit
from copperplate.imaging.png_chunks import read_png

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL.Image import Image

    from copperplate.imaging.header import Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """`body` holds the same pixels as the file, and what changes how they look, but no comments and no faults."""

    body: bytes
    has_c2pa: bool
    # 1 to 8, as EXIF counts.
    orientation: int
    # The decoded picture of an opened one; raises `NoPicture` unless all pixels came out of the file.
    prove: Callable[[Image], Image]
    # Whether its code keeps the value of every pixel.
    is_lossless: bool = False
    # What a png says of its colours that Pillow does not tell.
    colours: Mapping[str, object] = field(default_factory=dict)


def read_container(body: bytes, header: Header) -> Container:
    """The file that the header told of; raises `OverLimit` if it moves, `NoPicture` if it is cut."""
    if header.name == "JPEG":
        segments = jpeg_segments.read_segments(body)
        return Container(
            body=jpeg_segments.with_what_pixels_need(segments),
            has_c2pa=jpeg_segments.has_c2pa(segments),
            orientation=jpeg_segments.orientation(segments),
            prove=partial(wholeness.prove_jpeg, segments),
        )
    if header.name == "WEBP":
        chunks = webp_chunks.read_webp(body)
        return Container(
            body=webp_chunks.with_what_pixels_need(chunks),
            has_c2pa=webp_chunks.has_c2pa(chunks),
            orientation=webp_chunks.orientation(chunks),
            prove=partial(wholeness.prove_webp, chunks),
            is_lossless=webp_chunks.is_lossless(chunks),
        )
    parts = read_png(body)
    if parts.frames > 1:
        raise OverLimit(f"the {FORMATS[header.name]} holds more than one picture")
    return Container(
        body=parts.body,
        has_c2pa=parts.has_c2pa,
        orientation=parts.orientation,
        colours=parts.colours,
        prove=partial(wholeness.prove_png, parts.kept),
        is_lossless=True,
    )
