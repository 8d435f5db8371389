"""Hands, and what they say; in front of everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter.figure import Mark, Marks, Points, both, line, oval

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where a raised hand is.
X, Y = 350, 250
_HAND, _FOLD = "skin light 8", "skin 6e281e 24"


def _arm(*points: tuple[int, int], thick: int = 96) -> Mark:
    return line(list(points), thick, "cloth dark 8")


def _fist(x: int, y: int) -> Marks:
    folds = (line([(x - 34 + 28 * n, y - 20), (x - 34 + 28 * n, y + 24)], 6, _FOLD) for n in range(3))
    return (oval(x, y, 72, 62, _HAND), *folds)


def _fingers(*fingers: Points, thick: int) -> Marks:
    return tuple(line([(X + dx, Y + dy) for dx, dy in finger], thick, _HAND) for finger in fingers)


_RAISED: Final = _arm((330, 500), (X, Y + 60))

GESTURES: Final[Mapping[str, Marks]] = {
    "wave": (
        _RAISED,
        *_fingers(
            [(-31, 0), (-62, -70)], [(-15, 0), (-30, -118)], [(6, 0), (12, -126)], [(26, 0), (52, -104)], thick=38
        ),
        *_fingers([(-20, 20), (-92, -6)], thick=38),
        oval(X, Y + 16, 64, 70, _HAND),
        line([(X - 24, Y + 30), (X + 10, Y + 44), (X + 34, Y + 30)], 6, "skin 6e281e 22"),
    ),
    "thumbs-up": (_RAISED, *_fist(X, Y + 10), *_fingers([(-46, 6), (-52, -100)], thick=50)),
    "peace": (_RAISED, *_fist(X, Y + 10), *_fingers([(-21, -20), (-62, -136)], [(14, -20), (44, -140)], thick=42)),
    "heart": both(
        _arm((300, 540), (110, 440)),
        line([(110, 450), (112, 372), (60, 336), (8, 372)], 42, _HAND),
        line([(96, 450), (40, 492), (0, 520)], 38, _HAND),
    ),
    "clap": (
        *both(
            _arm((290, 540), (80, 450)),
            oval(36, 410, 46, 96, _HAND, tilt=14),
            line([(110, 310), (132, 282)], 10, "accent"),
        ),
        line([(0, 292), (0, 256)], 10, "accent"),
    ),
    "point": (
        _arm((300, 520), (240, 440)),
        *_fist(230, 430),
        oval(214, 410, 36, 40, _HAND),
        oval(212, 404, 20, 22, "skin light 34"),
    ),
    "ok": (
        _RAISED,
        *_fingers([(20, 0), (8, -132)], [(20, 0), (44, -124)], [(20, 0), (78, -100)], thick=36),
        oval(X, Y + 30, 56, 56, _HAND),
        *_fingers([(0, 10), (-20, -40), (-66, -52), (-92, -14), (-66, 20), (0, 24)], thick=30),
    ),
    "fist-bump": (_arm((280, 560), (170, 450)), *_fist(150, 430)),
    "flex": (
        _arm((300, 500), (420, 420), (400, 240), thick=112),
        oval(404, 360, 74, 66, "cloth"),
        *_fist(392, 210),
    ),
    "think": (_arm((250, 540), (150, 350)), *_fist(120, 300), line([(120, 290), (84, 220)], 38, _HAND)),
}
