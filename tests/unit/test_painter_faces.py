"""The painter's memoji: every word can be seen, and the same words are the same pixels everywhere."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from copperplate.adapters.memory.clock import FakeClock
from copperplate.adapters.painter import Painter
from copperplate.adapters.painter.faces import HAIR, SKIN, THEMES, paint_face
from copperplate.adapters.painter.hair import FRONT
from copperplate.imaging.pillow_images import PillowImages
from copperplate.recipes import memoji_words
from copperplate.recipes.memoji import memoji_request
from copperplate.recipes.memoji_words import WORDS

if TYPE_CHECKING:
    from PIL.Image import Image

PAINTER = Painter(FakeClock())
SIDE = 96


@cache
def face(**configuration: Any) -> Image:
    return paint_face(memoji_request({"size": f"{SIDE}x{SIDE}", **configuration}, provider=PAINTER).recipe)


def changed_pixels(one: Image, other: Image) -> int:
    ours, theirs = (memoryview(each.convert("RGBA").tobytes()).cast("I") for each in (one, other))
    return sum(a != b for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("field", "word"), [(field, word) for field, words in WORDS.items() for word in words])
def test_every_word_can_be_seen(field: str, word: str) -> None:
    others = [other for other in WORDS[field] if other != word]
    assert min(changed_pixels(face(**{field: word}), face(**{field: other})) for other in others) > SIDE * SIDE // 100


@pytest.mark.parametrize("word", list(memoji_words.ACCESSORIES))
def test_every_accessory_can_be_seen(word: str) -> None:
    worn = paint_face(memoji_request({"size": f"{SIDE}x{SIDE}", "accessories": [word]}, provider=PAINTER).recipe)
    assert changed_pixels(worn, face()) > 20


def test_every_word_has_its_paint() -> None:
    assert set(SKIN) == set(memoji_words.SKIN_TONES)
    assert set(THEMES) == set(memoji_words.COLOR_THEMES)
    assert set(HAIR) == set(memoji_words.FAMILY_TYPES)
    assert set(FRONT) == set(memoji_words.HAIR)


def test_pixels_never_change_between_interpreters_and_releases() -> None:
    digest = hashlib.sha256()
    for hair, family, gesture in zip(
        memoji_words.HAIR, [*memoji_words.FAMILY_TYPES] * 2, [*memoji_words.GESTURES] * 2, strict=False
    ):
        digest.update(face(hair=hair, familyType=family, gesture=gesture).tobytes())
    assert digest.hexdigest() == "f160e4d3038462c6dd45ac7ba7110e81c6cb13f5ec74fcee0ceff4cc5d09de43"


def test_a_transparent_background_is_one_and_the_face_is_not() -> None:
    picture = face(background="transparent")
    assert picture.mode == "RGBA"
    assert picture.getpixel((1, 1))[3] == 0  # type: ignore[index]
    assert picture.getpixel((SIDE // 2, SIDE // 2))[3] == 255  # type: ignore[index]
    assert face(background="opaque").mode == "RGB"


@pytest.mark.parametrize("size", ["64x64", "2048x64", "64x2048", "640x480"])
def test_it_fits_every_size(size: str) -> None:
    picture = paint_face(memoji_request({"size": size}, provider=PAINTER).recipe)
    assert f"{picture.width}x{picture.height}" == size


async def test_the_answer_passes_verification_and_keeps_its_alpha() -> None:
    picture_request = memoji_request({"size": "256x256", "background": "transparent"}, provider=PAINTER)
    made = await PAINTER.submit(picture_request.recipe)
    images = PillowImages(threads=1)
    found = await images.verify(made.body, covers=picture_request.canvas)
    assert (found.format, found.size) == ("png", picture_request.canvas)
    async with images.open(made.body, model=picture_request.model) as opened:
        encoded = await opened.encode(picture_request.rendition, canvas=picture_request.canvas, at_most_bytes=5_000_000)
    assert encoded[25] == 6  # a png's colour type: true colour with alpha
    images.close()
