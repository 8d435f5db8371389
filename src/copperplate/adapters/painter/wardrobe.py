"""Clothes, and whatever else is worn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.adapters.painter.palettes import mix

if TYPE_CHECKING:
    from copperplate.adapters.painter.figure import Figure

DARK, LIGHT = (0, 0, 0), (255, 255, 255)
GOLD, GLASS, INK = (236, 190, 70), (40, 44, 56), (46, 40, 44)


def paint_clothes(figure: Figure) -> None:
    """Shoulders, neck and collar, and what is worn around the neck."""
    cloth = figure.cloth
    figure.oval(0, 560, 380, 250, [mix(cloth, LIGHT, 14), mix(cloth, DARK, 14)])
    figure.oval(0, 300, 92, 110, mix(figure.skin, (110, 40, 30), 20))
    figure.oval(0, 352, 120, 60, figure.accent)
    figure.oval(0, 336, 96, 50, mix(figure.skin, (110, 40, 30), 12))
    if "necklace" in figure.worn:
        figure.stroke([(-96, 330), (-60, 384), (0, 404), (60, 384), (96, 330)], 9, GOLD)
        figure.oval(0, 414, 20, 22, figure.accent)
    if "scarf" in figure.worn:
        warm = mix(cloth, DARK, 30)
        figure.oval(0, 318, 168, 70, warm)
        figure.oval(0, 296, 150, 50, mix(warm, LIGHT, 16))
        figure.shape([(50, 330), (140, 330), (150, 540), (60, 540)], warm)
        figure.stroke([(60, 500), (144, 500)], 10, figure.accent)
    if "bow-tie" in figure.worn:
        for side in (-1, 1):
            figure.shape([(0, 384), (side * 92, 340), (side * 92, 430)], mix(cloth, DARK, 42))
        figure.oval(0, 384, 24, 24, mix(cloth, DARK, 55))


def paint_beard(figure: Figure) -> None:
    """A full beard; the mouth is painted over it."""
    colour = mix(figure.hair, DARK, 6)
    outline = [(-232, 20), (-222, 130), (-160, 240), (-60, 290), (60, 290), (160, 240), (222, 130), (232, 20)]
    inner = [(196, 60), (150, 112), (80, 104), (0, 110), (-80, 104), (-150, 112), (-196, 60)]
    figure.shape([*outline, *inner], colour)


def paint_worn(figure: Figure) -> None:
    """What is worn on the head, in an order in which nothing hides what matters."""
    for name, paint in (
        ("headband", _headband),
        ("glasses", _glasses),
        ("sunglasses", _sunglasses),
        ("earrings", _earrings),
        ("beanie", _beanie),
        ("cap", _cap),
        ("hat", _hat),
        ("headphones", _headphones),
        ("crown", _crown),
        ("flower", _flower),
    ):
        if name in figure.worn:
            paint(figure)


def _glasses(figure: Figure) -> None:
    for side in (-1, 1):
        points = [(side * 92 + dx, 10 + dy) for dx, dy in _CIRCLE]
        figure.stroke(points, 11, INK)
        figure.stroke([(side * 162, 0), (side * 226, -14)], 11, INK)
    figure.stroke([(-24, 0), (0, -8), (24, 0)], 11, INK)


def _sunglasses(figure: Figure) -> None:
    for side in (-1, 1):
        figure.oval(side * 94, 14, 82, 66, GLASS)
        figure.oval(side * 94 - 26, -10, 22, 12, mix(GLASS, LIGHT, 40), tilt=-20)
        figure.stroke([(side * 160, -6), (side * 228, -16)], 14, GLASS)
    figure.stroke([(-26, -4), (0, -12), (26, -4)], 14, GLASS)


def _earrings(figure: Figure) -> None:
    for side in (-1, 1):
        figure.oval(side * 240, 84, 17, 17, GOLD)
        figure.oval(side * 240 - 5, 79, 6, 6, LIGHT)


def _headband(figure: Figure) -> None:
    figure.stroke([(-232, -112), (-150, -176), (0, -206), (150, -176), (232, -112)], 46, figure.accent)
    figure.stroke([(-232, -112), (-150, -176), (0, -206), (150, -176), (232, -112)], 12, figure.cloth)


def _beanie(figure: Figure) -> None:
    wool = mix(figure.cloth, DARK, 16)
    figure.oval(0, -196, 252, 170, wool)
    figure.stroke([(-226, -124), (-110, -154), (0, -160), (110, -154), (226, -124)], 76, mix(wool, LIGHT, 20))
    figure.oval(0, -372, 54, 50, figure.accent)


def _cap(figure: Figure) -> None:
    cloth = figure.cloth
    figure.oval(0, -186, 250, 160, cloth)
    figure.oval(40, -128, 270, 40, mix(cloth, DARK, 28), tilt=3)
    figure.oval(0, -342, 18, 12, figure.accent)
    figure.oval(0, -226, 44, 40, figure.accent)


def _hat(figure: Figure) -> None:
    felt = mix(figure.cloth, DARK, 44)
    figure.shape([(-170, -190), (-150, -400), (-60, -424), (0, -404), (60, -424), (150, -400), (170, -190)], felt)
    figure.stroke([(-158, -222), (0, -236), (158, -222)], 46, figure.accent)
    figure.oval(0, -180, 336, 48, mix(felt, LIGHT, 8))


def _headphones(figure: Figure) -> None:
    band = [
        (-250, -20),
        (-254, -140),
        (-190, -256),
        (-80, -312),
        (0, -320),
        (80, -312),
        (190, -256),
        (254, -140),
        (250, -20),
    ]
    figure.stroke(band, 30, INK)
    for side in (-1, 1):
        figure.oval(side * 254, 16, 52, 84, INK)
        figure.oval(side * 262, 16, 32, 60, figure.accent)


def _crown(figure: Figure) -> None:
    points = [(-170, -200), (-196, -360), (-110, -284), (0, -400), (110, -284), (196, -360), (170, -200)]
    figure.shape(points, GOLD)
    figure.stroke([(-168, -206), (0, -222), (168, -206)], 34, mix(GOLD, (160, 90, 0), 30))
    for x, y in ((-192, -362), (0, -402), (192, -362)):
        figure.oval(x, y, 18, 18, figure.accent)
    for x in (-90, 0, 90):
        figure.oval(x, -214, 14, 14, (200, 50, 70))


def _flower(figure: Figure) -> None:
    for dx, dy in ((0, -36), (34, -12), (22, 30), (-22, 30), (-34, -12)):
        figure.oval(206 + dx, -130 + dy, 30, 30, (250, 130, 160))
    figure.oval(206, -130, 22, 22, GOLD)


_CIRCLE = [
    (68, 0), (63, 26), (48, 48), (26, 63), (0, 68), (-26, 63), (-48, 48), (-63, 26), (-68, 0), (-63, -26), (-48, -48),
    (-26, -63), (0, -68), (26, -63), (48, -48), (63, -26), (68, 0),
]  # fmt: skip
