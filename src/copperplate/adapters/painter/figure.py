"""The one who is drawn: what they look like, and how paint is laid on them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.adapters.painter.brushes import Canvas, Point, Shape, disc, oval

if TYPE_CHECKING:
    from PIL.Image import Image

    from copperplate.adapters.painter.palettes import Colour

WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Places and sizes are thousandths of the picture's shorter side, scaled; (0, 0) is the middle of the head.

    On `matte`, where there is one, everything that belongs to the figure is white: its alpha.
    """

    canvas: Canvas
    matte: Canvas | None
    family: str
    style: str
    worn: frozenset[str]
    skin: Colour
    hair: Colour
    cloth: Colour
    accent: Colour
    scale: int

    def oval(self, x: int, y: int, wide: int, high: int, paint: Colour | list[Colour], *, tilt: int = 0) -> None:
        """An ellipse around (x, y), its right end `tilt` percent lower."""
        self._wash([oval(self._at(x, y), self._long(wide), self._long(high), tilt)], paint)

    def shape(self, points: list[tuple[int, int]], paint: Colour | list[Colour]) -> None:
        """A polygon."""
        self._wash([[self._at(x, y) for x, y in points]], paint)

    def stroke(self, points: list[tuple[int, int]], thick: int, paint: Colour) -> None:
        """A line with round ends."""
        radius = max(1, self._long(thick) // 2)
        shapes: list[Shape] = []
        placed = [self._at(x, y) for x, y in points]
        for (x0, y0), (x1, y1) in itertools.pairwise(placed):
            steps = max(1, max(abs(x1 - x0), abs(y1 - y0)) // max(1, radius // 3))
            shapes += [disc(x0 + (x1 - x0) * n // steps, y0 + (y1 - y0) * n // steps, radius) for n in range(steps + 1)]
        self._wash(shapes, paint)

    def finish(self) -> Image:
        """The picture; with alpha where there is a matte."""
        picture = self.canvas.image
        if self.matte is not None:
            picture.putalpha(self.matte.image.getchannel("R"))
        return picture

    def _wash(self, shapes: list[Shape], paint: Colour | list[Colour]) -> None:
        self.canvas.wash(shapes, paint)
        if self.matte is not None:
            self.matte.wash(shapes, WHITE)

    def _at(self, x: int, y: int) -> Point:
        centre_y = self.canvas.height // 2 - self.canvas.unit * 40 // 1000
        return self.canvas.width // 2 + self._long(x), centre_y + self._long(y)

    def _long(self, thousandths: int) -> int:
        return self.canvas.unit * thousandths * self.scale // 1_000_000
