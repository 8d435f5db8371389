"""How paint meets the canvas. Coordinates are whole sixteenths of a pixel, so that edges are smooth without floats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.adapters.painter.palettes import Colour

FINE: Final = 16  # parts of a pixel
Point = tuple[int, int]
Box = tuple[int, int, int, int]


class Pill(NamedTuple):
    """A box whose shorter sides are rounded off; a disc if it is square."""

    left: int
    top: int
    right: int
    bottom: int


Shape = list[Point] | Pill

_BICUBIC, _BILINEAR, _NEAREST = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.NEAREST


class Canvas:
    """An RGB picture to paint on. `width`, `height` and `unit` (the shorter side) are in sixteenths of a px."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.image = Image.new("RGB", (width_px, height_px))
        self.width, self.height = width_px * FINE, height_px * FINE
        self.unit = min(self.width, self.height)
        # Samples per pixel and side: more where pixels are few and each edge counts.
        self._samples = 4 if width_px * height_px <= 512 * 512 else 3 if width_px * height_px <= 1200 * 1200 else 2

    def fill(self, box: Box, colours: Sequence[Colour]) -> None:
        """Cover a box with colours running from its top to its bottom."""
        if inside := self._clip(box):
            self.image.paste(colours[0] if len(colours) == 1 else gradient(colours, _size(inside)), inside)

    def wash(
        self,
        shapes: Sequence[Shape],
        paint: Colour | list[Colour],
        *,
        opacity: int = 255,
        cuts: Sequence[Shape] = (),
        soft_px: int = 0,
    ) -> None:
        """Paint shapes in one go, minus `cuts`; a list of colours runs from their top to their bottom."""
        if not shapes:
            return
        xs, ys = zip(*(corner for shape in shapes for corner in _corners(shape)), strict=True)
        margin = soft_px * 2 * FINE
        box = self._clip((min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin))
        if box is None:
            return
        mask = self._mask(shapes, cuts, box)
        if soft_px:
            mask = mask.filter(ImageFilter.BoxBlur(soft_px)).filter(ImageFilter.BoxBlur(soft_px))
        if opacity < 255:
            mask = mask.point([level * opacity // 255 for level in range(256)])
        self.image.paste(paint if isinstance(paint, tuple) else gradient(paint, mask.size), box, mask)

    def glow(self, centre: Point, radius: int, colour: Colour, *, opacity: int) -> None:
        """Light that fades evenly towards `radius`."""
        x, y = centre
        box = self._clip((x - radius, y - radius, x + radius, y + radius))
        if box is None:
            return
        # Pillow's gradient reads 181 where the circle touches its frame.
        fade = [max(0, 181 - level) ** 2 * opacity // (181 * 181) for level in range(256)]
        ball = Image.radial_gradient("L").point(fade)
        per_px = 256 * FINE / (2 * radius)
        source = tuple(
            min(256.0, max(0.0, (edge - (centre_fine - radius) / FINE) * per_px))
            for edge, centre_fine in zip(box, (x, y, x, y), strict=True)
        )
        mask = ball.resize(_size(box), _BICUBIC, box=source)  # type: ignore[arg-type]
        self.image.paste(colour, box, mask)

    def veil(self, box: Box, colour: Colour, levels: Image.Image) -> None:
        """Spread `colour` over a box, as thick as the small picture `levels` says once stretched."""
        if inside := self._clip(box):
            self.image.paste(colour, inside, levels.resize(_size(inside), _BICUBIC))

    def _mask(self, shapes: Sequence[Shape], cuts: Sequence[Shape], box: Box) -> Image.Image:
        (wide, high), many = _size(box), self._samples
        mask = Image.new("L", (wide * many, high * many))
        draw = ImageDraw.Draw(mask)
        for ink, group in ((255, shapes), (0, cuts)):
            for shape in group:
                _draw(draw, shape, ink, (box[0] * FINE, box[1] * FINE), many)
        return mask.reduce(many)

    def _clip(self, box: Box) -> Box | None:
        """The part of a box that lies on the canvas, in px; None where nothing does."""
        left, top = max(0, box[0] // FINE), max(0, box[1] // FINE)
        right, bottom = min(self.image.width, -(-box[2] // FINE)), min(self.image.height, -(-box[3] // FINE))
        return (left, top, right, bottom) if right > left and bottom > top else None


def _size(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def gradient(colours: Sequence[Colour], size: tuple[int, int]) -> Image.Image:
    """An RGB picture of `size` px whose colours run evenly from top to bottom."""
    column = Image.new("RGB", (1, len(colours)))
    column.putdata(list(colours))
    last = len(colours) - 0.5
    return column.resize((1, size[1]), _BILINEAR, box=(0, 0.5, 1, max(last, 0.6))).resize(size, _NEAREST)


def mirror(canvas: Canvas, waterline: int, swing: Sequence[int]) -> None:
    """Turn everything below `waterline` into the reflection of what is above, swaying row by row.

    `swing` holds sideways shifts in px for a swell of that many rows; nearer water swings wider.
    """
    shore, picture = waterline // FINE, canvas.image
    depth = picture.height - shore
    if depth <= 0 or shore <= 0:
        return
    above = picture.crop((0, max(0, shore - depth), picture.width, shore))
    above = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((picture.width, depth), _BILINEAR)
    row = 0
    while row < depth:
        rows = min(depth - row, 1 + row * 12 // max(1, picture.height))
        shift = swing[(row * 256 // (24 + row)) % len(swing)] * (32 + row * 256 // depth) // 256
        strip = above.crop((0, row, picture.width, row + rows))
        picture.paste(ImageChops.offset(strip, shift, 0), (0, shore + row))
        row += rows


def disc(x: int, y: int, radius: int) -> Pill:
    """A disc around (x, y)."""
    return Pill(x - radius, y - radius, x + radius, y + radius)


def ellipse(centre: Point, wide: int, high: int, tilt: int) -> list[Point]:
    """An ellipse of half axes `wide` and `high`, its right end `tilt` percent lower than its middle.

    It begins at the right and goes down first.
    """
    x, y = centre
    turn = zip(_SINES[16:], _SINES, strict=False)
    return [(x + wide * to // 1024, y + (high * down + wide * to * tilt // 100) // 1024) for to, down in turn]


def smooth(points: Sequence[Point]) -> list[Point]:
    """A closed smooth line through all points (a spline after Catmull and Rom); one that stands twice is a corner."""
    line: list[Point] = []
    for n, (x1, y1) in enumerate(points):
        (x0, y0), (x2, y2), (x3, y3) = points[n - 1], points[(n + 1) % len(points)], points[(n + 2) % len(points)]
        line += [(_spline(x0, x1, x2, x3, part), _spline(y0, y1, y2, y3, part)) for part in range(8)]
    return line


def _spline(before: int, start: int, end: int, after: int, part: int) -> int:
    """Where a spline is after `part` eighths of the way from `start` to `end`."""
    bend = 2 * before - 5 * start + 4 * end - after
    twist = 3 * start - before - 3 * end + after
    return (1024 * start + 64 * (end - before) * part + 8 * bend * part**2 + twist * part**3) // 1024


def _sine(step: int) -> int:
    """1024 times the sine of `step` sixty-fourths of a turn, after Bhaskara: whole numbers, 0.2 % off at most."""
    half = step % 32 * (32 - step % 32)
    value = 1024 * 16 * half // (5 * 1024 - 4 * half)
    return value if step % 64 < 32 else -value


_SINES: Final = [_sine(step) for step in range(64 + 16)]


def _corners(shape: Shape) -> Sequence[Point]:
    return (shape[:2], shape[2:]) if isinstance(shape, Pill) else shape


def _draw(draw: ImageDraw.ImageDraw, shape: Shape, ink: int, origin: Point, many: int) -> None:
    left, top = origin
    points = [((x - left) * many // FINE, (y - top) * many // FINE) for x, y in _corners(shape)]
    if not isinstance(shape, Pill):
        draw.polygon(points, fill=ink)
        return
    (x0, y0), (x1, y1) = points
    if x1 - x0 == y1 - y0:  # Pillow would find it out, slowly
        draw.ellipse((x0, y0, x1, y1), fill=ink)
    else:
        draw.rounded_rectangle((x0, y0, x1, y1), radius=min(x1 - x0, y1 - y0) // 2, fill=ink)
