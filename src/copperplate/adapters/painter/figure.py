"""The one who is drawn, as a table of marks: ovals, lines and outlines, and the names of their paints.

Places and sizes are thousandths of the picture's shorter side, scaled; x grows to the right, y grows down.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from copperplate.adapters.painter.brushes import Canvas, Point, Shape, disc, ellipse, smooth
from copperplate.adapters.painter.palettes import Colour, colours, mix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

WHITE = (255, 255, 255)
Points = list[tuple[int, int]]


class Mark(NamedTuple):
    """One stroke of the brush: an oval has two sizes, a line one, an outline none."""

    points: Points
    paint: str
    sizes: tuple[int, ...] = ()
    tilt: int = 0
    is_smooth: bool = False


Marks = tuple[Mark, ...]


def oval(x: int, y: int, wide: int, high: int, paint: str, *, tilt: int = 0) -> Mark:
    """An ellipse around (x, y), its right end `tilt` percent lower."""
    return Mark([(x, y)], paint, (wide, high), tilt)


def line(points: Points, thick: int, paint: str) -> Mark:
    """A line with round ends."""
    return Mark(points, paint, (thick,))


def outline(points: Points, paint: str) -> Mark:
    """A filled polygon."""
    return Mark(points, paint)


def curve(points: Points, paint: str) -> Mark:
    """A filled outline that runs smoothly through its points; one that stands twice is a corner."""
    return Mark(points, paint, is_smooth=True)


def flipped(marks: Marks) -> Marks:
    """The marks seen in a mirror."""
    return tuple(mark._replace(points=[(-x, y) for x, y in mark.points], tilt=-mark.tilt) for mark in marks)


def both(*marks: Mark) -> Marks:
    """Marks of the right side, on the left one first and then on their own."""
    return (*flipped(marks), *marks)


def ovals(places: Points, wide: int, high: int, *paints: str) -> Marks:
    """An oval at each place, in the paints by turns."""
    return tuple(oval(x, y, wide, high, paints[n % len(paints)]) for n, (x, y) in enumerate(places))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Where (0, 0) lies on the canvas, and what the names of paints stand for.

    On `matte`, where there is one, everything that belongs to the figure is white: its alpha.
    """

    canvas: Canvas
    origin: Point
    scale: int
    paints: Mapping[str, Colour]
    matte: Canvas | None = None

    def draw(self, marks: Marks) -> None:
        """Lay the marks on the canvas, one over the other."""
        for mark in marks:
            shapes = self._shapes(mark)
            top, *foot = (self.paint(words) for words in mark.paint.split(" > "))
            self.canvas.wash(shapes, [top, *foot] if foot else top)
            if self.matte is not None:
                self.matte.wash(shapes, WHITE)

    def finish(self) -> Image:
        """The picture; with alpha where there is a matte."""
        picture = self.canvas.image
        if self.matte is not None:
            picture.putalpha(self.matte.image.getchannel("R"))
        return picture

    def paint(self, words: str) -> Colour:
        """The colour of a paint such as `cloth dark 30`: a name or hex digits, what is mixed in, how much."""
        base, *mixed = words.split()
        colour = self._named(base)
        for other, percent in zip(mixed[::2], mixed[1::2], strict=True):
            colour = mix(colour, self._named(other), int(percent))
        return colour

    def at(self, x: int, y: int) -> Point:
        """The point of the canvas at (x, y)."""
        return self.origin[0] + self.long(x), self.origin[1] + self.long(y)

    def long(self, thousandths: int) -> int:
        """A length on the canvas."""
        return self.canvas.unit * thousandths * self.scale // 1_000_000

    def _shapes(self, mark: Mark) -> list[Shape]:
        placed = [self.at(x, y) for x, y in mark.points]
        match [self.long(size) for size in mark.sizes]:
            case [wide, high]:
                return [ellipse(placed[0], wide, high, mark.tilt)]
            case [thick]:
                radius = max(1, thick // 2)
                return [disc(x, y, radius) for ends in itertools.pairwise(placed) for x, y in _steps(*ends, radius)]
            case _:
                return [smooth(placed) if mark.is_smooth else placed]

    def _named(self, name: str) -> Colour:
        return self.paints.get(name) or colours(name)[0]


def _steps(start: Point, end: Point, radius: int) -> list[Point]:
    (x0, y0), (x1, y1) = start, end
    steps = max(1, max(abs(x1 - x0), abs(y1 - y0)) // max(1, radius // 3))
    return [(x0 + (x1 - x0) * n // steps, y0 + (y1 - y0) * n // steps) for n in range(steps + 1)]
