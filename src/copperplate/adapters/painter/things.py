"""What people and nature put into a landscape: houses, flowers, boats, waves, cactuses, worlds."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from copperplate.adapters.painter.brushes import FINE, Pill, Point, Shape, disc, ellipse
from copperplate.adapters.painter.land import Line, height_at
from copperplate.adapters.painter.palettes import Colour, mix

if TYPE_CHECKING:
    from copperplate.adapters.painter.sky import Stage


def houses(stage: Stage, ground: int, height: int, colour: Colour, *, lit_percent: int) -> None:
    """A row of towers standing on `ground`, some of their windows lit."""
    canvas, chance = stage.canvas, stage.chance
    towers: list[Shape] = []
    windows: list[Shape] = []
    x = -chance.below(height // 4 + 1)
    while x < canvas.width:
        wide = max(FINE * 3, height * chance.between(12, 26) // 100)
        top = ground - height * chance.between(30, 100) // 100
        towers += _tower(stage, (x, top, x + wide, ground))
        if lit_percent:
            windows += _windows(stage, (x, top, x + wide, ground), lit_percent)
        x += wide + chance.between(-wide // 6, wide // 3)
    canvas.wash(towers, [colour, mix(colour, stage.haze, 30)])
    canvas.wash(windows, mix(stage.palette.light, stage.palette.accents[0], 35), opacity=215)


def _tower(stage: Stage, box: tuple[int, int, int, int]) -> list[Shape]:
    left, top, right, ground = box
    wide, middle = right - left, (left + right) // 2
    step = wide // 5
    roofs: list[Shape] = [
        [(middle - wide // 24, top), (middle, top - wide), (middle + wide // 24, top)],
        [(left + step, top - step), (right - step, top - step), (right - step, top), (left + step, top)],
        [(left, top), (right, top - wide // 2), (right, top)],
        disc(middle, top, wide // 3),
    ]
    roof = stage.chance.below(5)  # the fifth is flat
    return [[(left, top), (right, top), (right, ground), (left, ground)], *roofs[roof : roof + 1]]


def _windows(stage: Stage, box: tuple[int, int, int, int], lit_percent: int) -> list[Shape]:
    left, top, right, ground = box
    columns = stage.chance.between(3, 5)
    cell = (right - left) // (columns + 1)
    if cell < FINE:
        return []
    size, lit = cell // 2, []
    for y in range(top + cell, ground - cell, cell * 4 // 3):
        for column in range(columns):
            if stage.chance.happens(lit_percent):
                x = left + cell * (2 * column + 1) // 2 + cell // 4
                lit.append([(x, y), (x + size, y), (x + size, y + size * 5 // 4), (x, y + size * 5 // 4)])
    return list(lit)


def flowers(stage: Stage, line: Line, size: int, count: int) -> None:
    """Flowers of every accent growing below `line`, small ones far away."""
    canvas, chance = stage.canvas, stage.chance
    top = min(y for _, y in line)
    for colour in stage.palette.accents:
        petals: list[Shape] = []
        hearts: list[Shape] = []
        stems: list[Shape] = []
        for _ in range(count // len(stage.palette.accents)):
            x = chance.below(canvas.width)
            start = height_at(line, x)
            y = start + (canvas.height - start) * chance.between(0, 100) * chance.between(30, 100) // 10000
            near = 25 + 75 * (y - top) // max(1, canvas.height - top)
            radius = max(FINE // 2, size * near * chance.between(60, 110) // 10000)
            stems.append([(x - radius // 8, y), (x + radius // 8, y), (x + radius // 3, y + radius * 4)])
            petals += _petals(x, y, radius)
            hearts.append(disc(x, y, radius * 2 // 5))
        canvas.wash(stems, stage.land(85), opacity=200)
        canvas.wash(petals, colour)
        canvas.wash(hearts, mix(stage.palette.light, (255, 190, 60), 60))


def _petals(x: int, y: int, radius: int) -> list[Shape]:
    leaf = radius * 11 // 20
    spokes = ((0, -100), (95, -31), (59, 81), (-59, 81), (-95, -31))  # a fifth of a turn apart, in hundredths
    return [disc(x + radius * dx // 150, y + radius * dy // 150, leaf) for dx, dy in spokes]


def boat(stage: Stage, x: int, y: int, size: int) -> None:
    """A small sailing boat with its water line at `y`."""
    hull: Line = [(x - size // 2, y - size // 6), (x + size // 2, y - size // 6),
                  (x + size // 3, y + size // 14), (x - size // 3, y + size // 14)]  # fmt: skip
    boom, thin = y - size // 5, size // 30
    main: Line = [(x + thin, y - size), (x + thin, boom), (x + size * 9 // 20, boom)]
    jib: Line = [(x - thin, y - size * 9 // 10), (x - thin, boom), (x - size * 2 // 5, boom)]
    stage.canvas.wash([main, jib], mix(stage.palette.light, (255, 255, 255), 30))
    stage.canvas.wash([hull], stage.palette.accents[0])
    for row in range(1, 5):
        wide = size * (6 - row) // 14
        drift = stage.chance.between(-size // 12, size // 12)
        top = y + size * row // 9
        stroke = Pill(x + drift - wide, top, x + drift + wide, top + size // 26)
        stage.canvas.wash([stroke], stage.palette.light, opacity=120 - row * 18)


def waves(stage: Stage, horizon: int, rows: int) -> None:
    """A sea: rolling lines from the horizon down, larger and darker as they come nearer."""
    canvas, chance, palette = stage.canvas, stage.chance, stage.palette
    deep, shallow = mix(palette.sky[0], palette.plant, 35), mix(palette.sky[1], palette.far, 30)
    canvas.fill((0, horizon, canvas.width, canvas.height), [mix(palette.sky[2], shallow, 60), shallow, deep])
    for row in range(1, rows):
        y = horizon + (canvas.height - horizon) * row * row // (rows * rows)
        height = canvas.unit * (3 + row * 3) // 1000
        line = _swell(stage, y, height, canvas.unit * (8 + row * 4) // 100)
        colour = mix(shallow, deep, 100 * row // rows)
        foot = [(canvas.width + FINE, y + height * 7), (-FINE, y + height * 7)]
        canvas.wash([line + foot], [mix(colour, palette.light, 14), colour], opacity=200)
        crest = line + [(x, py + max(6, canvas.unit * row // 7000)) for x, py in reversed(line)]
        canvas.wash([crest], palette.light, opacity=50 + chance.below(50))


def _swell(stage: Stage, base: int, height: int, reach: int) -> Line:
    """Scallops: rounded troughs that meet in crests."""
    line: Line = []
    x = -stage.chance.below(reach)
    while x < stage.canvas.width + reach:
        span = reach * stage.chance.between(60, 140) // 100
        # A parabola through both crests; so many pieces look round.
        line += [(x + span * n // 16, base - height + height * n * (16 - n) // 64) for n in range(16)]
        x += span
    return line


def cactuses(stage: Stage, line: Line, size: int, count: int) -> list[Shape]:
    """Cactuses with two arms along a line."""
    shapes: list[Shape] = []
    for _ in range(count):
        x, tall = stage.chance.below(stage.canvas.width), size * stage.chance.between(55, 100) // 100
        y, wide = height_at(line, x), tall // 12
        shapes.append(Pill(x - wide, y - tall, x + wide, y + tall // 6))
        for side, level in ((-1, stage.chance.between(40, 60)), (1, stage.chance.between(50, 75))):
            arm, elbow = x + side * wide * 4, y - tall * level // 100
            thin = wide * 2 // 3
            shapes.append(Pill(min(x, arm) - thin, elbow - thin, max(x, arm) + thin, elbow + thin))
            shapes.append(Pill(arm - thin, elbow - tall // 4, arm + thin, elbow + thin))
    return shapes


def planet(stage: Stage, centre: Point, radius: int, colour: Colour) -> None:
    """A world with bands and a dark side; ringed now and then."""
    canvas, chance, (x, y) = stage.canvas, stage.chance, centre
    globe = disc(x, y, radius)
    light = mix(colour, stage.palette.light, 45)
    canvas.glow(centre, radius * 2, light, opacity=70)
    canvas.wash([globe], [light, colour, mix(colour, stage.palette.plant, 30)])
    for _ in range(chance.between(2, 4)):
        rise = radius * chance.between(-70, 70) // 100
        half, thick = isqrt(radius * radius - rise * rise), radius // chance.between(8, 16)
        canvas.wash([Pill(x - half, y + rise, x + half, y + rise + thick)], light, opacity=70)
    turn = radius // 3 if stage.sun[0] < x else -radius // 3
    canvas.wash([globe], stage.palette.plant, opacity=110, cuts=[disc(x - turn, y - abs(turn) // 2, radius)])
    if chance.happens(60):
        _ring(stage, centre, radius, light)


def _ring(stage: Stage, centre: Point, radius: int, colour: Colour) -> None:
    """A tilted ring whose far half the world hides."""
    tilt = stage.chance.between(-30, 30)
    outer, inner = ellipse(centre, radius * 2, radius // 3, tilt), ellipse(centre, radius * 3 // 2, radius // 5, tilt)
    stage.canvas.wash([outer], colour, opacity=120, cuts=[inner, disc(*centre, radius)])
    front = outer[: len(outer) // 2 + 1]
    band = front + inner[: len(inner) // 2 + 1][::-1]
    stage.canvas.wash([band], colour, opacity=200)
