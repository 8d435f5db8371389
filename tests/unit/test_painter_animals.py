"""The painter's animals: whom the prompt names can be seen, in the colour it is said to have."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops

from copperplate.adapters.painter import scenes
from copperplate.adapters.painter.animals import ANIMALS, COATS, find_animal
from copperplate.adapters.painter.palettes import colours

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [(256, 256), (1024, 1024), (768, 432), (432, 768)]
KINDS = ("fox", "wolf", "cat", "dog", "bear", "rabbit", "bird", "fish")
SIDE = 128


def paint(prompt: str, size: tuple[int, int] = (SIDE, SIDE), seed: str = "") -> Image.Image:
    """The picture of a prompt, its shorter side scaled to `SIDE` px."""
    picture = scenes.paint({"prompt": prompt, "width": size[0], "height": size[1], "seed": seed})
    return picture.resize((size[0] * SIDE // min(size), size[1] * SIDE // min(size)))


@pytest.fixture
def paint_scene(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Image.Image]:
    """Paints the same scene without its animal."""

    def paint_without(*arguments: object) -> Image.Image:
        with monkeypatch.context() as patch:
            patch.setattr(scenes, "paint_animal", lambda *_: None)
            return paint(*arguments)  # type: ignore[arg-type]

    return paint_without


def places(picture: Image.Image, is_meant: Callable[[int, int, int], bool]) -> set[tuple[int, int]]:
    """The pixels of the lower two thirds that are meant."""
    raw, wide = picture.tobytes(), picture.width
    return {
        (n % wide, n // wide)
        for n in range(wide * (picture.height // 3), wide * picture.height)
        if is_meant(*raw[3 * n : 3 * n + 3])
    }


def is_red(red: int, green: int, blue: int) -> bool:
    return red > 120 and red > 2 * green and red > 2 * blue


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("prompt", ["a red fox", "A red fox", "A red fox in the snow"])
def test_red_fox_is_red_and_what_is_around_it_is_not(
    prompt: str, size: tuple[int, int], paint_scene: Callable[..., Image.Image]
) -> None:
    with_fox, without = paint(prompt, size), paint_scene(prompt, size)
    red = places(with_fox, is_red)
    assert len(red) > 0.07 * SIDE * SIDE
    assert len(places(without, is_red)) < len(red) // 20
    # Where the picture changed by much there is the fox: coat, white cheeks, dark paws; most of it is coat.
    changed = places(ImageChops.difference(with_fox, without), lambda *channels: max(channels) > 90)
    assert len(red & changed) > 0.6 * len(red | changed)


@pytest.mark.parametrize("size", SIZES)
def test_fox_has_two_ears_and_a_tail_to_one_side(size: tuple[int, int]) -> None:
    red = places(paint("a red fox", size), is_red)
    top, bottom = min(y for _, y in red), max(y for _, y in red)
    ears = sorted(x for x, y in red if y == top + (bottom - top) // 16)
    gaps = [right - left for left, right in itertools.pairwise(ears)]
    assert sum(gap > SIDE // 12 for gap in gaps) == 1
    middle = (ears[0] + ears[-1]) / 2
    reaches = sorted((middle - min(x for x, _ in red), max(x for x, _ in red) - middle))
    assert reaches[1] > 1.4 * reaches[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(256, 144), (144, 256)])
def test_every_animal_can_be_seen_and_leaves_the_sky_as_it_is(
    kind: str, size: tuple[int, int], paint_scene: Callable[..., Image.Image]
) -> None:
    prompt = f"a {kind}"
    difference = ImageChops.difference(paint(prompt, size), paint_scene(prompt, size))
    assert difference.crop((0, 0, difference.width, difference.height // 10)).getbbox() is None
    assert len(places(difference, lambda *channels: sum(channels) > 60)) > 0.08 * SIDE * SIDE


def test_every_word_stands_for_an_animal_of_these_tests() -> None:
    assert {id(animal) for animal in ANIMALS.values()} == {id(ANIMALS[kind]) for kind in KINDS}


@pytest.mark.parametrize("colour", COATS)
def test_coat_has_the_colour_of_the_word(colour: str, paint_scene: Callable[..., Image.Image]) -> None:
    prompt, wanted = f"a {colour} cat at noon", colours(COATS[colour])[0]

    def is_coat(*channels: int) -> bool:
        return max(abs(ours - theirs) for ours, theirs in zip(channels, wanted, strict=True)) < 20

    coat = places(paint(prompt), is_coat) - places(paint_scene(prompt), is_coat)
    assert len(coat) > 0.04 * SIDE * SIDE


@pytest.mark.parametrize(
    ("prompt", "kind", "coat", "elsewhere"),
    [
        ("A red fox in the snow", "fox", "red", "A  fox in the snow"),
        ("Two RED, furry Foxes", "fox", "red", "Two , furry Foxes"),
        ("a fox in a red forest", "fox", None, "a fox in a red forest"),
        ("a red car and a dog", "dog", None, "a red car and a dog"),
        ("kittens", "cat", None, "kittens"),
        ("to catch a dogma", None, None, "to catch a dogma"),
        ("", None, None, ""),
    ],
)
def test_animal_and_its_colour_are_found_by_their_words(
    prompt: str, kind: str | None, coat: str | None, elsewhere: str
) -> None:
    animal, rest = find_animal(prompt)
    assert (animal and animal.marks) == (kind and ANIMALS[kind].marks)
    assert coat is None or (animal is not None and animal.paints.startswith(COATS[coat]))
    assert rest == elsewhere


@pytest.mark.parametrize("seed", ["", "1", "2", "3", "4", "5"])
@pytest.mark.parametrize("prompt", ["A beautiful sunset", "A beautiful sunset over the sea"])
def test_sun_of_a_sunset_stands_at_the_horizon(prompt: str, seed: str) -> None:
    picture = scenes.paint({"prompt": prompt, "width": SIDE, "height": SIDE, "seed": seed})
    bright = picture.getchannel("G").point([0] * 230 + [255] * 26).crop((0, SIDE // 3, SIDE, SIDE * 7 // 12)).getbbox()
    assert bright is not None
    assert bright[2] - bright[0] >= SIDE // 16


def test_pixels_never_change_between_interpreters_and_releases() -> None:
    digest = hashlib.sha256()
    for kind in KINDS:
        digest.update(scenes.paint({"prompt": f"a red {kind}", "width": 96, "height": 80, "seed": "7"}).tobytes())
    assert digest.hexdigest() == "57307992d3a65b899e28699051fbfd9cf10cacfb2ff72135604fa33b52ed0bfe"


def test_seed_moves_the_fox() -> None:
    pictures = [paint("a red fox", seed=str(seed)) for seed in range(4)]
    middles = {sum(x for x, _ in red) // len(red) for red in (places(each, is_red) for each in pictures)}
    assert len(middles) > 2


@pytest.mark.parametrize("size", [(16, 120), (120, 16), (64, 2048), (2048, 64)])
@pytest.mark.parametrize("kind", ["fox", "fish"])
def test_animals_fit_every_size(kind: str, size: tuple[int, int]) -> None:
    picture = scenes.paint({"prompt": kind, "width": size[0], "height": size[1]})
    assert picture.size == size
