"""Hair: what falls behind the head, and what lies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter.palettes import Colour, mix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.adapters.painter.figure import Figure

    Brush = Callable[[Figure, Colour], None]

DARK, LIGHT = (0, 0, 0), (255, 255, 255)


def paint_behind(figure: Figure) -> None:
    """What the head and shoulders hide a part of."""
    if (brush := BEHIND.get(figure.style)) is not None:
        brush(figure, mix(figure.hair, DARK, 18))


def paint_front(figure: Figure) -> None:
    """What lies on the forehead and the top of the head."""
    FRONT[figure.style](figure, figure.hair)


def _long_behind(figure: Figure, colour: Colour) -> None:
    figure.oval(0, 60, 290, 400, colour)


def _wavy_behind(figure: Figure, colour: Colour) -> None:
    figure.oval(0, -20, 280, 250, colour)
    for side in (-1, 1):
        for x, y in ((230, 60), (246, 170), (214, 270)):
            figure.oval(side * x, y, 100, 100, colour)


def _bob_behind(figure: Figure, colour: Colour) -> None:
    figure.oval(0, 20, 292, 270, colour)


def _curly_behind(figure: Figure, colour: Colour) -> None:
    for n in range(-7, 8):
        figure.oval(300 * n * 10 // 72, -240 + 300 * n * n // 42, 92, 92, colour if n % 2 else mix(colour, LIGHT, 10))


def _afro_behind(figure: Figure, colour: Colour) -> None:
    figure.oval(0, -90, 370, 350, colour)


def _ponytail_behind(figure: Figure, colour: Colour) -> None:
    figure.oval(230, -150, 86, 80, colour)
    figure.oval(300, 0, 70, 190, colour, tilt=20)


def _bun_behind(figure: Figure, colour: Colour) -> None:
    figure.oval(0, -330, 104, 96, colour)


def _braids_behind(figure: Figure, colour: Colour) -> None:
    for side in (-1, 1):
        for n in range(6):
            figure.oval(side * (238 + 6 * n), 40 + 56 * n, 46 - 2 * n, 38, mix(colour, LIGHT, 9 * (n % 2)))
        figure.oval(side * 272, 364, 24, 18, figure.accent)


def _locs_behind(figure: Figure, colour: Colour) -> None:
    for n in range(-5, 6):
        lock = [(n * 52, -170), (n * 58, 60), (n * 61, 270 - abs(n) * 8)]
        figure.stroke(lock, 52, mix(colour, LIGHT, 8 * (n % 2)))


def _bald(figure: Figure, _: Colour) -> None:
    figure.oval(-70, -190, 60, 26, mix(figure.skin, LIGHT, 45), tilt=-30)


def _buzz(figure: Figure, colour: Colour) -> None:
    _cap(figure, -150, 238, mix(figure.skin, colour, 62))


def _short(figure: Figure, colour: Colour) -> None:
    _cap(figure, -138, 244, colour)
    fringe = [(-236, -60), (-236, -190), (-60, -262), (170, -230), (120, -150), (-60, -128), (-190, -108)]
    figure.shape(fringe, colour)
    figure.stroke([(-130, -218), (-30, -244), (60, -240)], 16, mix(colour, LIGHT, 22))


def _pixie(figure: Figure, colour: Colour) -> None:
    _cap(figure, -130, 244, colour)
    sweep = [(236, -40), (240, -180), (60, -270), (-190, -210), (-236, -60), (-150, -120), (20, -160), (150, -110)]
    figure.shape(sweep, colour)


def _spiky(figure: Figure, colour: Colour) -> None:
    _cap(figure, -150, 240, colour)
    for n in range(-4, 5):
        x, foot = n * 52, -170 + abs(n) * 14
        figure.shape([(x - 44, foot), (x + n * 10, -346 + abs(n) * 26), (x + 44, foot)], colour)


def _curls(figure: Figure, colour: Colour) -> None:
    for n in range(-4, 5):
        figure.oval(n * 50, -212 + abs(n) * 16, 62, 58, colour if n % 2 else mix(colour, LIGHT, 8))


def _locs(figure: Figure, colour: Colour) -> None:
    for n in range(-4, 5):
        lock = [(n * 20, -262), (n * 54, -150 + abs(n) * 10)]
        figure.stroke(lock, 50, colour if n % 2 else mix(colour, LIGHT, 9))


def _combed_back(figure: Figure, colour: Colour) -> None:
    _cap(figure, -136, 244, colour)
    figure.stroke([(-150, -190), (-60, -238), (0, -244)], 12, mix(colour, LIGHT, 22))


def _parted(figure: Figure, colour: Colour) -> None:
    _combed_back(figure, colour)
    figure.stroke([(0, -268), (0, -140)], 8, mix(figure.skin, colour, 40))


def _curtains(figure: Figure, colour: Colour) -> None:
    for side in (-1, 1):
        upper = [(side * 12, -276), (side * 180, -246), (side * 258, -90), (side * 262, 90)]
        lower = [(side * 214, 60), (side * 196, -60), (side * 110, -130), (side * -10, -170)]
        figure.shape([*upper, *lower], colour)
    figure.stroke([(-140, -214), (-60, -250)], 14, mix(colour, LIGHT, 22))


def _cap(figure: Figure, line: int, wide: int, colour: Colour) -> None:
    """The top of the head down to `line`."""
    left = [(-wide, line + 60), (-wide + 6, line - 20), (-wide + 50, -232), (-90, -282), (0, -292), (90, -282)]
    right = [(wide - 50, -232), (wide - 6, line - 20), (wide, line + 60)]
    figure.shape([*left, *right, (160, line - 6), (0, line - 34), (-160, line - 6)], colour)


BEHIND: Final[Mapping[str, Brush]] = {
    "long": _long_behind,
    "wavy": _wavy_behind,
    "bob": _bob_behind,
    "curly": _curly_behind,
    "afro": _afro_behind,
    "ponytail": _ponytail_behind,
    "bun": _bun_behind,
    "braids": _braids_behind,
    "locs": _locs_behind,
}
FRONT: Final[Mapping[str, Brush]] = {
    "bald": _bald,
    "buzz": _buzz,
    "short": _short,
    "pixie": _pixie,
    "spiky": _spiky,
    "curly": _curls,
    "afro": _curls,
    "locs": _locs,
    "bun": _combed_back,
    "ponytail": _combed_back,
    "braids": _parted,
    "long": _curtains,
    "wavy": _curtains,
    "bob": _curtains,
}
