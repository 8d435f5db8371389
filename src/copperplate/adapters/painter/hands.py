"""Hands, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter.palettes import Colour, mix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.adapters.painter.figure import Figure

    Places = list[tuple[int, int]]

# Where a raised hand is.
X, Y = 350, 250


def paint_gesture(figure: Figure, gesture: str) -> None:
    """The hand or hands of a gesture, in front of everything else."""
    if (brush := GESTURES.get(gesture)) is not None:
        brush(figure)


def _wave(figure: Figure) -> None:
    _raise_arm(figure)
    for dx, dy in ((-62, -70), (-30, -118), (12, -126), (52, -104)):
        figure.stroke([(X + dx // 2, Y), (X + dx, Y + dy)], 38, _light(figure))
    figure.stroke([(X - 20, Y + 20), (X - 92, Y - 6)], 38, _light(figure))
    figure.oval(X, Y + 16, 64, 70, _light(figure))
    figure.stroke([(X - 24, Y + 30), (X + 10, Y + 44), (X + 34, Y + 30)], 6, mix(figure.skin, (110, 40, 30), 22))


def _thumbs_up(figure: Figure) -> None:
    _raise_arm(figure)
    _fist(figure, X, Y + 10)
    figure.stroke([(X - 46, Y + 6), (X - 52, Y - 100)], 50, _light(figure))


def _peace(figure: Figure) -> None:
    _raise_arm(figure)
    _fist(figure, X, Y + 10)
    for dx, dy in ((-62, -136), (44, -140)):
        figure.stroke([(X + dx // 3, Y - 20), (X + dx, Y + dy)], 42, _light(figure))


def _heart(figure: Figure) -> None:
    for side in (-1, 1):
        _arm(figure, [(side * 300, 540), (side * 110, 440)])
        upper = [(side * 110, 450), (side * 112, 372), (side * 60, 336), (side * 8, 372)]
        figure.stroke(upper, 42, _light(figure))
        figure.stroke([(side * 96, 450), (side * 40, 492), (0, 520)], 38, _light(figure))


def _clap(figure: Figure) -> None:
    for side in (-1, 1):
        _arm(figure, [(side * 290, 540), (side * 80, 450)])
        figure.oval(side * 36, 410, 46, 96, _light(figure), tilt=side * 14)
        figure.stroke([(side * 110, 310), (side * 132, 282)], 10, figure.accent)
    figure.stroke([(0, 292), (0, 256)], 10, figure.accent)


def _point(figure: Figure) -> None:
    _arm(figure, [(300, 520), (240, 440)])
    _fist(figure, 230, 430)
    figure.oval(214, 410, 36, 40, _light(figure))
    figure.oval(212, 404, 20, 22, mix(figure.skin, (255, 255, 255), 34))


def _ok(figure: Figure) -> None:
    _raise_arm(figure)
    for dx, dy in ((8, -132), (44, -124), (78, -100)):
        figure.stroke([(X + 20, Y), (X + dx, Y + dy)], 36, _light(figure))
    figure.oval(X, Y + 30, 56, 56, _light(figure))
    ring = [(X, Y + 10), (X - 20, Y - 40), (X - 66, Y - 52), (X - 92, Y - 14), (X - 66, Y + 20), (X, Y + 24)]
    figure.stroke(ring, 30, _light(figure))


def _fist_bump(figure: Figure) -> None:
    _arm(figure, [(280, 560), (170, 450)])
    _fist(figure, 150, 430)


def _flex(figure: Figure) -> None:
    _arm(figure, [(300, 500), (420, 420), (400, 240)], thick=112)
    figure.oval(404, 360, 74, 66, figure.cloth)
    _fist(figure, 392, 210)


def _think(figure: Figure) -> None:
    _arm(figure, [(250, 540), (150, 350)])
    _fist(figure, 120, 300)
    figure.stroke([(120, 290), (84, 220)], 38, _light(figure))


def _light(figure: Figure) -> Colour:
    return mix(figure.skin, (255, 255, 255), 8)


def _raise_arm(figure: Figure) -> None:
    _arm(figure, [(330, 500), (X, Y + 60)])


def _arm(figure: Figure, points: Places, *, thick: int = 96) -> None:
    figure.stroke(points, thick, mix(figure.cloth, (0, 0, 0), 8))


def _fist(figure: Figure, x: int, y: int) -> None:
    shade = mix(figure.skin, (110, 40, 30), 24)
    figure.oval(x, y, 72, 62, _light(figure))
    for n in range(3):
        figure.stroke([(x - 34 + 28 * n, y - 20), (x - 34 + 28 * n, y + 24)], 6, shade)


GESTURES: Final[Mapping[str, Callable[[Figure], None]]] = {
    "wave": _wave,
    "thumbs-up": _thumbs_up,
    "peace": _peace,
    "heart": _heart,
    "clap": _clap,
    "point": _point,
    "ok": _ok,
    "fist-bump": _fist_bump,
    "flex": _flex,
    "think": _think,
}
