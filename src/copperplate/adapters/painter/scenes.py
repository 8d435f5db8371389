"""The pictures: a memoji, or a sky, its lights, one of ten landscapes, and the animal that the prompt names."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING

from copperplate.adapters.painter import land, things
from copperplate.adapters.painter.animals import find_animal, paint_animal
from copperplate.adapters.painter.brushes import Canvas
from copperplate.adapters.painter.chance import Chance
from copperplate.adapters.painter.faces import paint_face
from copperplate.adapters.painter.palettes import choose_palette, choose_scene, mix
from copperplate.adapters.painter.sides import DEFAULT_SIDE_PX, MIN_SIDE_PX
from copperplate.adapters.painter.sky import Stage, paint_sky

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from copperplate.model import CanonicalValue

# Pinned, so that one machine gives the same bytes every time. The pixels are the same everywhere; how
# they are packed is up to the zlib that Pillow finds.
_COMPRESS_LEVEL = 4


def paint_png(recipe: Mapping[str, CanonicalValue]) -> bytes:
    """The picture of a recipe as PNG."""
    target = BytesIO()
    paint(recipe).save(target, "PNG", compress_level=_COMPRESS_LEVEL)
    return target.getvalue()


def paint(recipe: Mapping[str, CanonicalValue]) -> Image:
    """The picture of a recipe at its size. Every value of the recipe has its say in it; a memoji may have alpha."""
    if recipe.get("kind") == "memoji":
        return paint_face(recipe)
    chance = Chance(json.dumps(recipe, sort_keys=True, ensure_ascii=True).encode())
    animal, prompt = find_animal(str(recipe.get("prompt", "")))
    canvas = Canvas(_side(recipe, "width"), _side(recipe, "height"))
    palette, scene = choose_palette(prompt, chance), choose_scene(prompt, chance)
    low, high = _HORIZONS.get(scene, (56, 68))
    horizon = canvas.height * chance.between(low, high) // 100
    radius = canvas.unit * chance.between(38, 85) // 1000
    across = canvas.width * chance.between(18, 82) // 100
    up = chance.between(78, 98) if palette.is_low else chance.between(18, 60 if palette.is_dark else 92)
    stage = Stage(canvas, palette, chance, horizon, sun=(across, horizon * up // 100), sun_radius=radius)
    paint_sky(stage)
    _SCENES[scene](stage, canvas.unit)
    if animal is not None:
        paint_animal(stage, animal)
    return canvas.image


def _side(recipe: Mapping[str, CanonicalValue], name: str) -> int:
    value = recipe.get(name)
    return max(MIN_SIDE_PX, value) if isinstance(value, int) else DEFAULT_SIDE_PX


def _layers(stage: Stage, start: int, count: int) -> list[tuple[int, int]]:
    """Where each of `count` ridges lies, as (y, percent of nearness), from `start` to the picture's foot."""
    depth = stage.canvas.height - start
    nears = [8 + 92 * n // max(1, count - 1) for n in range(count)]
    return [(start + depth * n * (n + 2) // (count * (count + 2)), near) for n, near in enumerate(nears)]


def _peaks(stage: Stage, unit: int) -> None:
    is_snowy = stage.chance.happens(70)
    far = land.ridge_line(stage, stage.horizon, unit // 5, reach=unit // 3, is_smooth=False)
    land.slope(stage, far, 5)
    land.mist(stage, stage.horizon - unit // 30, unit // 16)
    tall = unit * stage.chance.between(28, 44) // 100
    land.mountains(stage, stage.horizon + unit // 20, tall, stage.land(28), is_snowy=is_snowy)
    land.mist(stage, stage.horizon, unit // 14)
    for y, near in _layers(stage, stage.horizon + unit // 14, 3):
        line = land.ridge_line(stage, y, unit // 12, reach=unit // 2, is_smooth=True)
        trees = land.conifers(stage, line, unit * (6 + near // 12) // 100, percent=75)
        land.slope(stage, line, 40 + near * 6 // 10, growth=trees)


def _hills(stage: Stage, unit: int) -> None:
    for y, near in _layers(stage, stage.horizon, stage.chance.between(4, 6)):
        line = land.ridge_line(stage, y, unit * 13 // 100, reach=unit * 7 // 10, is_smooth=True)
        count = stage.chance.between(0, 3) * max(1, stage.canvas.width // unit)
        trees = land.leafy_trees(stage, line, unit * (5 + near // 14) // 100, count)
        land.slope(stage, line, near, growth=trees, rim=28)


def _forest(stage: Stage, unit: int) -> None:
    far = land.ridge_line(stage, stage.horizon - unit // 12, unit // 4, reach=unit // 2, is_smooth=False)
    land.slope(stage, far, 4, rim=15)
    for y, near in _layers(stage, stage.horizon - unit // 20, 5):
        line = land.ridge_line(stage, y, unit // 9, reach=unit * 6 // 10, is_smooth=True)
        trees = land.conifers(stage, line, unit * (7 + near // 6) // 100, percent=88)
        land.slope(stage, line, 12 + near * 88 // 100, growth=trees)
        if near < 80:
            land.mist(stage, y + unit // 20, unit // 18)


def _lake(stage: Stage, unit: int) -> None:
    tall = unit * stage.chance.between(24, 38) // 100
    land.mountains(stage, stage.horizon + unit // 40, tall, stage.land(22), is_snowy=stage.chance.happens(60))
    land.mist(stage, stage.horizon - unit // 30, unit // 18)
    shore = land.ridge_line(stage, stage.horizon, unit // 14, reach=unit // 2, is_smooth=True)
    land.slope(stage, shore, 62, growth=land.conifers(stage, shore, unit // 11, percent=70))
    land.water(stage, stage.horizon + unit // 50)
    if stage.chance.happens(45):
        _launch(stage, unit // 11)
    bank = land.ridge_line(stage, stage.canvas.height + unit // 40, unit // 9, reach=unit, is_smooth=True)
    land.slope(stage, bank, 100, growth=land.conifers(stage, bank, unit // 4, percent=35))


def _ocean(stage: Stage, unit: int) -> None:
    things.waves(stage, stage.horizon, 9)
    land.glints(stage, stage.horizon)
    _launch(stage, unit // stage.chance.between(7, 13))


def _islands(stage: Stage, unit: int) -> None:
    shore = stage.horizon + unit // 40
    for n in range(3):
        land.island(stage, shore, unit * stage.chance.between(8, 20) // 100, stage.land(15 + 25 * n))
    land.water(stage, shore)
    _launch(stage, unit // stage.chance.between(8, 12))


def _launch(stage: Stage, size: int) -> None:
    depth = stage.canvas.height - stage.horizon
    x = stage.canvas.width * stage.chance.between(15, 85) // 100
    things.boat(stage, x, stage.horizon + depth * stage.chance.between(22, 60) // 100, size)


def _desert(stage: Stage, unit: int) -> None:
    land.mesas(stage, stage.horizon, unit * stage.chance.between(9, 17) // 100, stage.land(18))
    count = stage.chance.between(4, 5)
    for y, near in _layers(stage, stage.horizon + unit // 30, count):
        line = land.ridge_line(stage, y, unit // 8, reach=unit * 9 // 10, is_smooth=True)
        plants = things.cactuses(stage, line, unit * (4 + near // 8) // 100, stage.chance.below(3)) if near > 40 else []
        land.slope(stage, line, near * 8 // 10, rim=45)
        stage.canvas.wash(plants, stage.land(100))


def _city(stage: Stage, unit: int) -> None:
    lit = 55 if stage.palette.is_dark else 18
    ground = stage.horizon + unit // 12
    for n, (tall, near) in enumerate(((46, 15), (34, 45), (22, 85))):
        colour = mix(stage.palette.far, stage.palette.plant, near)
        things.houses(stage, ground, unit * tall // 100, colour, lit_percent=lit if n else 0)
        if n < 2:
            land.mist(stage, ground - unit // 8, unit // 12)
    land.water(stage, ground)


def _meadow(stage: Stage, unit: int) -> None:
    line: land.Line = []
    for y, near in _layers(stage, stage.horizon, 3):
        line = land.ridge_line(stage, y - unit // 30, unit // 8, reach=unit * 8 // 10, is_smooth=True)
        trees = land.leafy_trees(stage, line, unit // 12, 3) if near < 50 else []
        land.slope(stage, line, near * 7 // 10, growth=trees, rim=30)
        wide = max(1, min(8, stage.canvas.width * stage.canvas.height // (unit * unit)))
        things.flowers(stage, line, unit * (12 + near * 2 // 5) // 1000, (36 + near // 3) * wide)


def _planets(stage: Stage, unit: int) -> None:
    chance, palette = stage.chance, stage.palette
    for size in (chance.between(12, 20), chance.between(4, 8)):
        centre = (stage.canvas.width * chance.between(15, 85) // 100, stage.horizon * chance.between(20, 75) // 100)
        things.planet(stage, centre, unit * size // 100, mix(chance.pick(palette.accents), palette.sky[1], 40))
    for y, near in _layers(stage, stage.horizon, 4):
        line = land.ridge_line(stage, y, unit // 6, reach=unit // 2, is_smooth=False)
        land.slope(stage, line, near, rim=32)


_SCENES = {
    "city": _city, "desert": _desert, "forest": _forest, "hills": _hills, "islands": _islands, "lake": _lake,
    "meadow": _meadow, "ocean": _ocean, "peaks": _peaks, "planets": _planets,
}  # fmt: skip
_HORIZONS = {"planets": (70, 80), "ocean": (48, 60), "lake": (52, 60), "islands": (46, 56), "city": (58, 66)}
