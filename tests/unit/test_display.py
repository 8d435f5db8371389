"""Display parameters go up to rungs, stay inside the canvas and enter no generation's key."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copperplate.errors import InvalidDisplay
from copperplate.model import PictureFormat, Rendition, Size
from copperplate.recipes.display import (
    DISPLAY_NAMES,
    QUALITIES,
    WIDTHS,
    is_placeholder,
    parse_display,
    rungs_of,
    width_rung,
)

CANVAS = Size(width=1024, height=768)


def size_of(values: dict[str, str], canvas: Size = CANVAS) -> Size | None:
    return parse_display(values, canvas, PictureFormat.JPG).rendition.size


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({}, None),
        ({"w": "640"}, (640, 480)),
        ({"w": "1"}, (16, 12)),
        ({"w": "129"}, (256, 192)),
        ({"w": "829"}, None),  # the next rung is 1080, and the canvas has 1024
        ({"w": "1024"}, None),
        ({"w": "99999"}, None),
        ({"w": "640", "h": "640"}, (640, 640)),
        ({"w": "600", "h": "300"}, (640, 320)),
        ({"w": "1000", "h": "1000"}, (768, 768)),
        ({"w": "16", "h": "2048"}, (6, 768)),
        ({"w": "99999", "h": "1"}, (1024, 1)),
        ({"w": "1024", "h": "768"}, None),
        ({"w": "4", "h": "3"}, (16, 12)),
        ({"w": "640", "h": "100", "fit": "contain"}, (133, 100)),
        ({"w": "256", "h": "2048", "fit": "contain"}, (256, 192)),
        ({"w": "2048", "h": "2048", "fit": "contain"}, None),
        ({"thumb": "96"}, (96, 96)),
        ({"thumb": "96", "fit": "contain"}, (96, 72)),
        ({"thumb": "2000"}, (768, 768)),
        ({"q": "60"}, None),
    ],
)
def test_size_is_the_documented_one(values: dict[str, str], size: tuple[int, int] | None) -> None:
    assert size_of(values) == (None if size is None else Size(width=size[0], height=size[1]))


@pytest.mark.parametrize(
    ("value", "quality"), [("1", 40), ("40", 40), ("41", 60), ("85", 85), ("86", 95), ("96", 95), ("100", 95)]
)
def test_quality_goes_up_to_a_rung(value: str, quality: int) -> None:
    assert parse_display({"q": value}, CANVAS, PictureFormat.WEBP).rendition.quality == quality


@pytest.mark.parametrize(
    "value",
    ["0", "-1", "+640", "1e9", "640.5", "0640", "٦٤٠", "６４０", "6４0", "640px", "", " 640", "100000", "6_4", "0x10"],
)
@pytest.mark.parametrize("name", ["w", "h", "q", "thumb"])
def test_number_in_another_form_is_refused_by_its_name(name: str, value: str) -> None:
    values = {"w": "640", name: value} if name == "h" else {name: value}
    with pytest.raises(InvalidDisplay, match=f"^{name} is .*whole number"):
        parse_display(values, CANVAS, PictureFormat.JPG)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"h": "640"}, "h is '640', and there is no w"),
        ({"thumb": "64", "w": "64"}, "thumb is w and h in one"),
        ({"thumb": "64", "h": "64"}, "thumb is w and h in one"),
        ({"w": "64", "h": "64", "fit": "fill"}, "cover .* or contain"),
        ({"fit": ""}, "cover .* or contain"),
        ({"q": "101"}, "from 1 to 100"),
    ],
)
def test_contradiction_is_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidDisplay, match=says):
        parse_display(values, CANVAS, PictureFormat.JPG)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"w": "640px"}, "w is '640px'. It may be a whole number of pixels from 1 to 99999, in plain digits."),
        ({"q": "٦"}, r"q is '\u0666'. It may be a whole number from 1 to 100, in plain digits."),
        ({"w": "1" * 21}, f"w is '{'1' * 20}...'. It may be a whole number of pixels from 1 to 99999"),
        ({"w": "<\n>"}, r"w is '<\n>'. It may be"),
        ({"fit": "fill"}, "fit is 'fill'. It may be cover (the middle is cut out) or contain"),
        ({"w": "9", "thumb": "64"}, "thumb is '64', w is '9'. thumb is w and h in one"),
        ({"placeholder": "blurred"}, "placeholder is 'blurred'. It may be 1, or stand without a value"),
        ({"placeholder": "", "q": "9"}, "q is '9', beside placeholder, which has one size and one quality."),
    ],
)
def test_refusal_repeats_the_beginning_of_the_value_and_says_what_is_allowed(values: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidDisplay) as refused:
        _ = is_placeholder(values) or parse_display(values, CANVAS, PictureFormat.JPG)
    assert str(refused.value).startswith(says)
    assert str(refused.value).isascii()
    assert len(str(refused.value)) < 200


def test_what_makes_no_difference_is_named() -> None:
    assert parse_display({"q": "60", "w": "64"}, CANVAS, PictureFormat.PNG).ignored == ("q",)
    assert parse_display({"q": "60", "fit": "contain", "w": "64"}, CANVAS, PictureFormat.PNG).ignored == ("q", "fit")
    assert parse_display({"w": "64", "h": "64", "fit": "contain"}, CANVAS, PictureFormat.JPG).ignored == ()
    assert parse_display({"q": "60"}, CANVAS, PictureFormat.PNG).rendition == Rendition(
        format=PictureFormat.PNG, quality=None
    )


canvases = st.builds(Size, width=st.integers(64, 2048), height=st.integers(64, 2048))
sides = st.integers(1, 99_999)


@settings(deadline=None)
@given(canvases, sides, st.none() | sides, st.sampled_from(["cover", "contain"]))
def test_size_lies_inside_the_canvas_and_keeps_the_ratio(canvas: Size, w: int, h: int | None, fit: str) -> None:
    values = {"w": str(w), "fit": fit} | ({} if h is None else {"h": str(h)})
    size = size_of(values, canvas) or canvas
    assert 1 <= size.width <= min(canvas.width, width_rung(w))
    assert 1 <= size.height <= canvas.height
    ratio = Fraction(w, h) if h is not None and fit == "cover" else Fraction(canvas.width, canvas.height)
    # Each side is rounded, and none is below one pixel.
    assert size.width == 1 or size.height == 1 or abs(size.width - size.height * ratio) <= (1 + ratio) / 2


@settings(deadline=None)
@given(canvases, sides, sides)
def test_larger_width_never_gives_a_smaller_picture(canvas: Size, one: int, other: int) -> None:
    small, large = ((size_of({"w": str(w)}, canvas) or canvas) for w in sorted((one, other)))
    assert small.width <= large.width
    assert small.height <= large.height


@settings(deadline=None)
@given(canvases, sides)
def test_size_of_a_rendition_asks_for_itself(canvas: Size, w: int) -> None:
    size = size_of({"w": str(w)}, canvas)
    if size is not None:
        assert size.width in WIDTHS
        assert size_of({"w": str(size.width)}, canvas) == size


def test_rungs_are_told_for_what_has_one() -> None:
    assert rungs_of({"w": "600", "h": "600", "fit": "cover", "q": "1"}) == {"w": 640, "q": 40}
    assert rungs_of({"thumb": "99999", "q": "100"}) == {"thumb": 2048, "q": 95}


def test_ladders_grow() -> None:
    assert list(WIDTHS) == sorted(set(WIDTHS))
    assert list(QUALITIES) == sorted(set(QUALITIES))
    assert DISPLAY_NAMES == ("w", "h", "fit", "q", "thumb")
