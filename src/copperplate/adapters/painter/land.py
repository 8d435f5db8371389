"""What lies below the sky: ridges, mountains, trees, water, houses, dunes and flowers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from copperplate.adapters.painter.brushes import FINE, Pill, Point, Shape, disc, mirror
from copperplate.adapters.painter.palettes import Colour, mix

if TYPE_CHECKING:
    from copperplate.adapters.painter.chance import Chance
    from copperplate.adapters.painter.sky import Stage

Line = list[Point]


def ridge_line(stage: Stage, base: int, height: int, *, reach: int, is_smooth: bool) -> Line:
    """A line from edge to edge, `height` above `base` at its highest; `reach` is the width of one swell."""
    step = max(FINE * 2, stage.canvas.width // 400)
    count = stage.canvas.width // step + 2
    swell = max(2, reach // step)
    periods = (swell, swell // 2, swell // 5) if is_smooth else (swell, swell // 3, swell // 8, swell // 20)
    contour = stage.chance.contour(count, periods, is_smooth=is_smooth)
    return [(index * step, base - high * height // 1024) for index, high in enumerate(contour)]


def slope(stage: Stage, line: Line, near: int, *, growth: list[Shape] | None = None, rim: int = 0) -> None:
    """Land below `line` down to the picture's foot; `near` is its percentage of nearness.

    `growth` stands behind its edge. With `rim`, that many percent of light lie along the edge facing the sun.
    """
    canvas, colour = stage.canvas, stage.land(near)
    if growth:
        plant = stage.growth(near)
        canvas.wash(growth, [plant, mix(plant, colour, 25)])
    pale = mix(colour, stage.haze, (100 - near) * 34 // 100)
    foot = max(y for _, y in line) + max(FINE, canvas.unit // 50)  # room for the rim in the lowest dip
    turn = min(canvas.height, foot + canvas.unit // 4)
    canvas.fill((0, foot - FINE, canvas.width, turn), [mix(colour, pale, 50), pale])
    canvas.fill((0, turn, canvas.width, canvas.height), [pale])
    corners = [(canvas.width + FINE, foot), (-FINE, foot)]
    canvas.wash([line + corners], [colour, mix(colour, pale, 50)])
    if rim:
        lean = canvas.unit // 110
        away = lean if stage.sun[0] < canvas.width // 2 else -lean
        shade = [(-lean * 2, line[0][1] + lean), *((x + away, y + lean) for x, y in line)]
        shade += [(canvas.width + lean * 2, line[-1][1] + lean)]
        shade += [(canvas.width + lean * 2, foot), (canvas.width + lean * 2, foot + lean), (-lean * 2, foot + lean)]
        canvas.wash([line + corners], mix(colour, stage.palette.light, rim), cuts=[shade], opacity=170)


def height_at(line: Line, x: int) -> int:
    """The line's y at `x`."""
    step = line[1][0] - line[0][0]
    index = min(max(0, x // step), len(line) - 2)
    (x0, y0), (_, y1) = line[index], line[index + 1]
    return y0 + (y1 - y0) * (x - x0) // step


def conifers(stage: Stage, line: Line, size: int, *, percent: int) -> list[Shape]:
    """Firs along a line, standing in groups; `percent` of the places are taken."""
    chance = stage.chance
    trees: list[Shape] = []
    gap = max(size // 4, stage.canvas.width // 260)
    groups = chance.contour(stage.canvas.width // gap + 2, (14, 5, 2), is_smooth=True)
    x = -chance.below(gap)
    for group in groups:
        x += chance.between(gap * 3 // 5, gap * 7 // 5)
        if group * 100 < (100 - percent) * 1024 or x > stage.canvas.width + size:
            continue
        tall = size * chance.between(55, 105) // 100 * (600 + group // 2) // 1024
        trees.append(_fir(x, height_at(line, x) + tall // 12, tall))
    return trees


def _fir(x: int, y: int, tall: int) -> Shape:
    right: Line = [(x, y - tall)]
    for tier, (wide, notch) in enumerate(((12, 5), (17, 8), (22, 3)), start=1):
        level = y - tall + tall * tier * 29 // 100
        right += [(x + tall * wide // 100, level), (x + tall * notch // 100, level - tall // 60)]
    right.append((x + tall * 3 // 100, y))
    return right + [(2 * x - px, py) for px, py in reversed(right[1:])]


def leafy_trees(stage: Stage, line: Line, size: int, count: int) -> list[Shape]:
    """Round trees here and there along a line."""
    trees: list[Shape] = []
    for _ in range(count):
        x = stage.chance.below(stage.canvas.width)
        tall = size * stage.chance.between(60, 110) // 100
        y = height_at(line, x)
        crown = tall * 2 // 5
        trees.append([(x - tall // 22, y + tall // 10), (x - tall // 30, y - tall // 2),
                      (x + tall // 30, y - tall // 2), (x + tall // 22, y + tall // 10)])  # fmt: skip
        trees.append(disc(x, y - tall + crown, crown))
        trees.append(disc(x - crown * 3 // 5, y - tall + crown * 3 // 2, crown * 3 // 5))
        trees.append(disc(x + crown * 3 // 5, y - tall + crown * 7 // 5, crown * 2 // 3))
    return trees


def mountains(stage: Stage, base: int, height: int, colour: Colour, *, is_snowy: bool) -> None:
    """A row of peaks, the highest behind, each with a lit and a shaded side."""
    canvas, chance = stage.canvas, stage.chance
    count = max(3, min(14, canvas.width * 3 // max(1, height * 2)))
    places = [((2 * n + 1) * canvas.width // (2 * count), chance.between(45, 100)) for n in range(count)]
    for middle, tall in sorted(places, key=lambda place: -place[1]):
        x = middle + chance.between(-canvas.width // (count * 3), canvas.width // (count * 3))
        peak = (x, base - height * tall // 100)
        half = height * tall * chance.between(75, 110) // 10000
        tone = mix(colour, stage.land(60), (100 - tall) // 2)
        _mountain(stage, peak, half, base, tone, is_snowy=is_snowy)


def _mountain(stage: Stage, peak: Point, half: int, base: int, colour: Colour, *, is_snowy: bool) -> None:
    canvas, chance, (x, y) = stage.canvas, stage.chance, peak
    left, right = _flank(chance, peak, -half, base), _flank(chance, peak, half, base)
    spine = _flank(chance, peak, half * chance.between(-25, 25) // 100, base)
    whole = left[::-1] + right[1:]
    dark = right if stage.sun[0] < x else left
    side = dark + spine[::-1]
    lit, shaded = mix(colour, stage.palette.light, 16), mix(colour, stage.palette.plant, 24)
    canvas.wash([whole], [lit, mix(lit, stage.haze, 38)])
    canvas.wash([side], [shaded, mix(shaded, stage.haze, 38)])
    if is_snowy:
        white = mix(stage.palette.light, (255, 255, 255), 50)
        below = _snow_line(chance, x, y + (base - y) * chance.between(26, 40) // 100, half)
        below += [(x + half * 2, base + FINE), (x - half * 2, base + FINE)]
        canvas.wash([whole], mix(white, colour, 8), cuts=[below])
        canvas.wash([side], mix(white, shaded, 32), cuts=[below])


def _flank(chance: Chance, peak: Point, reach: int, base: int) -> Line:
    """A rugged way down from the peak, `reach` to the side."""
    x, y = peak
    jolt = (base - y) // 34
    steps = [(n, chance.between(-jolt, jolt), chance.between(-jolt, jolt) // 2) for n in range(1, 9)]
    way = [(x + reach * n // 9 + sway, y + (base - y) * n // 9 + drop) for n, sway, drop in steps]
    return [peak, *way, (x + reach, base)]


def _snow_line(chance: Chance, x: int, y: int, half: int) -> Line:
    depths = [(half // 6 if tooth % 2 else -(half // 6)) * chance.between(30, 100) // 100 for tooth in range(13)]
    return [(x - half + half * tooth // 6, y + depth) for tooth, depth in enumerate(depths)]


def mist(stage: Stage, y: int, thickness: int) -> None:
    """A soft bank of haze across the picture."""
    canvas, chance = stage.canvas, stage.chance
    banks: list[Shape] = []
    for _ in range(chance.between(2, 3)):
        span = canvas.width * chance.between(50, 90) // 100
        x = chance.between(-span // 3, canvas.width - span * 2 // 3)
        top = y + chance.between(-thickness, thickness)
        banks.append(Pill(x, top, x + span, top + thickness))
    soft = max(1, thickness // (FINE * 2))
    canvas.wash(banks, mix(stage.haze, stage.palette.light, 40), opacity=110, soft_px=soft)


def water(stage: Stage, waterline: int) -> None:
    """A still surface from `waterline` down that mirrors what was painted so far, with the sun's path on it."""
    canvas, palette = stage.canvas, stage.palette
    swing = stage.chance.contour(64, (9, 4, 2), is_smooth=True)
    reach = canvas.unit * 16 // (FINE * 1000) + 1
    mirror(canvas, waterline, [(level - 512) * reach // 512 for level in swing])
    deep = mix(palette.sky[0], palette.plant, 35)
    depths = Image.frombytes("L", (1, 4), bytes((40, 75, 115, 160)))
    canvas.veil((0, waterline, canvas.width, canvas.height), deep, depths)
    glints(stage, waterline)


def glints(stage: Stage, waterline: int) -> None:
    """Short bright strokes below the sun, longer and wider apart the nearer they are."""
    canvas, chance = stage.canvas, stage.chance
    depth = canvas.height - waterline
    strokes: list[Shape] = []
    for n in range(1, 34):
        y = waterline + depth * n * n // 1156
        spread = stage.sun_radius * (24 + n * 3) // 24
        length = spread * chance.between(20, 90) // 100
        x = stage.sun[0] + chance.between(-spread, spread) // 2
        thick = max(FINE // 2, canvas.unit * (4 + n) // 12000)
        strokes.append(Pill(x - length // 2, y, x + length // 2, y + thick))
    canvas.wash(strokes, stage.palette.light, opacity=165)


def island(stage: Stage, base: int, height: int, colour: Colour) -> None:
    """A rounded rock in the sea with trees on its back."""
    canvas, chance = stage.canvas, stage.chance
    x, half = chance.below(canvas.width), height * chance.between(90, 220) // 100
    count = 24
    contour = chance.contour(count + 1, (8, 3), is_smooth=True)
    line: Line = []
    for n in range(count + 1):
        dome = 4 * n * (count - n)  # a parabola: both ends stay in the water
        rise = height * dome * (700 + contour[n]) // (count * count * 1724)
        line.append((x - half + 2 * half * n // count, base - rise))
    tall = height * chance.between(12, 24) // 100
    trees = [_fir(px, py + height // 30, tall) for px, py in line[4:-4] if chance.happens(65)]
    canvas.wash([line, *trees], [mix(colour, stage.palette.light, 14), mix(colour, stage.haze, 15)])


def mesas(stage: Stage, base: int, height: int, colour: Colour) -> None:
    """Flat-topped rocks on the horizon."""
    chance = stage.chance
    rocks: list[Shape] = []
    for _ in range(chance.between(2, 4) * max(1, stage.canvas.width // stage.canvas.unit)):
        x, half = chance.below(stage.canvas.width), height * chance.between(40, 130) // 100
        top = base - height * chance.between(50, 100) // 100
        foot, brow = half * 5 // 4, (base - top) // 4
        right = [(half, top), (half * 11 // 10, top + brow), (foot * 6 // 5, base + height)]
        rocks.append([(x + out, y) for out, y in right] + [(x - out, y) for out, y in right[::-1]])
    stage.canvas.wash(rocks, [colour, mix(colour, stage.haze, 45)])
