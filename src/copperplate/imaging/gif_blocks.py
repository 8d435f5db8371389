"""A gif's first frame in a file of its own, shown where it stands on its canvas.

Pillow refuses a frame whose code ends before its pixels do: no further proof is needed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture
from copperplate.imaging.containers import Container
from copperplate.imaging.header import OverLimit
from copperplate.model import Size

if TYPE_CHECKING:
    from PIL.Image import Image

# A film of 40 seconds at 25 frames a second.
MAX_FRAMES: Final = 1_000
# Encoders write comments and one control for each frame.
MAX_BLOCKS: Final = 10_000
# Encoders fill each part up to 255 bytes; smaller ones cost a turn of a loop each.
MIN_PART_BYTES: Final = 64
_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_CONTROL: Final = 0xF9
_HEAD_BYTES: Final = 13
_DESCRIPTOR_BYTES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class GifParts:
    """What was found in a gif: the canvas, the box of its first frame in px, and what that frame is made of."""

    size: Size
    box: tuple[int, int, int, int]
    head: bytes
    frame: bytes
    transparent: int | None

    def body(self) -> bytes:
        """A gif of the first frame alone."""
        control = b""
        if self.transparent is not None:
            control = bytes((_EXTENSION, _CONTROL, 4, 1, 0, 0, self.transparent, 0))
        return b"".join((b"GIF89a", self.head[6:], control, self.frame, bytes((_END,))))


def gif_size(body: bytes) -> Size:
    """The size in px, of its canvas or of a first frame that is larger; raises `NoPicture` where it tells none."""
    return _first_frame(body).size


def read_gif(body: bytes) -> Container:
    """The first frame; raises `OverLimit` for too many frames, `NoPicture` for a damaged file."""
    parts = _first_frame(body)
    _check_rest(body)
    return Container(
        body=parts.body(), has_c2pa=False, orientation=1, prove=partial(_on_its_canvas, parts), is_lossless=True
    )


def _on_its_canvas(parts: GifParts, opened: Image) -> Image:
    """The frame as it is shown, nothing around it; raises `OSError` where it lacks pixels."""
    from PIL import Image

    opened.load()
    if parts.box == (0, 0, opened.width, opened.height):
        return opened
    canvas = Image.new("RGBA", opened.size)
    canvas.paste(opened.crop(parts.box).convert("RGBA"), parts.box)
    return canvas


def _first_frame(body: bytes) -> GifParts:
    try:
        return _read_first_frame(body)
    except (IndexError, struct.error) as error:
        raise NoPicture("the gif has no whole header") from error


def _read_first_frame(body: bytes) -> GifParts:
    width, height, flags = struct.unpack_from("<HHB", body, 6)
    place = _HEAD_BYTES + _table_bytes(flags)
    head, transparent = body[:place], None
    for _ in range(MAX_BLOCKS):
        if body[place] == _IMAGE:
            return _frame_at(body, place, head, Size(width=width, height=height), transparent)
        if body[place] != _EXTENSION:
            raise NoPicture("the gif has no frame")
        if body[place + 1] == _CONTROL and body[place + 3] & 1:
            transparent = body[place + 6]
        place = _behind_parts(body, place + 2)
    raise OverLimit(f"the gif has more than {MAX_BLOCKS} blocks")


def _frame_at(body: bytes, place: int, head: bytes, canvas: Size, transparent: int | None) -> GifParts:
    left, top, width, height, flags = struct.unpack_from("<HHHHB", body, place + 1)
    code = place + _DESCRIPTOR_BYTES + _table_bytes(flags)
    end = _behind_parts(body, code + 1)
    right, bottom = left + width, top + height
    return GifParts(
        size=Size(width=max(canvas.width, right), height=max(canvas.height, bottom)),
        box=(left, top, right, bottom),
        head=head,
        frame=body[place:end],
        transparent=transparent,
    )


def _check_rest(body: bytes) -> None:
    """Counts the frames to the end, or to where the file stops being one: only the first has to be whole."""
    place, frames = _HEAD_BYTES + _table_bytes(body[10]), 0
    for _ in range(MAX_BLOCKS):
        if place >= len(body) or body[place] not in {_EXTENSION, _IMAGE}:
            return
        try:
            if body[place] == _IMAGE:
                frames += 1
                place += _DESCRIPTOR_BYTES + _table_bytes(body[place + 9]) - 1
            place = _behind_parts(body, place + 2)
        except (IndexError, NoPicture):
            return
        if frames > MAX_FRAMES:
            raise OverLimit(f"the gif has more than {MAX_FRAMES} frames")
    raise OverLimit(f"the gif has more than {MAX_BLOCKS} blocks")


def _table_bytes(flags: int) -> int:
    """How many bytes of colours follow."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_parts(body: bytes, place: int) -> int:
    """The place behind the parts that begin at `place`, and the empty one that ends them."""
    start, turns = place, 0
    while length := body[place]:
        place += 1 + length
        turns += 1
        if turns > MAX_BLOCKS and turns * MIN_PART_BYTES > place - start:
            raise OverLimit("the gif is cut into too many parts")
    return place + 1
