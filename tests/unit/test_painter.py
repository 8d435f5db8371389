"""The painter: the same picture everywhere, another one for every prompt."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageStat

from copperplate.adapters.painter import MODEL, Painter
from copperplate.adapters.painter.chance import Chance
from copperplate.adapters.painter.palettes import PALETTE_HINTS, PALETTE_WORDS, PALETTES, SCENE_WORDS, SCENES
from copperplate.adapters.painter.scenes import paint
from copperplate.errors import ProviderFailed
from copperplate.model import CanonicalRecipe, FailureClass, Job, Size

# SHA-256 of raw RGB pixels. They may change only together with the model's name.
GOLDEN = {
    "city": "c86273ea7a3d36d55e034f19912cd6b4fdecf8293abccda6f946d5c8acf0ad38",
    "desert": "1a005f26bbfbd3d905e66c61575344786af961d3132f4108542e9e4b669f61af",
    "forest": "e76164960401a9b595bc0a6a2369d4b7e690b7a4f3210970ace93ea42d7029c8",
    "hills": "c2799c1093a580944252c813d43bc1b7f2e7f416e7789a0976a6108f0e030b8f",
    "islands": "fd06e1ce7ab915d0e1918f7a7c7078a43c54985ff409ffc8a07fc4e89d40262f",
    "lake": "36eda1336f44d3cc441378bfeb81689bd144a18c64068788b1906043573b611c",
    "meadow": "6bb6b5ecbf886f32dbe2936f1dd7b793e945aadb3b376a3238136a1ead4f8e75",
    "ocean": "deb1e2c826002d104366c5c624d1de3b21c773952879c87ccbe721f041749170",
    "peaks": "be1f45b04a08654c45ad92b83957550f0bb1738560880117c6f265967bdb3915",
    "planets": "afd65b940494de2c1b28d5b286f16c00f7787f78a7e5f3847653d49dcf100ed5",
}


class CountingClock:
    """Sleeps in no time and remembers how long it was asked to."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def recipe(prompt: str = "a mountain lake", width: int = 96, height: int = 96, seed: str = "") -> CanonicalRecipe:
    return {
        "v": 1,
        "kind": "image",
        "prompt": prompt,
        "width": width,
        "height": height,
        "model": MODEL,
        "seed": seed,
        "settings": [],
    }


def pixels(picture: Image.Image) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean distance of two pictures' pixels, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


async def test_the_answer_is_a_png_of_the_asked_size() -> None:
    body = await Painter(CountingClock()).submit(recipe(width=200, height=120))
    assert isinstance(body, bytes)
    with Image.open(BytesIO(body)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (200, 120))


async def test_the_same_recipe_gives_the_same_bytes() -> None:
    painter = Painter(CountingClock())
    assert await painter.submit(recipe()) == await painter.submit(dict(reversed(recipe().items())))


@pytest.mark.parametrize("scene", SCENES)
def test_pixels_never_change_between_interpreters_and_releases(scene: str) -> None:
    assert pixels(paint(recipe(f"{scene} at night", 160, 120, seed="7"))) == GOLDEN[scene]


def test_different_prompts_visibly_differ() -> None:
    pictures = [paint(recipe(f"prompt number {number}")) for number in range(12)]
    pairs = [(one, other) for place, one in enumerate(pictures) for other in pictures[:place]]
    distances = sorted(difference(one, other) for one, other in pairs)
    assert distances[0] > 5
    assert distances[len(distances) // 2] > 30


@pytest.mark.parametrize(
    "changed",
    [
        recipe(seed="1"),
        recipe(seed="18446744073709551615"),
        recipe("a mountain lake."),
        recipe() | {"model": "another"},
    ],
    ids=["seed", "largest seed", "one character", "model"],
)
def test_whatever_is_in_the_recipe_changes_the_picture(changed: CanonicalRecipe) -> None:
    assert difference(paint(recipe()), paint(changed)) > 3


def test_letter_case_and_script_count() -> None:
    prompts = ["狐狸", "лиса", "🦊", "fox", "Fox", "FOX", "\u202efox", "<svg/onload=1>", "fox " * 500]
    assert len({pixels(paint(recipe(prompt))) for prompt in prompts}) == len(prompts)


@pytest.mark.parametrize("size", [(64, 64), (24, 200), (200, 24), (17, 16)])
@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_fits_every_size(scene: str, size: tuple[int, int]) -> None:
    picture = paint(recipe(scene, *size))
    assert picture.size == size
    assert len(picture.getcolors(1 << 24) or []) > 40


@pytest.mark.parametrize("size", [(64, 2048), (2048, 64)])
def test_the_most_extreme_sizes_are_landscapes_too(size: tuple[int, int]) -> None:
    picture = paint(recipe("a lake", *size))
    top, bottom = (
        picture.resize((1, 8), Image.Resampling.BOX).crop((0, 0, 1, 1)),
        picture.crop((0, size[1] - 1, 1, size[1])),
    )
    assert difference(top, bottom) > 10


def test_without_a_size_the_picture_is_1024_square() -> None:
    assert paint({"prompt": "hills"}).size == (1024, 1024)


def test_words_steer_the_colours() -> None:
    def mean(prompt: str) -> list[float]:
        return ImageStat.Stat(paint(recipe(prompt))).mean

    night, noon, desert, ocean = mean("night"), mean("noon"), mean("the sahara"), mean("the ocean")
    assert sum(night) + 150 < sum(noon)
    assert desert[0] > desert[2]
    assert ocean[2] > ocean[0]


def test_every_word_names_a_palette_or_a_scene_that_exists() -> None:
    assert {*PALETTE_WORDS.values(), *PALETTE_HINTS.values()} <= set(PALETTES)
    assert set(SCENE_WORDS.values()) == set(SCENES)


async def test_it_pretends_to_take_its_time() -> None:
    clock = CountingClock()
    await Painter(clock).submit(recipe())
    assert clock.slept == []
    await Painter(clock, seconds=2.5).submit(recipe())
    assert clock.slept == [2.5]


async def test_it_has_no_jobs() -> None:
    with pytest.raises(ProviderFailed, match="no jobs") as caught:
        await Painter(CountingClock()).collect(Job(request_id="someone-elses"))
    assert caught.value.failure_class is FailureClass.INVALID
    assert not caught.value.billed


def test_it_costs_nothing_and_makes_any_size() -> None:
    painter = Painter(CountingClock())
    assert painter.name == "painter"
    assert painter.models == ("copperplate/painter-1",)
    assert not painter.is_billable
    assert painter.price_micro_usd(recipe()) == 0
    assert painter.settings(MODEL) == ()
    assert painter.canvas(Size(width=777, height=65)) == Size(width=777, height=65)
    assert painter.canvas(Size(width=1, height=64)) == Size(width=16, height=64)
    assert paint(recipe(width=1, height=64)).size == (16, 64)


def test_chance_is_the_same_on_every_machine() -> None:
    chance = Chance(b"seed")
    assert [chance.below(1000) for _ in range(10)] == [939, 622, 138, 166, 881, 912, 968, 877, 916, 584]
    assert chance.below(0) == 0
    assert {chance.between(3, 5) for _ in range(50)} == {3, 4, 5}


def test_a_contour_fills_its_range() -> None:
    for is_smooth in (True, False):
        contour = Chance(b"contour").contour(200, (40, 9, 0), is_smooth=is_smooth)
        assert (min(contour), max(contour), len(contour)) == (0, 1024, 200)


def test_pillow_is_only_loaded_to_paint() -> None:
    script = (
        "import sys, copperplate.adapters.painter; sys.exit(any(name.split('.')[0] == 'PIL' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=30).returncode == 0
