"""What hangs in the sky: light, stars, clouds, curtains of northern light, birds, a balloon."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from copperplate.adapters.painter.brushes import FINE, Canvas, Pill, Point, Shape, disc
from copperplate.adapters.painter.palettes import Colour, Palette, mix

if TYPE_CHECKING:
    from copperplate.adapters.painter.chance import Chance


class Stage(NamedTuple):
    """What every part of a picture needs to know; positions in sixteenths of a px."""

    canvas: Canvas
    palette: Palette
    chance: Chance
    horizon: int
    sun: Point
    sun_radius: int

    def land(self, percent: int) -> Colour:
        """The colour of land from far (0) to near (100)."""
        return mix(self.palette.far, self.palette.near, percent)

    def growth(self, percent: int) -> Colour:
        """The colour of plants from far (0) to near (100)."""
        return mix(mix(self.palette.plant, self.haze, 60), self.palette.plant, percent)

    @property
    def haze(self) -> Colour:
        """The colour of the sky at the horizon."""
        return self.palette.sky[-1]


def paint_sky(stage: Stage) -> None:
    """Sky, light and whatever of the rest chance allows; the land is painted over it."""
    canvas, palette, chance = stage.canvas, stage.palette, stage.chance
    canvas.fill((0, 0, canvas.width, stage.horizon + canvas.unit // 16), palette.sky)
    canvas.fill((0, stage.horizon + canvas.unit // 16, canvas.width, canvas.height), [stage.haze])
    if palette.is_dark:
        _stars(stage)
        if chance.happens(30) or palette.accents[0] == (0x5F, 0xF0, 0xB0):
            _curtains(stage)
    _light(stage)
    if not palette.is_dark or chance.happens(40):
        _clouds(stage)
    if not palette.is_dark and chance.happens(55):
        _birds(stage)
    if not palette.is_dark and chance.happens(22):
        _balloon(stage)


def _stars(stage: Stage) -> None:
    canvas, chance = stage.canvas, stage.chance
    count = min(420, 60 + canvas.width * canvas.height // (FINE * FINE * 3500))
    for opacity in (90, 160, 240):
        stars: list[Shape] = []
        for _ in range(count // 3):
            x, y = chance.below(canvas.width), chance.below(stage.horizon)
            stars.append(disc(x, y, max(8, canvas.unit // chance.between(520, 1100))))
        canvas.wash(stars, stage.palette.light, opacity=opacity)
    for _ in range(chance.between(2, 5)):
        x, y = chance.below(canvas.width), chance.below(max(1, stage.horizon * 3 // 4))
        _sparkle(stage, x, y, canvas.unit // chance.between(55, 90))


def _sparkle(stage: Stage, x: int, y: int, size: int) -> None:
    waist = max(4, size // 7)
    ray = [
        (x, y - size), (x + waist, y - waist), (x + size, y), (x + waist, y + waist),
        (x, y + size), (x - waist, y + waist), (x - size, y), (x - waist, y - waist),
    ]  # fmt: skip
    stage.canvas.glow((x, y), size * 2, stage.palette.light, opacity=90)
    stage.canvas.wash([ray], stage.palette.light, opacity=230)


def _curtains(stage: Stage) -> None:
    canvas, chance = stage.canvas, stage.chance
    columns, rows = 64, 24
    for accent in stage.palette.accents[:2]:
        tops = chance.contour(columns, (24, 9), is_smooth=True)
        lights = chance.contour(columns, (16, 5, 2), is_smooth=True)
        levels = bytearray(columns * rows)
        for column in range(columns):
            foot = rows - 3 - tops[column] * (rows // 3) // 1024
            for row in range(foot):
                levels[row * columns + column] = lights[column] * 130 * row // (foot * 1024)
            levels[foot * columns + column] = lights[column] * 60 // 1024
        veil = Image.frombytes("L", (columns, rows), bytes(levels))
        canvas.veil((0, 0, canvas.width, stage.horizon * 4 // 5), accent, veil)


def _light(stage: Stage) -> None:
    canvas, palette, radius = stage.canvas, stage.palette, stage.sun_radius
    canvas.glow(stage.sun, radius * 9, palette.light, opacity=110)
    canvas.glow(stage.sun, radius * 3, palette.light, opacity=130)
    x, y = stage.sun
    ball = disc(x, y, radius)
    bite = radius * 2 // 5
    if palette.is_dark and stage.chance.happens(55):
        canvas.wash([ball], palette.light, cuts=[disc(x + bite, y - bite // 2, radius)])
    else:
        canvas.wash([ball], palette.light)
        if palette.is_dark:
            seas: list[Shape] = [disc(x - bite, y - bite, bite // 2), disc(x + bite // 2, y + bite, bite * 2 // 3)]
            canvas.wash(seas, mix(palette.light, palette.sky[1], 18))


def _clouds(stage: Stage) -> None:
    canvas, chance = stage.canvas, stage.chance
    across = max(1, min(6, canvas.width // canvas.unit))
    for _ in range(chance.between(2, 4) * across):
        span = canvas.unit * chance.between(16, 40) // 100
        x = chance.between(-span // 2, canvas.width - span // 2)
        y = stage.horizon * chance.between(8, 72) // 100
        tone = mix(stage.palette.light, stage.palette.sky[2], chance.between(10, 55))
        faded = mix(tone, stage.palette.sky[2], 60)
        canvas.wash(_cloud(chance, x, y, span), [tone, faded], opacity=chance.between(170, 240))


def _cloud(chance: Chance, x: int, y: int, span: int) -> list[Shape]:
    """Pills laid over each other, the longest below."""
    thick = span * chance.between(9, 13) // 100
    shapes: list[Shape] = [Pill(x, y, x + span, y + thick)]
    for storey in range(1, chance.between(3, 4)):
        length = span * chance.between(62, 84) // (100 + storey * 45)
        start = x + chance.between(span // 8, max(span // 8, span * 7 // 8 - length))
        rise = y - thick * storey * 3 // 5
        shapes.append(Pill(start, rise, start + length, rise + thick * 3 // 2))
    tail = span * chance.between(20, 45) // 100
    start = x + chance.between(-span // 5, span)
    shapes.append(Pill(start, y + thick * 5 // 4, start + tail, y + thick * 7 // 4))
    return shapes


def _birds(stage: Stage) -> None:
    canvas, chance = stage.canvas, stage.chance
    x, y = chance.below(canvas.width * 4 // 5), stage.horizon * chance.between(25, 60) // 100
    flock: list[Shape] = []
    for _ in range(chance.between(3, 8)):
        span = canvas.unit * chance.between(9, 20) // 1000
        flock.append(_bird(x, y, span, span * chance.between(30, 60) // 100))
        x += chance.between(span, span * 4)
        y += chance.between(-span * 2, span * 2)
    canvas.wash(flock, stage.growth(85), opacity=210)


def _bird(x: int, y: int, span: int, lift: int) -> Shape:
    """Two bent wings, seen from afar."""
    body = max(6, span // 6)
    return [
        (x - span, y - lift // 2), (x - span // 2, y - lift), (x, y), (x + span // 2, y - lift),
        (x + span, y - lift // 2), (x + span // 2, y - lift + body), (x, y + body), (x - span // 2, y - lift + body),
    ]  # fmt: skip


def _balloon(stage: Stage) -> None:
    canvas, chance = stage.canvas, stage.chance
    size = canvas.unit * chance.between(35, 60) // 1000
    x = canvas.width * chance.between(12, 88) // 100
    y = stage.horizon * chance.between(25, 55) // 100
    main, stripe = stage.palette.accents[0], stage.palette.accents[1]
    skirt: list[Point] = [(x - size * 9 // 10, y + size // 2), (x + size * 9 // 10, y + size // 2),
                          (x + size // 4, y + size * 3 // 2), (x - size // 4, y + size * 3 // 2)]  # fmt: skip
    canvas.wash([disc(x, y, size), skirt], main)
    gore: list[Point] = [(x - size // 3, y + size), (x - size // 6, y + size * 3 // 2),
                         (x + size // 6, y + size * 3 // 2), (x + size // 3, y + size)]  # fmt: skip
    canvas.wash([Pill(x - size * 2 // 5, y - size, x + size * 2 // 5, y + size * 5 // 4), gore], stripe)
    basket = size // 4
    canvas.wash([Pill(x - basket, y + size * 7 // 4, x + basket, y + size * 9 // 4)], stage.growth(90))
