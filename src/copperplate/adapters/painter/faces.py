"""Memoji: a head and shoulders, every word of the configuration to be seen in it. In whole numbers only.

Places are thousandths of the picture's shorter side, from the middle of the head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter import hair, hands, wardrobe
from copperplate.adapters.painter.brushes import FINE, Canvas
from copperplate.adapters.painter.figure import Figure
from copperplate.adapters.painter.palettes import Colour, mix
from copperplate.recipes.provider_input import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from copperplate.model import CanonicalValue

SKIN: Final[dict[str, Colour]] = {
    "light": (255, 220, 196),
    "medium-light": (240, 194, 160),
    "medium": (214, 160, 122),
    "medium-dark": (160, 108, 76),
    "dark": (106, 70, 50),
}
# Cloth, background, accent.
THEMES: Final[dict[str, tuple[Colour, Colour, Colour]]] = {
    "pastel-blue": ((120, 168, 222), (205, 226, 246), (255, 255, 255)),
    "pastel-pink": ((236, 150, 180), (252, 220, 230), (255, 246, 228)),
    "pastel-green": ((132, 196, 142), (214, 240, 214), (255, 255, 255)),
    "pastel-yellow": ((236, 200, 98), (253, 243, 205), (255, 252, 238)),
    "pastel-purple": ((168, 142, 214), (228, 218, 246), (218, 222, 230)),
    "pastel-peach": ((244, 170, 128), (254, 228, 212), (255, 246, 228)),
    "mint": ((84, 194, 172), (204, 244, 232), (20, 128, 128)),
    "coral": ((250, 122, 104), (255, 214, 198), (238, 220, 184)),
    "ocean": ((28, 92, 156), (140, 204, 228), (64, 208, 208)),
    "forest": ((48, 108, 72), (186, 214, 176), (222, 184, 80)),
    "sunset": ((214, 72, 124), (255, 190, 120), (255, 128, 64)),
    "midnight": ((52, 52, 120), (72, 76, 150), (166, 118, 226)),
    "monochrome": ((60, 60, 66), (224, 224, 228), (150, 150, 156)),
}
HAIR: Final[dict[str, Colour]] = {
    "father": (84, 56, 40),
    "mother": (70, 42, 34),
    "son": (148, 98, 54),
    "daughter": (176, 116, 60),
    "brother": (52, 40, 36),
    "sister": (120, 60, 40),
    "grandfather": (206, 206, 210),
    "grandmother": (222, 220, 222),
    "uncle": (110, 96, 86),
    "aunt": (140, 66, 44),
    "baby": (190, 140, 88),
    "person": (64, 48, 42),
}
EYES: Final[tuple[Colour, ...]] = ((92, 62, 40), (64, 104, 150), (76, 120, 84))
OLD: Final = ("grandfather", "grandmother")
YOUNG: Final = ("son", "daughter", "baby")


def paint_face(recipe: Mapping[str, CanonicalValue]) -> Image:
    """The memoji of a canonical recipe, at its size; RGBA where the background is transparent, else RGB."""
    size = size_of(recipe)
    words = {name: str(recipe[name]) for name in ("familyType", "gesture", "hair", "skinTone", "colorTheme")}
    worn = recipe["accessories"]
    cloth, behind, accent = THEMES[words["colorTheme"]]
    figure = Figure(
        canvas=Canvas(size.width, size.height),
        matte=Canvas(size.width, size.height) if recipe["background"] == "transparent" else None,
        family=words["familyType"],
        style=words["hair"],
        worn=frozenset(worn) if isinstance(worn, list) else frozenset(),
        skin=SKIN[words["skinTone"]],
        hair=HAIR[words["familyType"]],
        cloth=cloth,
        accent=accent,
        scale=880 if words["familyType"] in YOUNG else 940,
    )
    _background(figure.canvas, behind, is_flat=recipe["background"] == "opaque")
    hair.paint_behind(figure)
    wardrobe.paint_clothes(figure)
    _head(figure)
    _eyes(figure)
    _features(figure)
    hair.paint_front(figure)
    wardrobe.paint_worn(figure)
    hands.paint_gesture(figure, words["gesture"])
    return figure.finish()


def _background(canvas: Canvas, colour: Colour, *, is_flat: bool) -> None:
    box = (0, 0, canvas.width + FINE, canvas.height + FINE)
    canvas.fill(box, [colour, colour] if is_flat else [mix(colour, (255, 255, 255), 45), mix(colour, (0, 0, 0), 8)])
    if not is_flat:
        centre = (canvas.width // 2, canvas.height * 45 // 100)
        canvas.glow(centre, canvas.unit * 6 // 10, (255, 255, 255), opacity=110)


def _head(figure: Figure) -> None:
    shade = mix(figure.skin, (110, 40, 30), 16)
    for side in (-1, 1):
        figure.oval(side * 232, 10, 44, 60, shade)
        figure.oval(side * 230, 10, 22, 34, mix(shade, (120, 30, 30), 18))
    figure.oval(0, 0, 232, 272, [mix(figure.skin, (255, 255, 255), 12), mix(figure.skin, (120, 50, 30), 12)])
    blush = mix(figure.skin, (240, 90, 90), 34)
    for side in (-1, 1):
        figure.oval(side * 138, 92, 46, 28, blush)


def _eyes(figure: Figure) -> None:
    iris = EYES[(len(figure.family) + len(figure.style)) % len(EYES)]
    wide = 42 if figure.family in YOUNG else 37
    for side in (-1, 1):
        x = side * 92
        figure.oval(x, 8, wide, wide + 9, (255, 255, 255))
        figure.oval(x, 12, 25, 28, iris)
        figure.oval(x, 12, 14, 16, (28, 20, 20))
        figure.oval(x + 9, 2, 8, 8, (255, 255, 255))
        brow = mix(figure.hair, (0, 0, 0), 25)
        figure.stroke([(x - side * 44, -54), (x, -70), (x + side * 44, -60)], 15, brow)
        if figure.family in ("mother", "sister", "daughter", "grandmother", "aunt"):
            figure.stroke([(x + side * 36, -22), (x + side * 56, -38)], 9, (40, 26, 26))


def _features(figure: Figure) -> None:
    line = mix(figure.skin, (90, 30, 20), 34)
    figure.stroke([(-16, 78), (0, 88), (16, 78)], 13, line)
    if figure.family in OLD:
        for side in (-1, 1):
            figure.stroke([(side * 146, 20), (side * 170, 30)], 6, line)
            figure.stroke([(side * 146, 4), (side * 170, 2)], 6, line)
            figure.stroke([(side * 84, 110), (side * 96, 146)], 6, line)
        figure.stroke([(-70, -112), (0, -118), (70, -112)], 6, line)
    if "freckles" in figure.worn:
        for x, y in ((-128, 66), (-104, 76), (-80, 64), (80, 64), (104, 76), (128, 66), (-20, 54), (20, 54)):
            figure.oval(x, y, 7, 7, mix(figure.skin, (120, 60, 20), 55))
    if "beard" in figure.worn:
        wardrobe.paint_beard(figure)
    _mouth(figure)
    if "moustache" in figure.worn:
        for side in (-1, 1):
            figure.oval(side * 42, 122, 52, 20, mix(figure.hair, (0, 0, 0), 12), tilt=side * 24)


def _mouth(figure: Figure) -> None:
    lips = mix(figure.skin, (190, 40, 60), 55)
    if figure.family == "baby":
        figure.oval(0, 148, 34, 26, (150, 50, 60))
        figure.oval(0, 160, 22, 12, (232, 120, 130))
        return
    smile = [(-78, 132), (-48, 170), (0, 186), (48, 170), (78, 132), (40, 144), (0, 148), (-40, 144)]
    figure.shape(smile, (130, 36, 48))
    figure.shape(
        [(-64, 140), (-40, 158), (0, 164), (40, 158), (64, 140), (40, 146), (0, 149), (-40, 146)], (255, 255, 255)
    )
    figure.stroke([(-78, 132), (-40, 145), (0, 149), (40, 145), (78, 132)], 8, lips)
