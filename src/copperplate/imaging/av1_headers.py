"""The size of a still picture in AV1 code, by its sequence header. Pure; written as the AV1 specification 5.5 has it.

A decoder makes pictures of the size that the code says, whatever the file around it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from copperplate.errors import NoPicture
from copperplate.imaging.header import OverLimit
from copperplate.model import Size

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE: Final = 1
_FRAMES: Final = frozenset({3, 6})  # a frame's header alone, and with its tiles
_KEY_FRAME: Final = 0
_SELECTED_BY_FRAME: Final = 2
# Encoders write three or four units for a still picture.
MAX_UNITS: Final = 1_000
# So much of a header is read.
_HEADER_BYTES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sequence:
    """Of a sequence header: the largest size, and what is needed to read the header of its frame."""

    size: Size
    is_reduced: bool
    screen_content: int = _SELECTED_BY_FRAME
    whole_steps: int = _SELECTED_BY_FRAME


class _Bits:
    """Reads numbers, the highest bit first. Raises `IndexError` at the end."""

    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def read(self, count: int = 1) -> int:
        """The next `count` bits."""
        self._left -= count
        if self._left < 0:
            raise IndexError
        return self._value >> self._left & ((1 << count) - 1)


def still_size(code: bytes) -> Size:
    """The size in px of the one frame in `code`; raises `NoPicture` for none, `OverLimit` for more than one."""
    sequence, frames = None, 0
    for unit, content in _units(code):
        if unit == _SEQUENCE:
            found = _read_sequence(_Bits(content))
            if sequence is not None and found != sequence:
                raise NoPicture("the avif changes its size")
            sequence = found
        elif unit in _FRAMES:
            frames += 1
            if sequence is None or not _has_size_of(sequence, _Bits(content)):
                raise NoPicture("the avif has a frame of another size than its header says")
    if sequence is None or not frames:
        raise NoPicture("the avif has no frame")
    if frames > 1:
        raise OverLimit("the avif holds more than one picture")
    return sequence.size


def _units(code: bytes) -> Iterator[tuple[int, bytes]]:
    """The type of every unit, and the beginning of its content."""
    place = 0
    for _ in range(MAX_UNITS):
        if place >= len(code):
            return
        head = code[place]
        place += 2 if head & 4 else 1
        length, place = _length(code, place) if head & 2 else (len(code) - place, place)
        if place + length > len(code):
            raise NoPicture("the avif is cut")
        yield head >> 3 & 15, code[place : place + min(length, _HEADER_BYTES)]
        place += length
    raise OverLimit(f"the avif has more than {MAX_UNITS} units")


def _length(code: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the place behind it."""
    value = 0
    for number in range(8):
        byte = code[place + number]
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, place + number + 1
    raise NoPicture("the avif has a length without end")


def _read_sequence(bits: _Bits) -> _Sequence:
    bits.read(4)  # profile, still picture
    is_reduced = bool(bits.read())
    if is_reduced:
        bits.read(5)
    else:
        _skip_levels(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    size = Size(width=bits.read(width_bits) + 1, height=bits.read(height_bits) + 1)
    if not is_reduced and bits.read():
        raise NoPicture("the avif numbers its frames, as films do")
    if is_reduced:
        return _Sequence(size=size, is_reduced=True)
    screen_content, whole_steps = _tools(bits)
    return _Sequence(size=size, is_reduced=False, screen_content=screen_content, whole_steps=whole_steps)


def _skip_levels(bits: _Bits) -> None:
    if bits.read():
        raise NoPicture("the avif has the timing of a film")
    has_delay = bits.read()
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read()
        if has_delay and bits.read():
            bits.read(4)


def _tools(bits: _Bits) -> tuple[int, int]:
    """Whether those for screen content, and whole steps, are used: 0, 1, or as each frame selects."""
    bits.read(3 + 4)  # tools within a frame, and between frames
    if bits.read():
        bits.read(2)
    screen_content = _SELECTED_BY_FRAME if bits.read() else bits.read()
    if not screen_content or bits.read():
        return screen_content, _SELECTED_BY_FRAME
    return screen_content, bits.read()


def _has_size_of(sequence: _Sequence, bits: _Bits) -> bool:
    """Whether a frame is shown, and does not state a size of its own."""
    if sequence.is_reduced:
        return True
    is_shown_again, frame_type, is_shown = bits.read(), bits.read(2), bits.read()
    if is_shown_again or frame_type != _KEY_FRAME or not is_shown:
        return False
    bits.read()
    uses_screen_content = bits.read() if sequence.screen_content == _SELECTED_BY_FRAME else sequence.screen_content
    if uses_screen_content and sequence.whole_steps == _SELECTED_BY_FRAME:
        bits.read()
    return not bits.read()
