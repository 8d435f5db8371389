"""Display parameters: which rendition of a picture a caller wants. They enter no generation's key, so none costs money.

Sizes and qualities go up to the next rung of a ladder: however many values callers send, few renditions exist.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from copperplate.errors import InvalidDisplay
from copperplate.model import PictureFormat, Rendition, Size

if TYPE_CHECKING:
    from collections.abc import Mapping

# In px. Between two rungs a browser scales a picture without a visible loss.
WIDTHS: Final = (16, 32, 48, 64, 96, 128, 256, 384, 640, 750, 828, 1080, 1200, 1920, 2048)
QUALITIES: Final = (40, 60, 75, 85, 95)
DEFAULT_QUALITY: Final = 85
MAX_QUALITY: Final = 100
MAX_DISPLAY_SIDE_PX: Final = 99_999
FITS: Final = ("cover", "contain")
DISPLAY_NAMES: Final = ("w", "h", "fit", "q", "thumb")
# Asks for the picture that stands in a picture's place until that has come.
PLACEHOLDER_NAME: Final = "placeholder"

_SHOWN: Final = 20  # characters of a value that a message repeats
_WHOLE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """The rendition wanted, and the names of the display parameters that made no difference."""

    rendition: Rendition
    ignored: tuple[str, ...] = ()


def parse_display(values: Mapping[str, str], canvas: Size, picture_format: PictureFormat) -> Display:
    """The rendition of a picture of this canvas that decoded `values` ask for, by the names of `DISPLAY_NAMES`.

    Raises `InvalidDisplay` for a value of a wrong form, for `h` without `w`, and for `thumb` beside either.
    """
    box = _box(values)
    fit = values.get("fit", "cover")
    if fit not in FITS:
        raise InvalidDisplay(
            f"fit is {_shown(fit)}. It may be cover (the middle is cut out) or contain (the whole picture is seen)."
        )
    quality: int | None = _quality(values)
    ignored = []
    if "fit" in values and (box is None or box.height is None):
        ignored.append("fit")
    if picture_format is PictureFormat.PNG:
        quality = None
        ignored += ["q"] if "q" in values else []
    size = None if box is None else _output_size(box, canvas, is_contained=fit == "contain")
    return Display(
        rendition=Rendition(format=picture_format, quality=quality, size=size),
        ignored=tuple(name for name in values if name in ignored),
    )


def is_placeholder(values: Mapping[str, str]) -> bool:
    """Whether decoded `values` ask for the placeholder of a picture.

    Raises `InvalidDisplay` where it has a value, and where it stands beside parameters of `DISPLAY_NAMES`.
    """
    if PLACEHOLDER_NAME not in values:
        return False
    if (value := values[PLACEHOLDER_NAME]) not in ("", "1"):
        raise InvalidDisplay(f"placeholder is {_shown(value)}. It may be 1, or stand without a value: ?placeholder")
    if beside := [name for name in values if name in DISPLAY_NAMES]:
        given = ", ".join(f"{name} is {_shown(values[name])}" for name in beside)
        raise InvalidDisplay(f"{given}, beside placeholder, which has one size and one quality. Leave either out.")
    return True


def default_rendition(picture_format: PictureFormat) -> Rendition:
    """The rendition that is served where nobody asks for more than a format: the canvas, at quality 85."""
    quality = None if picture_format is PictureFormat.PNG else DEFAULT_QUALITY
    return Rendition(format=picture_format, quality=quality)


def rungs_of(values: Mapping[str, str]) -> dict[str, int]:
    """The rung that each valid parameter goes to; `h` and `fit` have none."""
    return {
        name: quality_rung(int(value)) if name == "q" else width_rung(int(value))
        for name, value in values.items()
        if name in ("w", "thumb", "q")
    }


def width_rung(width: int) -> int:
    """The next rung at or above a width in px; the highest one above it."""
    return WIDTHS[min(bisect_left(WIDTHS, width), len(WIDTHS) - 1)]


def quality_rung(quality: int) -> int:
    """The next rung at or above a quality; the highest one above it."""
    return QUALITIES[min(bisect_left(QUALITIES, quality), len(QUALITIES) - 1)]


@dataclass(frozen=True, slots=True)
class _Box:
    """The box asked for, in px; a height of None follows the canvas."""

    width: int
    height: int | None


def _box(values: Mapping[str, str]) -> _Box | None:
    if "thumb" in values:
        if "w" in values or "h" in values:
            given = ", ".join(f"{name} is {_shown(values[name])}" for name in ("thumb", "w", "h") if name in values)
            raise InvalidDisplay(f"{given}. thumb is w and h in one: give thumb alone, or w and h.")
        side = _side("thumb", values["thumb"])
        return _Box(side, side)
    if "w" in values:
        return _Box(_side("w", values["w"]), _side("h", values["h"]) if "h" in values else None)
    if "h" in values:
        raise InvalidDisplay(
            f"h is {_shown(values['h'])}, and there is no w. Give both, or w alone: the height follows."
        )
    return None


def _side(name: str, value: str) -> int:
    if _WHOLE_NUMBER.fullmatch(value) is None:
        raise _not_a_number(name, value, f"of pixels from 1 to {MAX_DISPLAY_SIDE_PX}")
    return int(value)


def _quality(values: Mapping[str, str]) -> int:
    if "q" not in values:
        return DEFAULT_QUALITY
    value = values["q"]
    if _WHOLE_NUMBER.fullmatch(value) is None or int(value) > MAX_QUALITY:
        raise _not_a_number("q", value, f"from 1 to {MAX_QUALITY}")
    return quality_rung(int(value))


def _not_a_number(name: str, value: str, allowed: str) -> InvalidDisplay:
    return InvalidDisplay(f"{name} is {_shown(value)}. It may be a whole number {allowed}, in plain digits.")


def _shown(value: str) -> str:
    """The value in quotes, as ASCII, and its beginning where it is long."""
    return ascii(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")


def _output_size(box: _Box, canvas: Size, *, is_contained: bool) -> Size | None:
    """The size of the rendition, never above the canvas; None where it is the canvas itself."""
    width = Fraction(width_rung(box.width))
    ratio = Fraction(canvas.width, canvas.height)
    if box.height is not None:
        asked = Fraction(box.width, box.height)
        if is_contained:
            width = min(width, width / asked * ratio)
        else:
            ratio, width = asked, min(width, canvas.height * asked)
    width = min(width, Fraction(canvas.width))
    size = Size(width=_rounded(width), height=min(_rounded(width / ratio), canvas.height))
    return None if size == canvas else size


def _rounded(length: Fraction) -> int:
    """To the nearest whole px, halves up; at least one."""
    return max(1, int(length + Fraction(1, 2)))
