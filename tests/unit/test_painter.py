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
from copperplate.failure_classes import FailureClass
from copperplate.model import CanonicalRecipe, Job, Size

# SHA-256 of raw RGB pixels. They may change only together with the model's name.
GOLDEN = {
    "city": "5170ba540650aa35be28128d01eafd779107ed3bc8f49694afe4a99fe38df96f",
    "desert": "43e3c2c7a900f2fc328ba414e867eaf8dae39f393d4977ef3de7dd2f8ab89337",
    "forest": "6c8936bd63e71a586a14d0380163bd56ed221160f19f350e77049b023d3e018e",
    "hills": "fa40f37d2358f02300d016978249e0bc33e8daa3f28b14c9d2a7f56202f3c925",
    "islands": "3b821fc57ea5ac7a954a636ed495a5c55f00ac4701deaab31dc2d267f15d0d37",
    "lake": "9581d70891df55dd63842bce84bd280bc64084ddd3c7579f37deeb49e0538d11",
    "meadow": "aac521e533748f28bc5f240189a18a239a2aa9ac1e0341b35ebfd94556993be4",
    "ocean": "bbb272791a2439375dc703e476a5d4baac3500df65f2c7985c43c53c695a7d28",
    "peaks": "c212ea53ef70980a85619b4ab12a0213ebb902a206d3d3314cf9f14f3a237607",
    "planets": "ffde923c686a9c8be1e52767e2f073e48d5cca99f998dbdc45f7ff729076e83b",
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
    body = (await Painter(CountingClock()).submit(recipe(width=200, height=120))).body
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
    pictures = [paint(recipe(f"prompt number {number}", 48, 48)) for number in range(12)]
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


@pytest.mark.parametrize("size", [(16, 120), (120, 16)])
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
