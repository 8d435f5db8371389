"""Memoji: a head and shoulders, every word of the configuration to be seen in it. In whole numbers only.

Places are thousandths of the picture's shorter side, from the middle of the head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.adapters.painter.brushes import FINE, Canvas
from copperplate.adapters.painter.figure import WHITE, Figure, Marks, both, line, outline, oval, ovals
from copperplate.adapters.painter.hair import BEHIND, FRONT
from copperplate.adapters.painter.hands import GESTURES
from copperplate.adapters.painter.palettes import Colour, colours, mix
from copperplate.adapters.painter.wardrobe import AT_THE_NECK, CLOTHES, ON_THE_HEAD, OVER_THE_MOUTH, UNDER_THE_MOUTH
from copperplate.recipes.provider_input import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image

    from copperplate.model import CanonicalValue

SKIN: Final = {
    "light": "ffdcc4", "medium-light": "f0c2a0", "medium": "d6a07a", "medium-dark": "a06c4c", "dark": "6a4632",
}  # fmt: skip
# Cloth, background, accent.
THEMES: Final = {
    "pastel-blue": "78a8de cde2f6 ffffff",
    "pastel-pink": "ec96b4 fcdce6 fff6e4",
    "pastel-green": "84c48e d6f0d6 ffffff",
    "pastel-yellow": "ecc862 fdf3cd fffcee",
    "pastel-purple": "a88ed6 e4daf6 dadee6",
    "pastel-peach": "f4aa80 fee4d4 fff6e4",
    "mint": "54c2ac ccf4e8 148080",
    "coral": "fa7a68 ffd6c6 eedcb8",
    "ocean": "1c5c9c 8ccce4 40d0d0",
    "forest": "306c48 bad6b0 deb850",
    "sunset": "d6487c ffbe78 ff8040",
    "midnight": "343478 484c96 a676e2",
    "monochrome": "3c3c42 e0e0e4 96969c",
}
HAIR: Final = {
    "father": "543828", "mother": "462a22", "son": "946236", "daughter": "b0743c", "brother": "342824",
    "sister": "783c28", "grandfather": "ceced2", "grandmother": "dedcde", "uncle": "6e6056", "aunt": "8c422c",
    "baby": "be8c58", "person": "40302a",
}  # fmt: skip
EYES: Final = colours("5c3e28 406896 4c7854")
OLD: Final = ("grandfather", "grandmother")
YOUNG: Final = ("son", "daughter", "baby")
_SHADE, _LINE = "skin 6e281e 16", "skin 5a1e14 34"
LASHED: Final = ("mother", "sister", "daughter", "grandmother", "aunt")

_HEAD: Final = (
    *both(oval(232, 10, 44, 60, _SHADE), oval(230, 10, 22, 34, "skin 6e281e 16 781e1e 18")),
    oval(0, 0, 232, 272, "skin light 12 > skin 78321e 12"),
    *both(oval(138, 92, 46, 28, "skin f05a5a 34")),
)
_NOSE: Final = (line([(-16, 78), (0, 88), (16, 78)], 13, _LINE),)
_WRINKLES: Final = (
    *both(
        line([(146, 20), (170, 30)], 6, _LINE),
        line([(146, 4), (170, 2)], 6, _LINE),
        line([(84, 110), (96, 146)], 6, _LINE),
    ),
    line([(-70, -112), (0, -118), (70, -112)], 6, _LINE),
)
_BABY_MOUTH: Final = (oval(0, 148, 34, 26, "96323c"), oval(0, 160, 22, 12, "e87882"))
_MOUTH: Final = (
    outline([(-78, 132), (-48, 170), (0, 186), (48, 170), (78, 132), (40, 144), (0, 148), (-40, 144)], "822430"),
    outline([(-64, 140), (-40, 158), (0, 164), (40, 158), (64, 140), (40, 146), (0, 149), (-40, 146)], "light"),
    line([(-78, 132), (-40, 145), (0, 149), (40, 145), (78, 132)], 8, "skin be283c 55"),
)


def paint_face(recipe: Mapping[str, CanonicalValue]) -> Image:
    """The memoji of a canonical recipe, at its size; RGBA where the background is transparent, else RGB."""
    size = size_of(recipe)
    family, gesture, style, skin, theme = (
        str(recipe[name]) for name in ("familyType", "gesture", "hair", "skinTone", "colorTheme")
    )
    accessories = recipe["accessories"]
    worn = frozenset(accessories) if isinstance(accessories, list) else frozenset()
    cloth, behind, accent = colours(THEMES[theme])
    paints = {"cloth": cloth, "accent": accent, "light": WHITE, "dark": (0, 0, 0)}
    paints["skin"], paints["hair"] = colours(f"{SKIN[skin]} {HAIR[family]}")
    paints["iris"] = EYES[(len(family) + len(style)) % len(EYES)]
    paints["back"] = mix(paints["hair"], paints["dark"], 18)
    canvas = Canvas(size.width, size.height)
    figure = Figure(
        canvas=canvas,
        origin=(canvas.width // 2, canvas.height // 2 - canvas.unit * 40 // 1000),
        scale=880 if family in YOUNG else 940,
        paints=paints,
        matte=Canvas(size.width, size.height) if recipe["background"] == "transparent" else None,
    )
    _background(canvas, behind, is_flat=recipe["background"] == "opaque")
    for marks in (
        BEHIND.get(style, ()), CLOTHES, _of(AT_THE_NECK, worn), _HEAD, _eyes(family), _NOSE,
        _WRINKLES if family in OLD else (), _of(UNDER_THE_MOUTH, worn), _BABY_MOUTH if family == "baby" else _MOUTH,
        _of(OVER_THE_MOUTH, worn), FRONT[style], _of(ON_THE_HEAD, worn), GESTURES.get(gesture, ()),
    ):  # fmt: skip
        figure.draw(marks)
    return figure.finish()


def _of(marks: Mapping[str, Marks], worn: frozenset[str]) -> Marks:
    return tuple(mark for name, each in marks.items() if name in worn for mark in each)


def _background(canvas: Canvas, colour: Colour, *, is_flat: bool) -> None:
    box = (0, 0, canvas.width + FINE, canvas.height + FINE)
    canvas.fill(box, [colour, colour] if is_flat else [mix(colour, WHITE, 45), mix(colour, (0, 0, 0), 8)])
    if not is_flat:
        centre = (canvas.width // 2, canvas.height * 45 // 100)
        canvas.glow(centre, canvas.unit * 6 // 10, WHITE, opacity=110)


def _eyes(family: str) -> Marks:
    wide = 42 if family in YOUNG else 37
    return (
        *both(
            oval(92, 8, wide, wide + 9, "light"),
            oval(92, 12, 25, 28, "iris"),
            oval(92, 12, 14, 16, "1c1414"),
            line([(48, -54), (92, -70), (136, -60)], 15, "hair dark 25"),
        ),
        *ovals([(-83, 2), (101, 2)], 8, 8, "light"),
        *(both(line([(128, -22), (148, -38)], 9, "281a1a")) if family in LASHED else ()),
    )
