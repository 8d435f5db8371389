"""ThumbHash by the published algorithm: hashes and pixels below are of its own JavaScript (thumbhash 0.1.1)."""

from __future__ import annotations

import base64
from typing import Final

import pytest

from copperplate.imaging import thumbhash

# Width, height, whether it is opaque, and the hash.
PUBLISHED: Final = (
    (32, 32, True, "3ucFDwJjIFZYhFZnd2qYiGVmqH+DePYP"),
    (32, 18, True, "3tcFDIYgAFRnhUlmaFdgEdj31g=="),
    (18, 32, True, "3ecFFAYEVWV2hpd4VXlvMWeQiQ=="),
    (32, 1, True, "W2c2KZh2d3eIiAiJc4evhgg="),
    (1, 32, True, "TYoZmR4IhnmIiId3CIZ3f5g="),
    (100, 75, True, "H/gBBYJVtFc3BrRqxXOIas4Jrnnx"),
    (32, 32, False, "3ueFDQIKZCBHlGdXqvslpkj/iIiEhZkJSg=="),
    (32, 9, False, "3feFEYQKEBJXeoFWIHqR3xwNclNYi2U="),
    (9, 32, False, "HOiFGQYKEGNXmIj6ZBeQVZdqhdOZCgk="),
    (1, 1, True, "AAgCBwAAAAAAAAAAAAAAAAAAAAAAAAAA"),
)
# A hash, the size it is drawn in, and the first, the middle and the last pixel.
DRAWN: Final = (
    ("3ucFDwJjIFZYhFZnd2qYiGVmqH+DePYP", (32, 32), (44, 38, 38, 255), (58, 81, 61, 255), (148, 139, 145, 255)),
    ("W2c2KZh2d3eIiAiJc4evhgg=", (32, 5), (0, 0, 0, 255), (255, 236, 255, 255), (0, 1, 0, 255)),
    ("3feFEYQKEBJXeoFWIHqR3xwNclNYi2U=", (32, 6), (39, 26, 75, 170), (47, 89, 80, 170), (99, 91, 90, 170)),
)


def _pixels(width: int, height: int, *, is_opaque: bool) -> bytes:
    """No symmetry, no flat channel: nothing whose frequencies are the noise of a sum."""
    pixels = bytearray()
    for y in range(height):
        for x in range(width):
            alpha = 255 if is_opaque or (3 * x - y) % 17 > 5 else 40 if x % 3 else 0
            pixels += bytes([(7 * x * x + 3 * y) % 256, (5 * x + 11 * y * y) % 256, (x * y + 40 * x) % 256, alpha])
    return bytes(pixels)


@pytest.mark.parametrize(("width", "height", "is_opaque", "published"), PUBLISHED)
def test_a_hash_is_the_published_one(width: int, height: int, is_opaque: bool, published: str) -> None:
    made = thumbhash.encode(width, height, _pixels(width, height, is_opaque=is_opaque))
    assert base64.b64encode(made).decode() == published


@pytest.mark.parametrize(("published", "size", "first", "middle", "last"), DRAWN)
def test_a_hash_is_drawn_as_published(
    published: str,
    size: tuple[int, int],
    first: tuple[int, ...],
    middle: tuple[int, ...],
    last: tuple[int, ...],
) -> None:
    drawn = thumbhash.decode(base64.b64decode(published), *size)
    pixels = [tuple(drawn[at : at + 4]) for at in range(0, len(drawn), 4)]
    assert len(pixels) == size[0] * size[1]
    assert (pixels[0], pixels[len(pixels) // 2], pixels[-1]) == (first, middle, last)


def test_what_is_flat_has_no_frequencies() -> None:
    made = thumbhash.encode(18, 32, bytes((90, 90, 90, 255)) * 18 * 32)
    assert set(made[5:]) == {0}
    assert set(zip(*[iter(thumbhash.decode(made, 8, 8))] * 4, strict=True)) == {(92, 88, 86, 255)}


@pytest.mark.parametrize("size", [(0, 32), (32, 0), (101, 1), (1, 101)])
def test_only_small_pictures_have_a_hash(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is not within 100x100"):
        thumbhash.encode(*size, b"")


def test_what_is_cut_is_no_hash() -> None:
    whole = base64.b64decode(PUBLISHED[6][3])
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="ThumbHash"):
            thumbhash.decode(whole[:length], 32, 32)
